"""The batch of a graph that was made for a fixed number of images, set free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import GraphProto, NodeProto, numpy_helper
from onnx.helper import make_node

from augcompress.graphs.edits import constant, shape_of, unused_name

Shapes = Mapping[str, Sequence[int | str]]
"""Dimensions of tensors by name, with the fixed batch."""


def free_batch(graph: GraphProto, batch: int, shapes: Shapes) -> None:
    """Let nodes that name a fixed batch take any, in place: those that make a fixed shape take
    whatever first dimension there is; what does not depend on the images keeps its own, and is
    repeated where it is put beside what does."""
    arrays = _arrays(graph)
    ends = {one.name: shape_of(one) for one in (*graph.input, *graph.output)}
    shapes = {**shapes, **ends, **{name: array.shape for name, array in arrays.items()}}
    of_images = {graph.input[0].name}
    for node in list(graph.node):
        if node.op_type == "Reshape" and node.input[1] in arrays:
            _free_reshape(graph, node, arrays[node.input[1]], shapes)
        elif node.op_type == "Expand" and node.input[1] in arrays:
            _free_expand(graph, node, arrays[node.input[1]], batch)
        elif node.op_type == "Resize" and len(node.input) > 3:
            _free_resize(graph, node, shapes)
        elif node.op_type == "Concat" and not of_images.isdisjoint(node.input):
            for place, name in enumerate(node.input):
                if name not in of_images and _is_stacked(node, shapes.get(name, ())):
                    node.input[place] = _repeated(graph, node, name, arrays, len(shapes[name]))
        if not of_images.isdisjoint(node.input):
            of_images.update(node.output)


def _arrays(graph: GraphProto) -> dict[str, np.ndarray]:
    stored = {one.name: one for one in graph.initializer}
    stored |= {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant"}
    return {name: numpy_helper.to_array(one) for name, one in stored.items()}


def _free_reshape(graph: GraphProto, node: NodeProto, asked: np.ndarray, shapes: Shapes) -> None:
    had = shapes.get(node.output[0], ())
    means_zero = any(one.name == "allowzero" and one.i for one in node.attribute)
    if not asked.size or asked[0] < 1 or (means_zero and 0 in asked):
        return
    known = len(had) == len(asked) and all(isinstance(dim, int) for dim in had)
    rest = np.array(had[1:], dtype=np.int64) if known else asked[1:]
    first = 0 if -1 in rest else -1  # 0: as it is
    shape = np.array([first, *rest], dtype=np.int64)
    node.input[1] = constant(graph, f"{node.input[1]}_any_batch", shape)
    del node.attribute[:]


def _free_expand(graph: GraphProto, node: NodeProto, asked: np.ndarray, batch: int) -> None:
    if asked.size > 1 and asked[0] == batch:
        shape = np.array([1, *asked[1:]], dtype=np.int64)  # images keep their number beside a 1
        node.input[1] = constant(graph, f"{node.input[1]}_any_batch", shape)


def _free_resize(graph: GraphProto, node: NodeProto, shapes: Shapes) -> None:
    """Ask for the sizes' ratio in their place."""
    before, after = (shapes.get(name, ()) for name in (node.input[0], node.output[0]))
    partly = any(one.name == "axes" for one in node.attribute)
    numbers = [dim for dim in (*before, *after) if isinstance(dim, int)]
    if node.input[3] and not partly and len(numbers) == 2 * len(before) == 2 * len(after) > 0:
        scales = np.array(after, dtype=np.float32) / np.array(before, dtype=np.float32)
        node.input[2] = constant(graph, f"{node.input[3]}_any_batch", scales)
        del node.input[3]


def _is_stacked(node: NodeProto, shape: Sequence[int | str]) -> bool:
    """Does a tensor of this shape lie beside another one, and not behind it?"""
    axis = next(one.i for one in node.attribute if one.name == "axis")
    return len(shape) > 1 and axis % len(shape) != 0


def _repeated(
    graph: GraphProto, before: NodeProto, name: str, arrays: Mapping[str, np.ndarray], rank: int
) -> str:
    """What does not depend on the images, once for each of them: the name of it."""
    if name in arrays and (arrays[name] == arrays[name][:1]).all():
        name = constant(graph, f"{name}_one", arrays[name][:1])
    stored = {
        wanted: constant(graph, f"{name}_{wanted}", np.array(values, dtype=np.int64))
        for wanted, values in (("first", [0]), ("ones", [1] * (rank - 1)))
    }
    made = {w: unused_name(graph, f"{name}_{w}") for w in ("dims", "count", "shape", "each")}
    nodes = [
        make_node("Shape", [graph.input[0].name], [made["dims"]]),
        make_node("Gather", [made["dims"], stored["first"]], [made["count"]]),
        make_node("Concat", [made["count"], stored["ones"]], [made["shape"]], axis=0),
        make_node("Expand", [name, made["shape"]], [made["each"]]),
    ]
    place = next(at for at, node in enumerate(graph.node) if node is before)
    for node in reversed(nodes):
        graph.node.insert(place, node)
    return made["each"]
