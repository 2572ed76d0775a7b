"""Limits: the promises that a run must keep, and their words."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from augcompress.component import Section
from augcompress.evidence.formatting import amount_text
from augcompress.evidence.names import TEXTS, unit_of

Goal = Literal["at_least", "at_most", "at_most_worse", "at_least_better", "times_better", "allow"]
GOALS: tuple[Goal, ...] = (
    "at_least",
    "at_most",
    "at_most_worse",
    "at_least_better",
    "times_better",
    "allow",
)
COMPARING = ("at_most_worse", "at_least_better", "times_better")
"""Goals that compare the measure with a baseline's."""
FLOORS = ("at_least", "at_least_better", "times_better", "allow")
"""Goals that want a number at least as large as theirs; of texts, that all are allowed."""
AS_TYPED = 12  # digits: a limit is shown as the recipe has it


class Limit(Section):
    """A promise; a run that breaks it ends with exit code 3."""

    measure: str
    """Measurement's name: top1, recall, ece, size_bytes, latency_ms, speedup, macs, agreement, …"""
    label: str | None = None
    """For measures that have several numbers, which: the class (recall), or the kind of change
    (robust_top1); None holds all to it."""
    baseline: Literal["teacher", "previous", "float", "reference"] | None = None
    """What the measure is compared with; `reference` is the run that `check --reference` names;
    None takes the value as it is."""
    split: Literal["validation", "test"] | None = None
    """Images it was measured on; None takes test where there are such."""
    at_least: float | None = None
    """Smallest value allowed."""
    at_most: float | None = None
    """Largest value allowed."""
    at_most_worse: float | None = None
    """Largest loss against the baseline (a fraction for accuracies)."""
    at_least_better: float | None = None
    """Smallest gain over the baseline, in the measure's unit."""
    times_better: float | None = Field(None, gt=0)
    """Smallest ratio to the baseline: 4 is four times smaller, faster, or four times the value."""
    allow: tuple[str, ...] | None = Field(None, min_length=1)
    """What may be found, of a measure that is no number: `[apache-2.0, mit]` for weights_licence.
    `unknown` allows what nobody says."""
    relative: bool = False
    """Losses and gains as a share of the baseline's value: 0.1 is a tenth of it."""
    bound: Literal["value", "interval"] = "value"
    """Judge the value, or the unfavourable end of its interval."""

    @model_validator(mode="after")
    def exactly_one_goal(self) -> Self:
        """One sentence a limit."""
        given = [goal for goal in GOALS if getattr(self, goal) is not None]
        if len(given) != 1:
            told = f"has {len(given)} goals ({', '.join(given)})" if given else "has no goal"
            raise ValueError(f"{told}; give exactly one of {', '.join(GOALS)}")
        if self.compares and self.baseline is None:
            raise ValueError(
                f"{given[0]} has nothing to compare with; give baseline: teacher, previous, float"
                " or reference"
            )
        if self.relative and given[0] not in ("at_most_worse", "at_least_better"):
            raise ValueError(f"relative has no meaning for {given[0]}; leave it out")
        if (self.allow is not None) != (self.measure in TEXTS):
            goals = "needs" if self.measure in TEXTS else "is a number, and has no"
            raise ValueError(f"{self.measure} {goals} allow: [text, …]; give it the other goal")
        shares = self.allow is None and self.unit() in ("%", "points")
        if shares and not self.relative and self.wanted > 1:
            raise ValueError(
                f"{given[0]}: {self.wanted:g} is more than 1 and {self.measure} a share; give it as"
                " a fraction, such as 0.9 for 90 %"
            )
        return self

    @property
    def goal(self) -> Goal:
        """Which of the goals is given."""
        return next(goal for goal in GOALS if getattr(self, goal) is not None)

    @property
    def wanted(self) -> float:
        """The goal's number; 1 where it allows texts: that all are such."""
        return 1.0 if self.allow is not None else getattr(self, self.goal)

    def allows(self, text: str | None) -> bool:
        """May this be found, where the measure is no number?  Upper and lower case are one."""
        return str(text).lower() in [one.lower() for one in self.allow or ()]

    @property
    def compares(self) -> bool:
        """Whether the measure is compared with a baseline's."""
        return self.goal in COMPARING

    @property
    def is_floor(self) -> bool:
        """Whether more is wanted; otherwise less is."""
        return self.goal in FLOORS

    def unit(self, measured: str = "") -> str:
        """What its number is written in: `%` for a share, `points` for a difference of shares.

        `measured` is the unit of a plug-in's measure, whose name does not tell.
        """
        if self.relative:
            return "%"
        if self.goal == "times_better":
            return ""
        known = unit_of(self.measure, measured)
        return known if known != "fraction" else "points" if self.compares else "%"

    def in_words(
        self, split: str | None = None, *, every_class: bool = False, measured: str = ""
    ) -> str:
        """`top1 on test at most 1 point worse than teacher (end of its interval)`.

        `split` is what it was judged on, where the limit itself names none.
        """
        label = self.label or ("every class" if every_class else None)
        whose = f" of {label}" if label else ""
        split = f" on {self.split or split}" if self.split or split else ""
        versus = f" against {self.baseline}" if self.baseline and not self.compares else ""
        end = " (end of its interval)" if self.bound == "interval" else ""
        return f"{self.measure}{whose}{split}{versus} {self._goal_in_words(measured)}{end}"

    def _goal_in_words(self, measured: str) -> str:
        unit = self.unit(measured)
        amount = amount_text(self.wanted, unit if unit in ("%", "points") else "", AS_TYPED)
        return {
            "allow": f"one of {', '.join(self.allow or ())}",
            "at_least": f"at least {amount}",
            "at_most": f"at most {amount}",
            "at_most_worse": f"at most {amount} worse than {self.baseline}",
            "at_least_better": f"at least {amount} better than {self.baseline}",
            "times_better": f"at least {amount} times better than {self.baseline}",
        }[self.goal]

    def asked(self, unit: str) -> str:
        """What is wanted, for a table: `≥ 95 %`, `≤ 10 % worse`, `≥ 4 times better`."""
        if self.allow is not None:
            return " or ".join(self.allow)
        words = {"at_most_worse": " worse", "at_least_better": " better"}
        words["times_better"] = " times better"
        sign = "≥" if self.is_floor else "≤"
        amount = amount_text(self.wanted, self.unit(unit), AS_TYPED)
        return f"{sign} {amount}{words.get(self.goal, '')}"
