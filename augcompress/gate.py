"""Limits: whether a run kept what its recipe promised."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, Protocol

from augcompress.records import Measurement, StageResult, Verdict

TEACHER_STAGE = "train_teacher"


class Limit(Protocol):
    """What a recipe's `limits` entries look like (`spec.Limit`)."""

    @property
    def measure(self) -> str: ...
    @property
    def baseline(self) -> Literal["teacher", "previous", "float"] | None: ...
    @property
    def split(self) -> str | None: ...
    @property
    def at_least(self) -> float | None: ...
    @property
    def at_most(self) -> float | None: ...
    @property
    def at_most_worse(self) -> float | None: ...
    @property
    def bound(self) -> Literal["value", "interval"]: ...


def check_limits(limits: Iterable[Limit], stages: Sequence[StageResult]) -> list[Verdict]:
    """One verdict a limit, in order.  A limit whose measure is absent is not reached."""
    return [_verdict(limit, stages) for limit in limits]


def loss(value: Measurement, baseline: Measurement) -> float:
    """How much worse `value` is than `baseline`, in the measure's unit; negative: better.

    Without a stated direction, more is taken as better.
    """
    sign = -1.0 if value.better == "lower" else 1.0
    return sign * (baseline.value - value.value)


def loss_bound(value: Measurement, baseline: Measurement) -> float | None:
    """Upper end of the interval of `loss`; None: an interval is missing.

    Newcombe's square-and-add of the two intervals (1998, method 10).  It takes them as
    independent; on the same images they rarely are, and then it errs on the safe side.
    """
    margins = _margin(value, worse=True), _margin(baseline, worse=False)
    if margins[0] is None or margins[1] is None:
        return None
    return loss(value, baseline) + math.hypot(margins[0], margins[1])


def _verdict(limit: Limit, stages: Sequence[StageResult]) -> Verdict:
    found = _find_subject(limit, stages)
    if found is None:
        return _no_verdict(limit, _how_to_get(limit))
    position, subject = found
    if limit.at_most_worse is None:
        actual = _bounded(subject, limit)
    else:
        baseline = _find_baseline(limit, subject, stages, position)
        if baseline is None:
            return _no_verdict(limit, _how_to_get_baseline(limit))
        judge = loss if limit.bound == "value" else loss_bound
        actual = judge(subject, baseline)
    if actual is None:
        note = f"{limit.measure} has no interval; use bound: value, or measure on more samples"
        return _no_verdict(limit, note)
    return Verdict(
        limit=describe(limit, subject.split),
        reached=_is_reached(limit, actual),
        actual=actual,
        wanted=_wanted(limit),
        unit=subject.unit,
    )


def describe(limit: Limit, split: str | None = None) -> str:
    """The limit in words: `top1 on test at most 0.01 worse than teacher (end of its interval)`.

    `split` is what it was judged on, where the limit itself names none.
    """
    split = f" on {limit.split or split}" if limit.split or split else ""
    end = " (end of its interval)" if limit.bound == "interval" else ""
    if limit.at_most_worse is not None:
        goal = f"at most {limit.at_most_worse:g} worse than {limit.baseline}"
        return f"{limit.measure}{split} {goal}{end}"
    word = "at least" if limit.at_least is not None else "at most"
    versus = f" against {limit.baseline}" if limit.baseline else ""
    return f"{limit.measure}{split}{versus} {word} {_wanted(limit):g}{end}"


def _wanted(limit: Limit) -> float:
    bounds = (limit.at_least, limit.at_most, limit.at_most_worse)
    return next(bound for bound in bounds if bound is not None)


def _is_reached(limit: Limit, actual: float) -> bool:
    slack = 1e-12 * max(1.0, abs(actual))  # 0.93 - 0.92 is a little more than 0.01
    if limit.at_least is not None:
        return actual >= limit.at_least - slack
    return actual <= _wanted(limit) + slack


