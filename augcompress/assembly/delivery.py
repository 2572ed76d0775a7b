"""From a network to the shipped file: graph, parity, metadata, comparison with its baselines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from augcompress import measures
from augcompress.assembly.artifacts import Network, open_network
from augcompress.assembly.context import Context
from augcompress.assembly.scoring import accuracy, costs, graph_answer, predict, with_role
from augcompress.assembly.stage import Inputs
from augcompress.errors import AugcompressError
from augcompress.exporters import (
    OnnxExporter,
    check_float,
    check_quantized,
    open_session,
    save,
    to_graph,
)
from augcompress.records import Measurement, Predictions

PARITY_IMAGES = 512
TIMED_CALLS = 200


@dataclass(frozen=True)
class Baseline:
    """A float network that the shipped file is compared with, as the fp32 file it would ship as."""

    role: str
    network: Network
    file: Path


def graph_of(context: Context, network: Network, settings: OnnxExporter) -> onnx.ModelProto:
    """The network as an ONNX graph, traced with two real images."""
    network.module.to("cpu").eval()
    return to_graph(network.module, context.example(), settings)


def images(context: Context, split: str, count: int) -> np.ndarray:
    """The first images of a split, uint8 `(N,C,H,W)`."""
    taken = [batch.images().numpy() for batch in context.evaluation_batches(split, count)]
    return np.concatenate(taken)[:count]


def calibration(context: Context) -> Iterator[np.ndarray]:
    """Training images for calibration, in the shuffled order of epoch 0, never augmented."""
    batches = context.training_batches(min(64, len(context.data.train)))
    return (batch.images().numpy() for batch in batches.epoch(0))


def check_parity(
    context: Context, file: Path, network: Network, settings: OnnxExporter, *, quantized: bool
) -> list[Measurement]:
    """The file against its network on real validation images.

    Raises LimitError when they differ by more than the settings allow.
    """
    shown = images(context, "validation", PARITY_IMAGES)
    module = network.module.to("cpu").eval()
    if quantized:
        rows = check_quantized(file, module, shown, settings.agreement)
    else:
        rows = check_float(file, module, shown, tolerance=settings.tolerance)
    update = {"split": "validation", "subject": file.name, "baseline": "float"}
    return [with_role(row.model_copy(update=update), "shipped") for row in rows]


def open_baselines(
    context: Context, inputs: Inputs, settings: OnnxExporter, folder: Path
) -> list[Baseline]:
    """Teacher and float network, exported side by side with the same settings."""
    section = context.spec.train_teacher
    model = section.model if section is not None else None
    found = []
    for role in ("teacher", "float"):
        if role in inputs:
            network = open_network(context, inputs[role].path, model, f"export.{role}")
            file = folder / f"{role}.onnx"
            imitates = inputs["source"].path.suffix == ".onnx"  # then the file has the real thing
            save(graph_of(context, network.marked() if imitates else network, settings), file)
            found.append(Baseline(role, network, file))
    return found


def score_shipped(context: Context, file: Path) -> tuple[list[Measurement], Predictions]:
    """The file on all test images, as it ships, and its bytes."""
    found = predict(graph_answer(file), context, "test")
    rows = accuracy(found, "test", file.name, "shipped")
    return [*rows, with_role(measures.size_bytes(file, subject=file.name), "shipped")], found


def compare(
    context: Context, file: Path, shipped: Predictions, baseline: Baseline
) -> list[Measurement]:
    """Accuracy, cost and speed of a baseline on the same images, and the ratio to it."""
    role = baseline.role
    found = predict(graph_answer(baseline.file), context, "test")
    image = images(context, "test", 1)[0]
    timed = measures.speedup(
        open_session(baseline.file),
        open_session(file),
        image,
        repeats=TIMED_CALLS,
        subject=file.name,
        baseline=role,
    )
    agreed = measures.agreement(
        shipped.probabilities, found.probabilities, split="test", subject=file.name, baseline=role
    )
    ratio, fast, slow = timed
    return [
        *accuracy(found, "test", baseline.file.name, role),
        *costs(baseline.network, context, baseline.file.name, role),
        with_role(measures.size_bytes(baseline.file, subject=baseline.file.name), role),
        with_role(agreed, "shipped"),
        with_role(ratio, "shipped"),
        with_role(fast, "shipped"),
        with_role(slow, role),
    ]


def metadata(
    context: Context, network_classes: tuple[str, ...], rows: list[Measurement]
) -> dict[str, str]:
    """What the file says of itself; no paths."""
    top1 = next(row for row in rows if row.name == "top1")
    accuracy_text: dict[str, Any] = {
        "value": top1.value,
        "low": top1.low,
        "high": top1.high,
        "level": top1.level,
        "n": top1.n,
        "split": top1.split,
    }
    return {
        "labels": json.dumps(list(network_classes)),
        "resizing": json.dumps(context.data.resizing),
        "input_size": json.dumps([context.data.channels, *context.data.size]),
        "recipe": context.recipe_digest,
        "test_top1": json.dumps(accuracy_text),
        "producer_version": context.version,
    }


def read_graph(path: Path) -> onnx.ModelProto:
    """A graph from a file.

    Raises AugcompressError when it is not ONNX.
    """
    try:
        graph = onnx.load(path)
        onnx.checker.check_model(graph)
    except (
        OSError,
        ValueError,
        DecodeError,
        onnx.checker.ValidationError,
        onnx.onnx_cpp2py_export.checker.ValidationError,
    ) as error:
        raise AugcompressError(f"{path}: is no ONNX file that can be read: {error}") from error
    return graph
