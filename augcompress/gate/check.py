"""A run checked from its files alone: what CI asks before a file may ship."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from augcompress.errors import AugcompressError
from augcompress.evidence import (
    PREDICTIONS_FILE,
    Limit,
    Measurement,
    Predictions,
    StageResult,
    Verdict,
    are_same_images,
    top1_difference,
)
from augcompress.gate.integrity import integrity, shipped_file
from augcompress.gate.timing import read_timing
from augcompress.gate.verdicts import check_limits
from augcompress.storage import read_run, stage_order

OTHER_IMAGES = (
    "it was measured on other images; run: augcompress export in the reference run, with the same"
    " data"
)


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
    the baseline `reference` means: top-1 is compared image by image where both answered the same
    test images, and where that is not known, none of its numbers on images counts.  `extra`
    measurements come before those of the run and of the timing file.

    Raises AugcompressError when `run` or `reference_run` is no run, or the timing is of another
    file.
    """
    stages = judged_stages(run)
    others = judged_stages(reference_run) if reference_run is not None else []
    found = list(extra)
    if timing_file is not None:
        last = shipped_file(reference_run) if reference_run is not None else None
        found += read_timing(timing_file, shipped_file(run), last)
    left_out = ""
    if reference_run is not None:
        differences, left_out = against(run, reference_run)
        found += differences
    if left_out:
        others = [_without_images(stage) for stage in others]
    verdicts = check_limits(limits, stages, extra=found, reference=others, left_out=left_out)
    return [*integrity(run), *verdicts]


def judged_stages(run: Path) -> list[StageResult]:
    """A run's stages in the order of the pipeline; `evaluate` only where nothing was exported.

    Raises AugcompressError when it is no run, or is damaged.
    """
    stages, order = read_run(run).stages, stage_order(run)
    known = sorted(
        (stage for stage in stages if stage.name in order),
        key=lambda stage: order.index(stage.name),
    )
    exported = any(stage.name == "export" for stage in known)
    return [stage for stage in known if stage.name != "evaluate" or not exported]


def against(run: Path, reference: Path) -> tuple[list[Measurement], str]:
    """How what ships differs from what the reference ships, image by image; or why that, and with
    it the reference's numbers on images, is left out."""
    try:
        ours, theirs = _answers(run), _answers(reference)
    except AugcompressError as error:
        return [], str(error)
    return ([difference(ours, theirs)], "") if are_same_images(ours, theirs) else ([], OTHER_IMAGES)


def difference(ours: Predictions, theirs: Predictions) -> Measurement:
    """Top-1 of ours minus top-1 of the reference on the same images, with Tango's interval."""
    found = top1_difference(ours, theirs, baseline="reference")
    return found.model_copy(update={"conditions": {**found.conditions, "role": "shipped"}})


def _answers(run: Path) -> Predictions:
    """What the shipped file answered: on test where it was exported, else on validation.

    Raises AugcompressError when there are no predictions, or they are damaged.
    """
    return Predictions.load(shipped_file(run).with_name(PREDICTIONS_FILE))


def _without_images(stage: StageResult) -> StageResult:
    """Only what no images were involved in: bytes, parameters, timings."""
    kept = [one for one in stage.measurements if one.split is None]
    return stage.model_copy(update={"measurements": kept})