def _bounded(subject: Measurement, limit: Limit) -> float | None:
    """The value, or the end of its interval that is unfavourable to the limit."""
    if limit.bound == "value":
        return subject.value
    end = subject.low if limit.at_least is not None else subject.high
    return _exact(subject) if end is None else end


def _margin(one: Measurement, *, worse: bool) -> float | None:
    """Distance from the value to the end of its interval on the worse, or the better, side."""
    low_is_wanted = worse == (one.better != "lower")
    end = one.low if low_is_wanted else one.high
    if end is None:
        return None if _exact(one) is None else 0.0
    return abs(one.value - end)


def _exact(one: Measurement) -> float | None:
    """The value where nothing was sampled (bytes, parameters); None where an interval is due."""
    return one.value if one.n is None else None


def _find_subject(limit: Limit, stages: Sequence[StageResult]) -> tuple[int, Measurement] | None:
    """The deliverable's measurement and its stage's position: the last stage that has it."""
    compared = limit.baseline if limit.at_most_worse is None else None
    for position in reversed(range(len(stages))):
        fits = list(_fitting(limit, stages[position]))
        fits = [one for one in fits if one.role in (None, "shipped")]
        fits = [one for one in fits if _is_against(one, compared, stages)]
        if fits:
            return position, _best(fits)
    return None


def _find_baseline(
    limit: Limit, subject: Measurement, stages: Sequence[StageResult], position: int
) -> Measurement | None:
    """The baseline's measurement of the same measure on the same split."""

    def same(stage: StageResult, accept: Callable[[Measurement], bool]) -> Measurement | None:
        fits = [one for one in _fitting(limit, stage) if one.split == subject.split]
        return next((one for one in fits if one.baseline is None and accept(one)), None)

    marked = (same(stage, lambda one: one.role == limit.baseline) for stage in reversed(stages))
    found = next((one for one in marked if one is not None), None)
    if found is not None or limit.baseline == "float":
        return found
    others = list(reversed(stages[:position]))
    if limit.baseline == "teacher":
        others = [stage for stage in stages if stage.name == TEACHER_STAGE]
    own = (same(stage, lambda one: one.role in (None, "shipped")) for stage in others)
    return next((one for one in own if one is not None and one is not subject), None)


def _fitting(limit: Limit, stage: StageResult) -> Iterator[Measurement]:
    """The stage's measurements of that name on that split (on no split: bytes, latency)."""
    for one in stage.measurements:
        if one.name == limit.measure and (limit.split is None or one.split in (limit.split, None)):
            yield one


def _is_against(one: Measurement, baseline: str | None, stages: Sequence[StageResult]) -> bool:
    """Whether a measurement was compared with that baseline, named by its role or its file."""
    if baseline is None or one.baseline is None:
        return one.baseline == baseline
    subjects = {other.subject for s in stages for other in s.measurements if other.role == baseline}
    return one.baseline == baseline or one.baseline in subjects - {None}


def _best(fits: list[Measurement]) -> Measurement:
    """The shipped file's before others, test before validation."""
    order = {"test": 0, "validation": 1}

    def rank(one: Measurement) -> tuple[bool, int]:
        return one.role != "shipped", order.get(one.split or "test", 2)

    return min(fits, key=rank)


def _no_verdict(limit: Limit, note: str) -> Verdict:
    return Verdict(
        limit=describe(limit), reached=False, actual=None, wanted=_wanted(limit), note=note
    )


def _how_to_get(limit: Limit) -> str:
    split = f" on {limit.split}" if limit.split else ""
    versus = f" against {limit.baseline}" if limit.baseline and limit.at_most_worse is None else ""
    return f"{limit.measure}{split}{versus} was not measured; run: augcompress export"


def _how_to_get_baseline(limit: Limit) -> str:
    stages = {"teacher": "train-teacher, then export", "float": "export"}
    stage = stages.get(limit.baseline or "", "the stage before")
    return f"{limit.baseline} has no {limit.measure} on the same images; run: augcompress {stage}"
