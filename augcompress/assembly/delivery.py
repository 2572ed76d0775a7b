"""From a network or a graph to the file to ship: parity, comparison with baselines, metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from augcompress import measures
from augcompress.assembly.artifacts import Network, open_network
from augcompress.assembly.context import Context
from augcompress.assembly.graphs import open_graph
from augcompress.assembly.scoring import (
    Answer,
    costs,
    graph_answer,
    network_answer,
    predict,
    quality,
    with_role,
)
from augcompress.assembly.stage import Input, Inputs
from augcompress.compressions import Notes
from augcompress.differences import top1_difference
from augcompress.exporters import (
    OnnxExporter,
    Reference,
    as_reference,
    check_float,
    check_quantized,
    is_quantized,
    save,
    to_graph,
    with_options,
)
from augcompress.predictions import Predictions
from augcompress.records import Measurement

PARITY_IMAGES = 512
FLOAT_GRAPH = "float.onnx"
"""What `quantize` leaves beside its graph when it started from a graph: what that one was."""
SMOKE_ROUNDS = 2
IN_METADATA = ("top1", "top5", "macro_f1", "nll", "ece")


@dataclass(frozen=True)
class Origin:
    """What a file is made from: a network, or a graph whose network is not known."""

    graph: onnx.ModelProto
    network: Network | None = None

    @property
    def reference(self) -> Reference:
        """What the file must do."""
        if self.network is None:
            return as_reference(self.graph)
        return self.network.module.to("cpu").eval()

    def answer(self, context: Context) -> Answer:
        """What it says to a batch."""
        if self.network is None:
            return graph_answer(self.graph.SerializeToString())
        return network_answer(self.network.module, context.device)

    @property
    def notes(self) -> Notes:
        """What compressions left for graph steps."""
        return {} if self.network is None else self.network.notes()


@dataclass(frozen=True)
class Baseline:
    """What the shipped file is compared with, as the fp32 file that it would ship as."""

    role: str
    origin: Origin
    file: Path


def open_origin(
    context: Context, given: Input, where: str, settings: OnnxExporter, *, marked: bool = False
) -> Origin:
    """What a stage makes its file from; `marked`: with the named points that graph steps look for.

    Raises AugcompressError when it is no graph and no network, or does not fit the data.
    """
    if given.path.suffix == ".onnx":
        return Origin(with_options(open_graph(context, given.path), settings))
    teacher = context.spec.train_teacher
    model = teacher.model if teacher is not None else None
    network = open_network(context, given.path, model, where)
    return Origin(graph_of(context, network.marked() if marked else network, settings), network)


def graph_of(context: Context, network: Network, settings: OnnxExporter) -> onnx.ModelProto:
    """The network as an ONNX graph, traced with real images."""
    network.module.to("cpu").eval()
    return to_graph(network.module, context.example(), settings)


def images(context: Context, split: str, count: int) -> np.ndarray:
    """Images of a split, evenly spread, uint8 `(N,C,H,W)`."""
    taken = [batch.images().numpy() for batch in context.evaluation_batches(split, count)]
    return np.concatenate(taken)[:count]


def calibration(context: Context) -> Iterator[np.ndarray]:
    """Training images for calibration, in the shuffled order of epoch 0, never augmented."""
    batches = context.training_batches(min(64, len(context.data.train)))
    return (batch.images().numpy() for batch in batches.epoch(0))


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


def open_baselines(
    context: Context, inputs: Inputs, settings: OnnxExporter, folder: Path
) -> list[Baseline]:
    """Teacher and float network, written side by side with the same settings."""
    imitates = inputs["source"].path.suffix == ".onnx"  # then the file has the real thing
    found = []
    for role in ("teacher", "float"):
        if role in inputs:
            where = f"export.{role}"
            origin = open_origin(context, inputs[role], where, settings, marked=imitates)
            file = folder / f"{role}.onnx"
            save(origin.graph, file)
            found.append(Baseline(role, origin, file))
    return found


def check_baseline(context: Context, baseline: Baseline) -> None:
    """A baseline's file that is kept must do what its network does, too.

    Raises LimitError when it does not.
    """
    settings, quantized = context.spec.export.targets[0], is_quantized(baseline.origin.graph)
    check_parity(context, baseline.file, baseline.origin, settings, quantized=quantized)


def compare(
    context: Context, file: Path, shipped: Predictions, baseline: Baseline
) -> tuple[list[Measurement], Predictions]:
    """A baseline's quality and cost on the same images, how the file differs from it, and both
    files' speed; and what the baseline answered."""
    role, name = baseline.role, baseline.file.name
    found = predict(graph_answer(baseline.file), context, "test")
    ours, theirs = shipped.probabilities, found.probabilities
    rows = [
        measures.agreement(ours, theirs, split="test", subject=file.name, baseline=role),
        top1_difference(shipped, found, subject=file.name, baseline=role),
    ]
    network = baseline.origin.network
    return [
        *quality(found, name, role),
        *(costs(network, context, name, role) if network is not None else []),
        with_role(measures.size_bytes(baseline.file, subject=name), role),
        *(with_role(row, "shipped") for row in rows),
        *timings(context, file, baseline),
    ], found


def timings(context: Context, file: Path, baseline: Baseline) -> list[Measurement]:
    """The file's speed and the baseline's, taken in turns, for each number of threads and images
    a call that the recipe asks for."""
    section, rows = context.spec.export.timing, list[Measurement]()
    fixed = context.spec.export.targets[0].batch
    for threads in section.threads:
        for batch in section.batches if fixed is None else (fixed,):
            context.reporter.message(
                f"export: timing against {baseline.role}, threads {threads}, batch {batch}"
            )
            rows += measures.timing(
                file,
                baseline=baseline.file,
                threads=threads,
                batch=batch,
                subject=file.name,
                baseline_name=baseline.role,
                rounds=SMOKE_ROUNDS if context.smoke else section.rounds,
            )
    theirs = baseline.file.name
    return [with_role(r, baseline.role if r.subject == theirs else "shipped") for r in rows]


def metadata(context: Context, graph: onnx.ModelProto, rows: list[Measurement]) -> dict[str, str]:
    """What the file says of itself; no paths."""
    told = {row.name: in_short(row) for row in rows if row.name in IN_METADATA}
    return {
        "labels": json.dumps(list(context.data.classes)),
        "resizing": json.dumps(context.data.resizing),
        "input_size": json.dumps([context.data.channels, *context.data.size]),
        "recipe": context.recipe_digest,
        "test_top1": json.dumps(told["top1"]),
        "metrics": json.dumps(told),
        "opset": next(str(one.version) for one in graph.opset_import if one.domain == ""),
        "quantized": json.dumps(is_quantized(graph)),
        "producer_version": context.version,
    }


def in_short(row: Measurement) -> dict[str, Any]:
    """A measurement without its circumstances."""
    return row.model_dump(include={"value", "low", "high", "level", "n", "split"})
