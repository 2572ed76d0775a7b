"""Limits judged: whether the deliverable kept what its recipe promised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from augcompress.evidence import (
    UNKNOWN,
    Limit,
    Measurement,
    StageResult,
    Verdict,
    amount_text,
    digits_to_tell,
    range_text,
)
from augcompress.gate import estimates
from augcompress.gate.estimates import Estimate
from augcompress.gate.evidence import Evidence, MeasuredPair, pairs
from augcompress.gate.missing import TIMED, Unjudged

MOST_CLASSES = 5
SAY_IT = "say it under export.card.weights_license"
TIME_AGAIN = "time it again with less beside it: augcompress export --force, or bench.py"

WITHOUT_VNNI = (
    "this {cpu} has no int8 dot products (VNNI), and int8 gains less without them: judge it on the"
    " CPU that the limit is meant for (bench.py and check --timing)"
)


@dataclass(frozen=True)
class Judged:
    """One number held against the limit."""

    ours: Measurement
    estimate: Estimate
    actual: float
    """The value, or the end of its interval."""
    slack: float
    """How far it is on the right side; negative: missed."""

    @property
    def reached(self) -> bool:
        """Never by a timing that calls itself too noisy: what disturbs it may favour one side."""
        met = self.slack >= -1e-12 * max(1.0, abs(self.actual))
        return met and not self.estimate.too_noisy

    @property
    def label(self) -> str | None:
        """Its class, for measures that have a number for each."""
        return self.ours.label


def check_limits(
    limits: Iterable[Limit],
    stages: Sequence[StageResult],
    *,
    extra: Sequence[Measurement] = (),
    reference: Sequence[StageResult] = (),
    left_out: str = "",
) -> list[Verdict]:
    """One verdict a limit, in order.  A limit whose measure is absent is not reached.

    `stages` are a run's, in the order of the pipeline.  `extra` measurements are the shipped
    file's too, taken elsewhere (on the target device; differences from its baselines on the same
    images), and come before the run's own.  `reference` are the stages of the run that the
    baseline `reference` means, and `left_out` says why numbers of its images are not among them.
    """
    evidence = Evidence(stages, extra, reference, left_out)
    return [_verdict(limit, evidence) for limit in limits]


def _verdict(limit: Limit, evidence: Evidence) -> Verdict:
    try:
        judged = [_judge(limit, pair) for pair in pairs(limit, evidence)]
    except Unjudged as reason:
        words, wish = limit.in_words(), limit.asked("")
        return Verdict(
            limit=words, reached=False, wanted=limit.wanted, asked=wish, note=str(reason)
        )
    worst = min(judged, key=lambda one: (one.reached, one.slack))
    return Verdict(
        limit=limit.in_words(
            worst.ours.split,
            every_class=worst.label is not None and limit.allow is None,
            measured=worst.estimate.unit,
        ),
        reached=worst.reached,
        actual=worst.actual,
        wanted=limit.wanted,
        unit=worst.estimate.unit,
        note=_note(limit, worst, judged, evidence),
        value=worst.estimate.value,
        low=worst.estimate.low,
        high=worst.estimate.high,
        found=_found(limit, worst),
        asked=limit.asked(worst.estimate.unit),
    )


def _judge(limit: Limit, pair: MeasuredPair) -> Judged:
    estimate = _estimate(limit, pair)
    actual = estimate.value if limit.bound == "value" else estimate.end(limit)
    slack = actual - limit.wanted if limit.is_floor else limit.wanted - actual
    return Judged(pair.ours, estimate, actual, slack)


def _estimate(limit: Limit, pair: MeasuredPair) -> Estimate:
    """The number that the limit's goal speaks of."""
    if limit.allow is not None:
        return estimates.of_text(pair.ours, limit)
    if not limit.compares:
        return estimates.of(pair.ours)
    if limit.goal == "times_better":
        return _times(pair)
    lost = _relative_loss(pair) if limit.relative else _loss(pair)
    return estimates.negated(lost) if limit.goal == "at_least_better" else lost


