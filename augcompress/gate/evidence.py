"""Which measurement a limit speaks of, and which is its baseline's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from augcompress.evidence import Limit, Measurement, StageResult
from augcompress.gate.missing import Unjudged, no_baseline, no_label, not_measured

TEACHER_STAGE, EXPORT_STAGE = "train_teacher", "export"
SAME = ("threads", "batch", "cpu")
"""Conditions that two measurements must share to be compared, where both tell them."""


@dataclass(frozen=True)
class Evidence:
    """Everything measured by which a limit may be judged."""

    stages: Sequence[StageResult]
    """Of the run, in the order of the pipeline."""
    extra: Sequence[Measurement] = ()
    """From elsewhere; they come before the run's own."""
    reference: Sequence[StageResult] = ()
    """Of another run, in the order of the pipeline."""
    left_out: str = ""
    """Why `reference` is without what was measured on images; empty: it has all."""

    def pools(self) -> list[tuple[int, Sequence[Measurement]]]:
        """Measurements with the position of their stage, those that count most first."""
        stages = [(at, stage.measurements) for at, stage in enumerate(self.stages)]
        return [(len(self.stages) - 1, self.extra), *reversed(stages)]

    def all(self) -> list[Measurement]:
        """Every measurement of the run, and the extra ones."""
        return [one for _, rows in self.pools() for one in rows]


@dataclass(frozen=True)
class MeasuredPair:
    """The deliverable's measurement and its baseline's."""

    ours: Measurement
    theirs: Measurement | None = None
    difference: Measurement | None = None
    """Ours minus theirs, paired on the same images; None: nobody computed it."""
    speedup: Measurement | None = None
    """Theirs over ours, taken in turns; only for latencies."""


def pairs(limit: Limit, evidence: Evidence) -> list[MeasuredPair]:
    """What the limit speaks of: one pair, or one a class.

    Raises Unjudged, saying how to get it, where it was not measured.
    """
    found = list(_subjects(limit, evidence))
    if not found:
        raise Unjudged(_why_absent(limit, evidence))
    if not limit.compares:
        return [MeasuredPair(one) for one in found[0][1]]
    joined = [_join(limit, at, rows, evidence) for at, rows in _eligible(limit, found, evidence)]
    complete = [each for each in joined if all(_can_be_judged(limit, pair) for pair in each)]
    if not complete:
        raise Unjudged(_why_no_baseline(limit, joined[0], evidence))
    return complete[0]


def is_against(one: Measurement, baseline: str, evidence: Evidence) -> bool:
    """Whether a measurement was compared with that baseline, named by its role or its file."""
    files = {other.subject for other in evidence.all() if other.role == baseline}
    return one.baseline is not None and one.baseline in {baseline, *files}


def _subjects(limit: Limit, evidence: Evidence) -> Iterator[tuple[int, list[Measurement]]]:
    """The deliverable's measurements, the last stage's first; several only where classes differ.

    Of timings under several conditions, the first: measurements come in the recipe's order.
    """
    for position, rows in evidence.pools():
        fits = [one for one in _named(limit, rows) if _is_subject(one, limit, evidence)]
        for rank in sorted({_rank(one) for one in fits}):
            by_class: dict[str | None, Measurement] = {}
            for one in fits:
                if _rank(one) == rank:
                    by_class.setdefault(one.label, one)
            yield position, list(by_class.values())


def _is_subject(one: Measurement, limit: Limit, evidence: Evidence) -> bool:
    if not _is_own(one):
        return False
    if limit.compares or limit.baseline is None:
        return one.baseline is None
    return is_against(one, limit.baseline, evidence)


def _is_own(one: Measurement) -> bool:
    return one.role in (None, "shipped")


def _named(limit: Limit, rows: Iterable[Measurement]) -> Iterator[Measurement]:
    """Measurements of that name, label and split (on no split: bytes, latency)."""
    for one in rows:
        fits = one.name == limit.measure
        fits = fits and (limit.label is None or one.label == limit.label)
        if fits and (limit.split is None or one.split in (limit.split, None)):
            yield one


def _rank(one: Measurement) -> tuple[bool, int]:
    """The shipped file's before others, test before validation."""
    order = {"test": 0, "validation": 1}
    return one.role != "shipped", order.get(one.split or "test", 2)


def _eligible(
    limit: Limit, found: list[tuple[int, list[Measurement]]], evidence: Evidence
) -> list[tuple[int, list[Measurement]]]:
    """Among which measurements a baseline is looked for: the best one.

    Only for `previous` without a split it may be a later one too, of the shipped file or of the
    stage that made it: stages before `export` are measured on validation alone.
    """
    if limit.baseline != "previous" or limit.split is not None:
        return found[:1]
    made = _maker(evidence.stages, found[0][0])
    return [(position, rows) for position, rows in found if position >= made]


