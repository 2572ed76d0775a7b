"""The written file against what it was made from, on real images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from augcompress.batch import Batch
from augcompress.evidence import Measurement
from augcompress.exporters import Exporter, Reference, check_float, check_quantized
from augcompress.graphs import is_quantized
from augcompress.networks import Network
from augcompress.running import Context
from augcompress.scoring import with_role
from augcompress.shipping.origins import FLOAT, Baseline, Origin

PARITY_IMAGES = 512


@dataclass(frozen=True)
class SplitSample:
    """Images of a split, evenly spread."""

    split: str
    images: np.ndarray
    """`(N,C,H,W)` in [0,1]."""
    index: np.ndarray
    """`(N,)` positions in the source."""


def split_sample(context: Context, split: str, count: int) -> SplitSample:
    """At most `count` images of a split."""
    batches = list(context.evaluation_batches(split, count))
    images = np.concatenate([*arrays(context, batches)])
    index = np.concatenate([batch.index.numpy() for batch in batches])
    return SplitSample(split, images, index)


def calibration(context: Context) -> Iterator[np.ndarray]:
    """Training images for calibration, in the shuffled order of epoch 0, never augmented."""
    batches = context.training_batches(min(64, len(context.data.train)))
    return arrays(context, batches.epoch(0))


def arrays(context: Context, batches: Iterable[Batch]) -> Iterator[np.ndarray]:
    """Images of batches as files take them, in [0,1] `(N,C,H,W)`."""
    for batch in batches:
        yield context.data.ready(batch, "cpu").images().contiguous().numpy()


def check_parity(
    context: Context,
    exporter: Exporter,
    file: Path,
    origin: Origin,
    *,
    quantized: bool,
    role: str = "shipped",
) -> list[Measurement]:
    """The reopened file, and its copies in other formats, against what it was made from, on real
    validation images; the measurements are the file's.

    Raises LimitError when they differ by more than the exporter's settings allow.
    """
    sample = split_sample(context, "validation", PARITY_IMAGES)
    exporter.check(file, sample.images, sample.index)
    targets = context.spec.export.targets
    place = targets.index(exporter) if exporter in targets else 0
    told = {"classes": context.data.classes, "field": f"export.targets.{place}.agreement"}
    rows, *_ = [
        parity(exporter, one, origin.reference, sample, **(told if quantized else {}))
        for one in (file, *exporter.copies(file))
    ]
    return [with_role(row, role) for row in rows]


def parity(
    exporter: Exporter, file: Path, reference: Reference, sample: SplitSample, **quantized: Any
) -> list[Measurement]:
    """One file against its reference; of a quantised one its `classes` and the `field` of the
    recipe that says how often both must agree.

    Raises LimitError when they differ by more than the exporter's settings allow.
    """
    model = replace(exporter.open(file), name=file.name)
    facts: dict[str, Any] = {"batch": exporter.batch, "names": sample.index}
    if quantized:
        facts |= quantized
        rows = check_quantized(model, reference, sample.images, exporter.agreement, **facts)
    else:
        rows = check_float(model, reference, sample.images, exporter.tolerance, **facts)
    update = {"split": sample.split, "subject": file.name, "baseline": FLOAT}
    return [row.model_copy(update=update) for row in rows]


def check_file_promises(graph: onnx.ModelProto, network: Network) -> list[Measurement]:
    """What the compressions of a network promise of a reopened file that was made from it.

    Raises LimitError when a promise is not kept.
    """
    return [
        row
        for applied in network.standing()
        for row in applied.compression.check_file(graph, applied.history)
    ]


def check_baseline(context: Context, baseline: Baseline) -> None:
    """A baseline's file that is kept must do what its network does, too.

    Raises LimitError when it does not.
    """
    exporter, quantized = context.spec.export.headline, is_quantized(baseline.origin.graph)
    check_parity(context, exporter, baseline.file, baseline.origin, quantized=quantized)
