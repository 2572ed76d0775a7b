"""Which output of a foreign graph holds one score per class, found by running it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, TensorProto
from onnx.helper import make_node

from augcompress.errors import AugcompressError, first_line
from augcompress.exporters.foreign_input import Reading
from augcompress.exporters.graph_edits import Step
from augcompress.exporters.sessions import RUNTIME_ERRORS, open_session

_PASSING = (
    "Identity",
    "Cast",
    "Flatten",
    "Reshape",
    "Squeeze",
    "Dropout",
    "QuantizeLinear",
    "DequantizeLinear",
)


@dataclass(frozen=True)
class Scores:
    """The output that holds one score per class."""

    source: str
    """The original's tensor."""
    name: str
    """`logits` or `probabilities`."""
    classes: int
    rank: int
    is_float32: bool

    @classmethod
    def find(cls, graph: ModelProto, reading: Reading, where: str) -> Scores:
        """The only output that may be meant, found by running the original.

        Raises AugcompressError when there is none, or more than one.
        """
        found = _outputs(graph, reading, where)
        scores = {name: array for name, array in found.items() if _are_scores(array)}
        if len(scores) != 1:
            shown = ", ".join(f"{name} {list(array.shape)}" for name, array in found.items())
            many = "more than one may be" if scores else "none is"
            raise AugcompressError(
                f"{where}: gives {shown} for {len(reading.trial(reading.batch or 2))} images, and"
                f" {many} float scores (N,classes); export it with that output alone"
            )
        ((source, array),) = scores.items()
        rows = array.reshape(len(array), -1).astype(np.float64)
        sums = rows.min() >= 0 and np.allclose(rows.sum(axis=1), 1, atol=1e-2)
        name = "probabilities" if sums and _ends_in_softmax(graph, source) else "logits"
        return cls(source, name, rows.shape[1], array.ndim, array.dtype == np.float32)

    def steps(self) -> list[Step]:
        """Nodes that make it float32 `(N,classes)`."""
        steps: list[Step] = []
        if not self.is_float32:
            kind = TensorProto.FLOAT
            steps.append(lambda a, b: make_node("Cast", [a], [b], "scores_type", to=kind))
        if self.rank > 2:
            steps.append(lambda a, b: make_node("Flatten", [a], [b], "scores_shape", axis=1))
        return steps


def _outputs(graph: ModelProto, reading: Reading, where: str) -> dict[str, np.ndarray]:
    """What the original gives for its own batch, or for two images, by name."""
    images = reading.seen(reading.trial(reading.batch or 2))
    name = graph.graph.input[0].name
    session = open_session(graph.SerializeToString())
    try:
        outputs = session.run(None, {name: images})
    except RUNTIME_ERRORS as error:
        raise AugcompressError(
            f"{where}: cannot be run on {list(images.shape)} ({first_line(error)}); check it with"
            " ONNX Runtime, or give the right foreign.layout and image size"
        ) from error
    return {one.name: array for one, array in zip(session.get_outputs(), outputs, strict=True)}


def _are_scores(array: np.ndarray) -> bool:
    """Float, with one row per image and at least two values in it."""
    is_float = isinstance(array, np.ndarray) and array.dtype.kind == "f"
    return (
        is_float
        and array.ndim >= 2
        and array.size == array.shape[0] * array.shape[1] >= 2 * (array.shape[0])
    )


def _ends_in_softmax(graph: ModelProto, output: str) -> bool:
    made_by = {name: node for node in graph.graph.node for name in node.output}
    while (node := made_by.get(output)) is not None and node.op_type in _PASSING:
        output = node.input[0]
    return node is not None and node.op_type == "Softmax"
