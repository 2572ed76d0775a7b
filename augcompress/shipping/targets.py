"""One target of an export: its file written, scored, described, and compared with its network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
from torch import nn

from augcompress import measures
from augcompress.component import Plugin
from augcompress.evidence import Measurement, Predictions
from augcompress.exporters import Exporter, OnnxExporter, resolve_target
from augcompress.graphs import integer_time, is_quantized, kernels, read_graph, without_preparation
from augcompress.running import Context
from augcompress.scoring import (
    measure_calibration,
    measure_quality,
    predict,
    predict_with_file,
    with_role,
)
from augcompress.shipping.origins import Baseline
from augcompress.shipping.package import metadata
from augcompress.shipping.verification import check_file_promises, check_parity

SHIPPED, TARGET = "shipped", "target"
"""Roles of written files: the headline's, which limits speak of, and those of further targets."""
TIMING = "augcompress.exporters.timing:open_target"
"""What `bench.py` calls in a new process to open a file that is not ONNX."""


@dataclass(frozen=True)
class WrittenTarget:
    """A target's file before it gets its final name."""

    setting: Exporter | Plugin
    """As the recipe has it."""
    exporter: Exporter
    file: Path
    role: str
    quantized: bool
    predictions: Predictions
    """For the test images."""
    scores: list[Measurement]

    @property
    def files(self) -> list[Path]:
        """All that was written for it, the file itself last."""
        beside = sorted(one for one in self.file.parent.iterdir() if one != self.file)
        return [*beside, self.file]


def write_target(
    context: Context,
    setting: Exporter | Plugin,
    source: nn.Module | onnx.ModelProto,
    folder: Path,
    role: str = TARGET,
) -> WrittenTarget:
    """Write the file, score it on all test images as it ships, and put the scores into it.

    Raises AugcompressError when the runtime cannot have the network.
    """
    exporter = resolve_target(setting)
    folder.mkdir()
    file = exporter.write(source, folder, context.example())
    if exporter.input == "image":
        exporter.prepare_inside(file, context.data.resizing, context.data.size)
    function = predict_with_file(exporter.open(file), context)
    found = predict(function, context, "test")
    scores = measure_quality(found, file.name, role)
    scores += measure_calibration(function, context, found, file.name, role)
    quantized = isinstance(source, onnx.ModelProto) and is_quantized(source)
    exporter.describe(file, metadata(context, scores, quantized=quantized))
    return WrittenTarget(setting, exporter, file, role, quantized, found, scores)


def verify(context: Context, target: WrittenTarget, baseline: Baseline | None) -> list[Measurement]:
    """The reopened file does what its float network does, where that is known.

    Raises LimitError when it does not.
    """
    if baseline is None:
        return []
    quantized, role = target.quantized, target.role
    rows = check_parity(
        context, target.exporter, target.file, baseline.origin, quantized=quantized, role=role
    )
    return rows + promises(target, baseline)


def promises(target: WrittenTarget, baseline: Baseline) -> list[Measurement]:
    """What network compressions promise of an ONNX file.

    Raises LimitError when it is not kept.
    """
    network = baseline.origin.network
    if network is None or not isinstance(target.exporter, OnnxExporter):
        return []
    return check_file_promises(read_graph(target.file), network)


def file_costs(context: Context, target: WrittenTarget) -> list[Measurement]:
    """Bytes, as they are and compressed, time to load and memory; of a quantised file the share of
    the time that integer kernels take."""
    name = target.file.name
    rows = [
        measures.size_bytes(target.file, subject=name),
        *measures.footprint(target.file, subject=name, opener=opener(context, target)),
    ]
    if target.quantized and isinstance(target.exporter, OnnxExporter):
        row = integer_time(kernels(without_preparation(read_graph(target.file))))
        rows.append(row.model_copy(update={"subject": name}))
    return [with_role(row, target.role) for row in rows]


def opener(context: Context, target: WrittenTarget) -> measures.Opener | None:
    """How a new process opens the file to time it; None: as an ONNX file."""
    if isinstance(target.exporter, OnnxExporter):
        return None
    setting = target.setting.model_dump(mode="json")
    shape = [context.data.channels, *context.data.size]
    return {"function": TIMING, "given": {"setting": setting, "shape": shape}}
