"""The weights that an ONNX file holds, by layer."""

from __future__ import annotations

import onnx

WEIGHTED = ("Conv", "Gemm", "MatMul")


def stored_weights(graph: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Each layer's weights as the file stores them, by the name of its node: behind whatever turns
    stored numbers into floats."""
    arrays = {one.name: one for one in graph.graph.initializer}
    made = {output: node for node in graph.graph.node for output in node.output}
    found = {}
    for node in graph.graph.node:
        if node.op_type not in WEIGHTED:
            continue
        source = node.input[1]
        while source not in arrays and source in made and made[source].input:
            source = made[source].input[0]
        if source in arrays:
            found[node.name] = arrays[source]
    return found
