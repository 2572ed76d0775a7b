"""Edits of a graph's ends: tensors renamed, nodes put before and behind, what is unused removed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from augcompress.inference import session_options

INPUT = "input"
"""What the graph's input is called."""
BATCH_NAME = "batch"
"""What the free first dimension is called."""
_INTEGER_MARKS = ("Quantize", "Integer", "QLinear")  # in the names of integer operators


def graph_copy(graph: ModelProto) -> ModelProto:
    """A graph of its own, to be edited."""
    copy = ModelProto()
    copy.CopyFrom(graph)
    return copy


def opset_of(graph: ModelProto) -> int:
    """Version of the standard operators."""
    versions = {one.domain or "ai.onnx": one.version for one in graph.opset_import}
    return versions.get("ai.onnx", 0)


def is_quantized(graph: ModelProto) -> bool:
    """Does the graph compute with integers, or keep weights as such?"""
    return any(mark in node.op_type for node in graph.graph.node for mark in _INTEGER_MARKS)


def optimizer_operators(graph: ModelProto) -> list[str]:
    """Operators that only ONNX Runtime's optimiser makes, for itself: no tool reads them."""
    marks = (("com.microsoft.nchwc", ""), ("com.microsoft", "Fused"))
    return sorted(
        {
            f"{node.domain}.{node.op_type}"
            for node in graph.graph.node
            if any(node.domain == domain and node.op_type.startswith(op) for domain, op in marks)
        }
    )


def shape_of(value: ValueInfoProto) -> list[int | str]:
    """Dimensions as numbers, or as names where they are free: some tools write those as -1."""
    dims = value.type.tensor_type.shape.dim
    return [d.dim_value if d.dim_value > 0 else d.dim_param or "?" for d in dims]


def name_free_dimensions(graph: GraphProto) -> None:
    """Take numbers below one off free dimensions, in place: ONNX Runtime would insist on them."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        for place, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.HasField("dim_value") and dim.dim_value < 1:
                dim.dim_param = f"{value.name}_{place}"


def rename_tensor(graph: GraphProto, old: str, new: str) -> None:
    """Another name for a tensor everywhere, in place; who has the new name already gets a third."""
    if old == new:
        return
    if new in tensor_names(graph):
        rename_tensor(graph, new, unused_name(graph, f"{new}_inside"))
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = new if value.name == old else value.name
    _rename_in_nodes(graph.node, old, new)


def _rename_in_nodes(nodes: Iterable[NodeProto], old: str, new: str) -> None:
    for node in nodes:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
        for branch in _branches(node):
            _rename_in_nodes(branch.node, old, new)
            for value in (*branch.input, *branch.output, *branch.initializer):
                value.name = new if value.name == old else value.name


def _branches(node: NodeProto) -> list[GraphProto]:
    """The graphs inside an If, a Loop or a Scan."""
    return [one for a in node.attribute for one in (a.g, *a.graphs) if one.node]


def tensor_names(graph: GraphProto) -> set[str]:
    """Every name that a tensor has, in the graph and in its branches."""
    names = {one.name for one in (*graph.input, *graph.output, *graph.initializer)}
    for node in graph.node:
        names |= {*node.input, *node.output}
        names.update(*map(tensor_names, _branches(node)))
    return names


def unused_name(graph: GraphProto, wanted: str) -> str:
    """The name, with a number behind it where it is taken."""
    taken = tensor_names(graph)
    numbered = (f"{wanted}_{number}" for number in range(len(taken) + 1))
    return wanted if wanted not in taken else next(n for n in numbered if n not in taken)


def constant(graph: GraphProto, wanted: str, values: np.ndarray | np.generic) -> str:
    """Store an array in the graph; returns its name."""
    name = unused_name(graph, wanted)
    graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return name


Step = Callable[[str, str], NodeProto]
"""Makes a node from the names of its input and its output."""


def put_before(
    graph: GraphProto, steps: Sequence[Step], kind: int, shape: Sequence[int | str]
) -> None:
    """Let the only input be `input`, of this element type and shape, and pass through the steps."""
    (old,) = graph.input
    rename_tensor(graph, old.name, INPUT)
    chain = [INPUT]
    if steps:
        chain = [*chain, *(unused_name(graph, f"{INPUT}_{n}") for n in range(1, len(steps) + 1))]
        _rename_in_nodes(graph.node, INPUT, chain[-1])
    del graph.input[:]
    graph.input.append(onnx.helper.make_tensor_value_info(INPUT, kind, shape))
    for place, step in enumerate(steps):
        graph.node.insert(place, step(chain[place], chain[place + 1]))


def put_behind(
    graph: GraphProto, steps: Sequence[Step], name: str, shape: Sequence[int | str]
) -> None:
    """Let the only output pass through the steps and be called `name`, float32 of this shape."""
    (old,) = graph.output
    if not steps:
        rename_tensor(graph, old.name, name)
    elif name in tensor_names(graph):
        rename_tensor(graph, name, unused_name(graph, f"{name}_inside"))
    chain = [graph.output[0].name]
    chain += [unused_name(graph, f"{name}_{number}") for number in range(1, len(steps))]
    chain += [name] if steps else []
    del graph.output[:]
    graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    for place, step in enumerate(steps):
        graph.node.append(step(chain[place], chain[place + 1]))


def drop_unused(graph: GraphProto) -> None:
    """Remove, in place, nodes and weights that the outputs do not need."""
    needed = {one.name for one in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if needed & {*node.output}:
            kept.append(node)
            needed.update(node.input, *map(tensor_names, _branches(node)))
    weights = [one for one in graph.initializer if one.name in needed]
    for field, found in ((graph.node, kept[::-1]), (graph.initializer, weights)):
        del field[:]
        field.extend(found)


def simplified(graph: ModelProto) -> ModelProto:
    """ONNX Runtime's basic rewriting: constants folded, batch norm folded into convolutions, copies
    and unused nodes left out; operators stay standard ONNX."""
    with tempfile.TemporaryDirectory() as folder:
        options = session_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "simplified.onnx")
        providers = ["CPUExecutionProvider"]
        onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=providers)
        found = onnx.load(options.optimized_model_filepath)
    used = {node.domain for node in found.graph.node} | {""}
    kept = [one for one in found.opset_import if one.domain in used]
    del found.opset_import[:]
    found.opset_import.extend(kept)
    return found


def name_nodes(graph: GraphProto) -> None:
    """Give nodes names of their own where they have none, in place."""
    used: set[str] = set()
    for position, node in enumerate(graph.node):
        if not node.name or node.name in used:
            node.name = f"{node.op_type}_{position}"
        used.add(node.name)
