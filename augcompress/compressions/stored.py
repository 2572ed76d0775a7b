"""The weights that an ONNX file holds, by layer."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Operators with weights."""


def stored_weights(graph: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Each layer's weights as the file stores them, by the name of its node: behind whatever turns
    stored numbers into floats."""
    return {name: one for name, (one, _) in _sources(graph).items()}


def count_zeros(graph: onnx.ModelProto) -> dict[str, int]:
    """How many of each layer's stored weights stand for 0, by the name of its node: integers that
    equal their zero point."""
    return {
        name: int((numpy_helper.to_array(one) == zero).sum())
        for name, (one, zero) in _sources(graph).items()
    }


def _sources(graph: onnx.ModelProto) -> dict[str, tuple[onnx.TensorProto, np.ndarray]]:
    """Stored weights and the number that stands for 0, which broadcasts against them."""
    arrays = {one.name: one for one in graph.graph.initializer}
    made = {output: node for node in graph.graph.node for output in node.output}
    found = {}
    for node in graph.graph.node:
        if node.op_type not in WEIGHTED:
            continue
        source, zero = node.input[1], np.zeros(())
        while source not in arrays and source in made and made[source].input:
            if made[source].op_type == "DequantizeLinear" and len(made[source].input) > 2:
                zero = _zero_point(made[source], arrays)
            source = made[source].input[0]
        if source in arrays:
            found[node.name] = (arrays[source], zero)
    return found


def _zero_point(node: onnx.NodeProto, arrays: dict[str, onnx.TensorProto]) -> np.ndarray:
    """A zero point `()` or, one per channel, `(1,…,channels,…,1)` as its axis says."""
    weights, zero = arrays[node.input[0]], numpy_helper.to_array(arrays[node.input[2]])
    if zero.ndim == 0:
        return zero
    axis = next((one.i for one in node.attribute if one.name == "axis"), 1)
    return zero.reshape([-1 if place == axis else 1 for place in range(len(weights.dims))])
