"""The written file against what it was made from, on real images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from augcompress.batch import Batch
from augcompress.evidence import Measurement
from augcompress.exporters import (
    OnnxExporter,
    check_float,
    check_quantized,
    is_quantized,
)
from augcompress.running import Context
from augcompress.scoring import (
    with_role,
)
from augcompress.shipping.origins import Baseline, Origin

PARITY_IMAGES = 512


def images(context: Context, split: str, count: int) -> np.ndarray:
    """Images of a split, evenly spread, in [0,1] `(N,C,H,W)`."""
    return np.concatenate([*arrays(context, context.evaluation_batches(split, count))])[:count]


def calibration(context: Context) -> Iterator[np.ndarray]:
    """Training images for calibration, in the shuffled order of epoch 0, never augmented."""
    batches = context.training_batches(min(64, len(context.data.train)))
    return arrays(context, batches.epoch(0))


def arrays(context: Context, batches: Iterator[Batch]) -> Iterator[np.ndarray]:
    """Images of batches as files take them, in [0,1] `(N,C,H,W)`."""
    for batch in batches:
        yield context.data.ready(batch, "cpu").images().contiguous().numpy()


def check_parity(
    context: Context, file: Path, origin: Origin, settings: OnnxExporter, *, quantized: bool
) -> list[Measurement]:
    """The file against what it was made from, on real validation images.

    Raises LimitError when they differ by more than the settings allow.
    """
    shown = images(context, "validation", PARITY_IMAGES)
    names = [str(one) for one in context.evaluated("validation", PARITY_IMAGES).index]
    told: dict[str, Any] = {"batch": settings.batch, "names": names}
    if quantized:
        rows = check_quantized(file, origin.reference, shown, settings.agreement, **told)
    else:
        rows = check_float(file, origin.reference, shown, tolerance=settings.tolerance, **told)
    update = {"split": "validation", "subject": file.name, "baseline": "float"}
    return [with_role(row.model_copy(update=update), "shipped") for row in rows]


def check_baseline(context: Context, baseline: Baseline) -> None:
    """A baseline's file that is kept must do what its network does, too.

    Raises LimitError when it does not.
    """
    settings, quantized = context.spec.export.targets[0], is_quantized(baseline.origin.graph)
    check_parity(context, baseline.file, baseline.origin, settings, quantized=quantized)
