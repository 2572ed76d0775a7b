"""What a file takes and gives, and a graph that does so."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto

from augcompress.graphs.edits import Step, constant, graph_copy, put_before, put_behind, shape_of


class FileOptions(Protocol):
    """What is asked of a file: settings of an exporter."""

    @property
    def input(self) -> str:
        """float32 or uint8."""

    @property
    def output(self) -> str:
        """logits or probabilities."""

    @property
    def batch(self) -> int | None:
        """Number of images that a call must have; None: any."""

    @property
    def opset(self) -> int:
        """Version of the operator set."""


def with_options(graph: ModelProto, settings: FileOptions) -> ModelProto:
    """A copy of a graph in our convention with the exporter's input, output and batch.

    Probabilities stay probabilities, and uint8 input stays uint8: neither can be undone.
    """
    changed = graph_copy(graph)
    inner = changed.graph
    takes, gives = shape_of(inner.input[0]), shape_of(inner.output[0])
    if settings.batch is not None:
        takes[0] = gives[0] = settings.batch
    kind = inner.input[0].type.tensor_type.elem_type
    steps: list[Step] = []
    if settings.input == "uint8" and kind == TensorProto.FLOAT:
        most, kind = constant(inner, "largest_byte", np.float32(255)), TensorProto.UINT8
        steps = [
            lambda a, b: onnx.helper.make_node("Cast", [a], [b], "as_float", to=TensorProto.FLOAT),
            lambda a, b: onnx.helper.make_node("Div", [a, most], [b], "from_bytes"),
        ]
    put_before(inner, steps, kind, takes)
    name = inner.output[0].name
    if settings.output == "probabilities" and name != "probabilities":
        put_behind(inner, [_softmax], "probabilities", gives)
    else:
        put_behind(inner, [], name, gives)
    return changed


def _softmax(source: str, made: str) -> NodeProto:
    return onnx.helper.make_node("Softmax", [source], [made], "softmax", axis=1)