def _times(pair: MeasuredPair) -> Estimate:
    if pair.speedup is not None:
        return estimates.times_of_speedup(pair.speedup)
    return estimates.times(pair.ours, _known(pair.theirs))


def _relative_loss(pair: MeasuredPair) -> Estimate:
    if pair.speedup is not None:
        return estimates.share_of_speedup(pair.speedup)
    return estimates.relative_to(_loss(pair), _known(pair.theirs))


def _loss(pair: MeasuredPair) -> Estimate:
    if pair.difference is not None:
        return estimates.loss_of_difference(pair.difference, pair.ours)
    return estimates.loss(pair.ours, _known(pair.theirs))


def _known(theirs: Measurement | None) -> Measurement:
    assert theirs is not None  # pairs() leaves out those that cannot be judged
    return theirs


def _note(limit: Limit, worst: Judged, judged: Sequence[Judged], evidence: Evidence) -> str:
    """How it was judged, where that is no matter of course."""
    said = []
    if worst.estimate.too_noisy:
        said.append(_noise(worst.estimate))
    if len(judged) > 1:
        said.append(_worst_one(worst, judged))
    if not worst.reached and worst.ours.text == UNKNOWN:
        said.append(f"nobody says it of {worst.label}; {SAY_IT}")
    if limit.bound == "interval" and worst.estimate.method:
        said.append(worst.estimate.method)
    if not worst.reached and _is_int8_without_instructions(worst.ours, evidence):
        said.append(WITHOUT_VNNI.format(cpu=worst.ours.conditions.get("cpu", "CPU")))
    return "; ".join(said)


def _is_int8_without_instructions(ours: Measurement, evidence: Evidence) -> bool:
    """Whether an int8 file was timed on a CPU whose int8 is slow."""
    slow = ours.name.startswith(TIMED) and ours.conditions.get("int8_dot_product") is False
    return slow and any(one.name == "int8_kernels" for one in evidence.all())


def _noise(estimate: Estimate) -> str:
    found = estimate.low, estimate.high
    measured = "" if None in found else f": measured {range_text(*found)}"  # type: ignore[arg-type]
    return f"too noisy to say{measured}; {TIME_AGAIN}"


def _worst_one(worst: Judged, judged: Sequence[Judged]) -> str:
    missed = [str(one.label) for one in judged if not one.reached and one is not worst]
    more = f" and {len(missed) - MOST_CLASSES} more" if len(missed) > MOST_CLASSES else ""
    also = f"; also missed: {', '.join(missed[:MOST_CLASSES])}{more}" if missed else ""
    return f"the worst of {len(judged)} is {worst.label}{also}"


def _found(limit: Limit, one: Judged) -> str:
    """`Shirt: 0.81 (0.78–0.83)`, `resnet50.pth: unknown`."""
    text = one.ours.text if one.ours.text is not None else _found_number(limit, one)
    return f"{one.label}: {text}" if one.label is not None and limit.label is None else text


def _found_number(limit: Limit, one: Judged) -> str:
    """With its interval, and as many digits as show on which side of the limit it is."""
    estimate = one.estimate
    unit = limit.unit(estimate.unit)
    scale = 100 if unit in ("%", "points") else 1
    digits = digits_to_tell(scale * one.actual, scale * limit.wanted)
    text = amount_text(estimate.value, unit, digits)
    if estimate.low is not None and estimate.high is not None and estimate.low < estimate.high:
        text += f" ({range_text(estimate.low, estimate.high, unit, digits)})"
    return text


def not_kept(what: str, missed: Sequence[str], run: Path) -> str:
    """`check runs/a: not kept: top1 on test at least 95 %; see: augcompress report runs/a`: of
    several promises the first two by name."""
    more = f" and {len(missed) - 2} more" if len(missed) > 2 else ""
    return f"{what}: {', '.join(missed[:2])}{more}; see: augcompress report {run}"
