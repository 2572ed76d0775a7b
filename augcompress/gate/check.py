"""A run checked from its files alone: what CI asks before a file may ship."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from augcompress.differences import are_same_images, top1_difference
from augcompress.errors import AugcompressError
from augcompress.gate.integrity import PIPELINE, integrity, shipped_file
from augcompress.gate.limit import Limit
from augcompress.gate.timing import timing
from augcompress.gate.verdicts import check_limits
from augcompress.records import (
    PREDICTIONS_FILE,
    Measurement,
    Predictions,
    StageResult,
    Verdict,
)
from augcompress.runs import read_run


def check_run(
    run: Path,
    limits: Iterable[Limit],
    *,
    timing_file: Path | None = None,
    reference_run: Path | None = None,
    extra: Sequence[Measurement] = (),
) -> list[Verdict]:
    """Are the run's files those that were measured, and is each limit reached?

    `timing_file` was written by `bench.py` on the target device.  `reference_run` is the run that
    the baseline `reference` means; where both answered the same test images, top-1 is compared
    image by image.  `extra` measurements come before those of the run and of the timing file.

    Raises AugcompressError when `run` or `reference_run` is no run, or the timing is of another
    file.
    """
    stages = stages_of(run)
    others = stages_of(reference_run) if reference_run is not None else []
    found = list(extra)
    if timing_file is not None:
        last = shipped_file(reference_run) if reference_run is not None else None
        found += timing(timing_file, shipped_file(run), last)
    if reference_run is not None:
        ours, theirs = _answers(run), _answers(reference_run)
        if ours is not None and theirs is not None:
            same = are_same_images(ours, theirs)
            found += [difference(ours, theirs)] if same else []
            others = others if same else [_without_images(stage) for stage in others]
    verdicts = check_limits(limits, stages, extra=found, reference=others)
    return [*integrity(run), *verdicts]


def stages_of(run: Path) -> list[StageResult]:
    """A run's stages in the order of the pipeline; `evaluate` only where nothing was exported.

    Raises AugcompressError when it is no run, or is damaged.
    """
    try:
        stages = read_run(run).stages
    except (ValueError, KeyError, TypeError) as error:
        raise AugcompressError(
            f"{run}: a stage.json is damaged; repeat its stage with --force"
        ) from error
    known = sorted(
        (stage for stage in stages if stage.name in PIPELINE),
        key=lambda stage: PIPELINE.index(stage.name),
    )
    exported = any(stage.name == "export" for stage in known)
    return [stage for stage in known if stage.name != "evaluate" or not exported]


def difference(ours: Predictions, theirs: Predictions) -> Measurement:
    """Top-1 of ours minus top-1 of the reference on the same images, with Tango's interval."""
    found = top1_difference(ours, theirs, baseline="reference")
    return found.model_copy(update={"conditions": {**found.conditions, "role": "shipped"}})


def _answers(run: Path) -> Predictions | None:
    """The shipped file's answers on the test images; None: there are none, or they are damaged."""
    path = run / "export" / PREDICTIONS_FILE
    try:
        return Predictions.load(path) if path.is_file() else None
    except AugcompressError:  # its size is a verdict of its own
        return None


def _without_images(stage: StageResult) -> StageResult:
    """Only what no images were involved in: bytes, parameters, timings."""
    kept = [one for one in stage.measurements if one.split is None]
    return stage.model_copy(update={"measurements": kept})
