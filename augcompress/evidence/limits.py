"""A limit in words: what is asked, and how its numbers are written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Baseline = Literal["teacher", "previous", "float", "reference"]
GOALS = ("at_least", "at_most", "at_most_worse", "at_least_better", "times_better")
COMPARING = ("at_most_worse", "at_least_better", "times_better")
"""Goals that hold the measure against a baseline's own number."""
FLOORS = ("at_least", "at_least_better", "times_better")
"""Goals that want a number at least as large as theirs."""
AS_TYPED = 12  # digits: a limit is shown as the recipe has it


class Limit(Protocol):
    """What a recipe's `limits` entries look like (`spec.Limit`)."""

    @property
    def measure(self) -> str: ...
    @property
    def label(self) -> str | None: ...
    @property
    def baseline(self) -> Baseline | None: ...
    @property
    def split(self) -> str | None: ...
    @property
    def relative(self) -> bool: ...
    @property
    def bound(self) -> Literal["value", "interval"]: ...
    @property
    def goal(self) -> str: ...
    @property
    def wanted(self) -> float: ...


@dataclass(frozen=True)
class StoredLimit:
    """A limit read from a run's `spec.json`."""

    measure: str
    label: str | None
    baseline: Baseline | None
    split: str | None
    relative: bool
    bound: Literal["value", "interval"]
    goal: str
    wanted: float


def stored(told: Mapping[str, Any]) -> StoredLimit:
    """A limit as `spec.json` has it; fields that are not there have their defaults.

    Raises ValueError when it names no goal.
    """
    goals = [goal for goal in GOALS if isinstance(told.get(goal), (int, float))]
    if not goals:
        raise ValueError(f"a limit needs one of {', '.join(GOALS)}")
    return StoredLimit(
        measure=str(told.get("measure", "")),
        label=told.get("label"),
        baseline=told.get("baseline"),
        split=told.get("split"),
        relative=bool(told.get("relative")),
        bound=told.get("bound", "value"),
        goal=goals[0],
        wanted=told[goals[0]],
    )


def compares(limit: Limit) -> bool:
    """Whether the measure is held against a baseline's own number."""
    return limit.goal in COMPARING


def is_floor(limit: Limit) -> bool:
    """Whether more is wanted; otherwise less is."""
    return limit.goal in FLOORS


def describe(limit: Limit, split: str | None = None, *, every_class: bool = False) -> str:
    """The limit in words: `top1 on test at most 0.01 worse than teacher (end of its interval)`.

    `split` is what it was judged on, where the limit itself names none.
    """
    label = limit.label or ("every class" if every_class else None)
    whose = f" of {label}" if label else ""
    split = f" on {limit.split or split}" if limit.split or split else ""
    versus = f" against {limit.baseline}" if limit.baseline and not compares(limit) else ""
    end = " (end of its interval)" if limit.bound == "interval" else ""
    return f"{limit.measure}{whose}{split}{versus} {_goal(limit)}{end}"


def _goal(limit: Limit) -> str:
    amount = percent(limit.wanted, AS_TYPED) if limit.relative else plain(limit.wanted, AS_TYPED)
    words = {
        "at_least": f"at least {amount}",
        "at_most": f"at most {amount}",
        "at_most_worse": f"at most {amount} worse than {limit.baseline}",
        "at_least_better": f"at least {amount} better than {limit.baseline}",
        "times_better": f"at least {amount} times better than {limit.baseline}",
    }
    return words[limit.goal]


def asked(limit: Limit, unit: str) -> str:
    """What is wanted, for a table: `≥ 0.95`, `≤ 10 % worse`, `≥ 4 times better`."""
    amount = percent(limit.wanted, AS_TYPED) if limit.relative else plain(limit.wanted, AS_TYPED)
    suffix = "" if limit.relative or limit.goal == "times_better" else unit_text(unit)
    words = {"at_most_worse": " worse", "at_least_better": " better"}
    words["times_better"] = " times better"
    sign = "≥" if is_floor(limit) else "≤"
    return f"{sign} {amount}{suffix}{words.get(limit.goal, '')}"


def unit_text(unit: str) -> str:
    """A unit behind a number; fractions, counts and ratios are written without."""
    return "" if unit in ("", "fraction", "ratio", "count") else f" {unit}"


def plain(number: float, digits: int = 4) -> str:
    """A number of about so many significant digits, never with an exponent."""
    if float(number).is_integer():
        return f"{int(number)}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(number))))
    text = f"{number:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float, digits: int = 4) -> str:
    """A share as percent: `10 %`."""
    return f"{plain(round(100 * share, 10), digits)} %"


def digits_to_tell(number: float, other: float) -> int:
    """How many digits it takes to see that two numbers differ; four where four will do."""
    for digits in range(4, 12):
        if plain(number, digits) != plain(other, digits):
            return digits
    return 4


def range_text(low: float, high: float, digits: int = 4, *, as_percent: bool = False) -> str:
    """`0.93–0.95`; `-0.01 to 0.02` where a sign would be lost in the dash."""
    write = percent if as_percent else plain
    first = write(low, digits).removesuffix(" %")
    return f"{first}{' to ' if low < 0 else '–'}{write(high, digits)}"