def _maker(stages: Sequence[StageResult], position: int) -> int:
    """The stage that made what the one at `position` holds: `export` writes what came before."""
    is_export = position > 0 and stages[position].name == EXPORT_STAGE
    return position - 1 if is_export else position


def _join(
    limit: Limit, position: int, rows: Sequence[Measurement], evidence: Evidence
) -> list[MeasuredPair]:
    """Each measurement with its baseline's, at the position of its stage."""
    return [_pair(limit, one, position, evidence) for one in rows]


def _pair(limit: Limit, ours: Measurement, position: int, evidence: Evidence) -> MeasuredPair:
    return MeasuredPair(
        ours,
        _first(_theirs(limit, position, evidence), lambda other: _is_same(ours, other)),
        _compared(f"{limit.measure}_difference", ours, limit, evidence),
        _compared("speedup", ours, limit, evidence) if ours.name == "latency_ms" else None,
    )


def _can_be_judged(limit: Limit, pair: MeasuredPair) -> bool:
    if pair.theirs is not None:
        return True
    as_ratio = limit.goal == "times_better" or limit.relative
    return (pair.speedup if as_ratio else pair.difference) is not None


def _theirs(limit: Limit, position: int, evidence: Evidence) -> Iterator[Measurement]:
    """The baseline's measurements of that name, those that count most first."""
    for accept, rows in _places(limit, position, evidence):
        yield from (one for one in _named(limit, rows) if one.baseline is None and accept(one))


def _places(
    limit: Limit, position: int, evidence: Evidence
) -> Iterator[tuple[Callable[[Measurement], bool], Sequence[Measurement]]]:
    """Where the baseline's measurements are, and which of them are its own."""
    if limit.baseline == "reference":
        yield from ((_is_own, stage.measurements) for stage in reversed(evidence.reference))
        return
    for _, rows in evidence.pools():
        yield (lambda one: one.role == limit.baseline), rows
    others: Sequence[StageResult] = ()
    if limit.baseline == "teacher":
        others = [stage for stage in evidence.stages if stage.name == TEACHER_STAGE]
    elif limit.baseline == "previous" and position >= 0:
        others = evidence.stages[: _maker(evidence.stages, position)]
    yield from ((_is_own, stage.measurements) for stage in reversed(others))


def _compared(name: str, ours: Measurement, limit: Limit, evidence: Evidence) -> Measurement | None:
    """A comparison of the deliverable with that baseline, under the same conditions."""
    return _first(
        (one for one in evidence.all() if one.name == name and _is_own(one)),
        lambda one: is_against(one, limit.baseline or "", evidence) and _is_same(ours, one),
    )


def _is_same(one: Measurement, other: Measurement) -> bool:
    """Whether two measurements were taken of the same images under the same conditions."""
    return one is not other and _images(one) == _images(other) and not _differing(one, other)


def _images(one: Measurement) -> tuple[str | None, str | None]:
    return one.split, one.label


def _differing(one: Measurement, other: Measurement) -> list[str]:
    """Conditions that two measurements do not share."""
    told = [(name, one.conditions.get(name), other.conditions.get(name)) for name in SAME]
    return [name for name, ours, theirs in told if None not in (ours, theirs) and ours != theirs]


def _first(rows: Iterable[Measurement], fits: Callable[[Measurement], bool]) -> Measurement | None:
    return next((one for one in rows if fits(one)), None)


def _why_absent(limit: Limit, evidence: Evidence) -> str:
    """Why nothing was found, as nearly as it can be told."""
    if limit.baseline == "reference" and not evidence.reference:
        return "there is no reference to compare with; give --reference RUN"
    if limit.baseline == "reference" and limit.measure == "top1_difference" and evidence.left_out:
        return no_baseline(limit, None, evidence.left_out)
    own = [one for one in evidence.all() if _is_own(one)]
    namesakes = [one for one in own if one.name == limit.measure]
    if limit.label is not None and namesakes:
        classes = [one.label for one in namesakes]
        if limit.label not in classes:
            return no_label(limit, [str(name) for name in dict.fromkeys(classes) if name])
    return not_measured(limit, own)


def _why_no_baseline(limit: Limit, joined: Sequence[MeasuredPair], evidence: Evidence) -> str:
    """Why the baseline has no number to compare with."""
    if limit.baseline == "reference" and not evidence.reference:
        return "there is no reference to compare with; give --reference RUN"
    lonely = next(pair.ours for pair in joined if not _can_be_judged(limit, pair))
    position = len(evidence.stages) - 1
    near = _theirs(limit, position, evidence)
    near = (one for one in near if one is not lonely and _images(one) == _images(lonely))
    others = [(one, name) for one in near for name in _differing(lonely, one)]
    differs = [
        f"{name} {other.conditions[name]}, not {lonely.conditions[name]}" for other, name in others
    ]
    of_images = limit.baseline == "reference" and lonely.split is not None
    return no_baseline(
        limit, differs[0] if differs else None, evidence.left_out if of_images else ""
    )
