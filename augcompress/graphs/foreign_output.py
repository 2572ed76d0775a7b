"""Which output of a foreign graph holds one score per class, and what kind of score it is, found by
running it on images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto
from onnx.helper import make_node

from augcompress.errors import AugcompressError, first_line
from augcompress.graphs.edits import Step, is_quantized
from augcompress.graphs.foreign_input import Reading
from augcompress.graphs.foreign_refusals import optimized_error, require_numbers
from augcompress.inference import filled, open_session, runtime_errors

ONE = 1e-2
"""How far the sum of a row of probabilities may lie from 1, as half precision may have it."""
QUANTIZED_ONE = 5e-2
"""The same of the median of all rows, where each number is rounded to one of 256."""
_LEAST = -1e-6  # what rounding makes of a probability of 0
_SQUASHING = {"Sigmoid", "HardSigmoid", "Exp", "Tanh", "Erf"}
_MIXING = {"Conv", "Gemm", "MatMul", "Einsum", "QLinearConv", "QLinearMatMul", "QGemm"}

Run = Callable[[np.ndarray], dict[str, np.ndarray]]
"""Images, uint8 `(N,C,H,W)`, to what the original gives for them in one call, by output."""


@dataclass(frozen=True)
class Scores:
    """The output that holds one score per class."""

    source: str
    """The original's tensor."""
    name: str
    """`logits` or `probabilities`."""
    rank: int
    is_float32: bool
    rows: np.ndarray = field(repr=False)
    """What the original gives for the images, `(N,classes)` float32."""

    @property
    def classes(self) -> int:
        """Length of a row."""
        return self.rows.shape[1]

    @classmethod
    def find(cls, graph: ModelProto, reading: Reading, images: np.ndarray, where: str) -> Scores:
        """The only output that may be meant, found by running the original.

        Raises AugcompressError when there is none, or more than one, or when what it holds is
        neither logits nor probabilities.
        """
        run = running(graph, reading, where)
        count = reading.batch or 2
        found = run(images[np.arange(count) % len(images)])
        scores = {name: array for name, array in found.items() if _are_scores(array, count)}
        if len(scores) != 1:
            shown = ", ".join(f"{name} {list(array.shape)}" for name, array in found.items())
            many = "more than one may be" if scores else "none is"
            raise AugcompressError(
                f"{where}: gives {shown} for {count} images, and {many} float scores (N,classes);"
                " export it with that output alone"
            )
        ((source, array),) = scores.items()
        rows = original_rows(run, source, images, reading.batch)
        require_numbers(graph, rows, where)
        name = _kind_of(graph, source, rows, where)
        return cls(source, name, array.ndim, array.dtype == np.float32, rows)

    def steps(self) -> list[Step]:
        """Nodes that make it float32 `(N,classes)`."""
        steps: list[Step] = []
        if not self.is_float32:
            kind = TensorProto.FLOAT
            steps.append(lambda a, b: make_node("Cast", [a], [b], "scores_type", to=kind))
        if self.rank > 2:
            steps.append(lambda a, b: make_node("Flatten", [a], [b], "scores_shape", axis=1))
        return steps


def running(graph: ModelProto, reading: Reading, where: str) -> Run:
    """The original as a function of images.

    Raises AugcompressError when it cannot be loaded, or be run on them.
    """
    name = graph.graph.input[0].name
    try:
        session: onnxruntime.InferenceSession = open_session(graph.SerializeToString(), name=where)
    except AugcompressError as error:
        raise optimized_error(graph, where) or error from error

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        given = reading.seen(images)
        try:
            outputs = session.run(None, {name: given})
        except runtime_errors() as error:
            raise AugcompressError(
                f"{where}: cannot be run on {list(given.shape)} ({first_line(error)}); check it"
                " with ONNX Runtime, or give the right foreign.layout and image size"
            ) from error
        return {one.name: array for one, array in zip(session.get_outputs(), outputs, strict=True)}

    return run


def original_rows(run: Run, source: str, images: np.ndarray, batch: int | None) -> np.ndarray:
    """The original's scores `(N,classes)`, in calls of its own batch or one by one."""
    size, rows = batch or 1, []
    for start in range(0, len(images), size):
        part = images[start : start + size]
        found = run(filled(part, size))[source]
        rows.append(found.reshape(len(found), -1)[: len(part)])
    return np.concatenate(rows).astype(np.float32)


def _are_scores(array: np.ndarray, count: int) -> bool:
    """Float, with one row per image and at least two values in it."""
    is_float = isinstance(array, np.ndarray) and array.dtype.kind == "f"
    rows = is_float and array.ndim >= 2 and len(array) == count
    return rows and array.size == array.shape[0] * array.shape[1] >= 2 * count


def _kind_of(graph: ModelProto, source: str, rows: np.ndarray, where: str) -> str:
    """`probabilities` where rows sum to 1 and are never negative, else `logits`.

    Raises AugcompressError where each score lies between 0 and 1 by itself.
    """
    sums, quantized = rows.sum(axis=1, dtype=np.float64), is_quantized(graph)
    off = abs(np.median(sums) - 1) if quantized else np.abs(sums - 1).max()
    if rows.min() < _LEAST:
        return "logits"
    if off <= (QUANTIZED_ONE if quantized else ONE):
        return "probabilities"
    if rows.max() <= 1 and (squashed := _SQUASHING & _tail(graph, source)):
        raise AugcompressError(
            f"{where}: its scores lie between 0 and 1 each by itself ({sorted(squashed)[0]}) and do"
            f" not sum to 1 (they do to {sums.min():.3g} to {sums.max():.3g}): several classes may"
            " be right at once, or none; export it without its last step, so that it gives logits"
        )
    return "logits"


def _tail(graph: ModelProto, output: str) -> set[str]:
    """Operators between the last one that mixes features, and the output."""
    made_by = {name: node for node in graph.graph.node for name in node.output}
    found, wanted = dict[str, str](), [output]
    while wanted:
        name = wanted.pop()
        node = made_by.get(name)
        if node is not None and name not in found and node.op_type not in _MIXING:
            found[name] = node.op_type
            wanted.extend(node.input)
    return {*found.values()}
