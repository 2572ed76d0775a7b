"""Images prepared by the graph itself: resized as Pillow does, cropped, and scaled to [0,1]."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto

from augcompress.errors import AugcompressError, first_line
from augcompress.graphs.edits import (
    BATCH_NAME,
    INPUT,
    constant,
    drop_unused,
    graph_copy,
    opset_of,
    rename_tensor,
    shape_of,
    unused_name,
)
from augcompress.graphs.foreign import is_foreign
from augcompress.graphs.writing import metadata_of

PREPARED = "prepared_images"
"""The tensor between the preparation and the network: `(1,C,H,W)`."""
RESIZE_OPSET = 18
"""First version of `Resize` with a low-pass filter."""
_NOT_CONVERTED = (
    RuntimeError,
    ValueError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
)
# As Pillow resizes: the filter is as wide as the scale, and nothing is taken from outside.
_LOW_PASS = {"antialias": 1, "exclude_outside": 1, "coordinate_transformation_mode": "half_pixel"}
_METHODS: dict[str, dict[str, Any]] = {
    "bilinear": {"mode": "linear", **_LOW_PASS},
    "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.5, **_LOW_PASS},
}


class _Front:
    """Nodes that stand before a graph's own, added one by one."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph, self.count = graph, 0

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node; returns the name of its output."""
        name = unused_name(self.graph, f"prepare_{self.count}")
        node = onnx.helper.make_node(operator, inputs, [name], name, **attributes)
        self.graph.node.insert(self.count, node)
        self.count += 1
        return name

    def cast(self, source: str, kind: int) -> str:
        """The same numbers of another type."""
        return self.add("Cast", source, to=kind)

    def stored(self, values: Any, kind: Any = np.int64) -> str:
        """The name of a stored array."""
        return constant(self.graph, "prepare_constant", np.asarray(values, kind))

    def done(self) -> None:
        """What the last node gives is what the graph's own take."""
        self.graph.node[self.count - 1].output[:] = [PREPARED]


def with_preparation(
    graph: ModelProto, resizing: Mapping[str, Any], size: Sequence[int]
) -> ModelProto:
    """A copy of a graph in our convention that takes one image of any size instead, uint8
    `(H,W,C)`, and prepares it as `inference.load_image` does by `resizing`, to the `size` (height,
    width) that the graph takes.

    Raises AugcompressError where the graph's operators are too old and cannot be converted.
    """
    made = _recent(graph)
    inner = made.graph
    (old,) = inner.input
    kind, channels = old.type.tensor_type.elem_type, shape_of(old)[1]
    rename_tensor(inner, old.name, PREPARED)
    front = _Front(inner)
    upright = front.add("Transpose", INPUT, perm=[2, 0, 1])
    image = front.add("Unsqueeze", upright, front.stored([0]))
    image = _fitted(front, image, int(channels), resizing, size)
    if kind == TensorProto.FLOAT:
        levels = front.cast(image, TensorProto.FLOAT)
        front.add("Div", levels, front.stored(255, np.float32))
    front.done()
    _set_ends(inner, INPUT, TensorProto.UINT8, ["height", "width", channels], 1)
    told = {"resizing": dict(resizing), "input_size": [channels, *size]}
    kept = {name: text for name, text in metadata_of(made).items() if name not in told}
    told_texts = {name: json.dumps(value) for name, value in told.items()}
    onnx.helper.set_model_props(made, {**kept, **told_texts})
    return made


def takes_whole_images(graph: ModelProto) -> bool:
    """Does it prepare images itself?"""
    takes = graph.graph.input
    return len(takes) == 1 and len(shape_of(takes[0])) == 3 and not is_foreign(graph)


def without_preparation(graph: ModelProto) -> ModelProto:
    """A copy that takes prepared images `(N,C,H,W)`, as before `with_preparation`; one that takes
    such anyway is as it was."""
    made = graph_copy(graph)
    if not takes_whole_images(graph):
        return made
    inner = made.graph
    (last,) = (node for node in inner.node if PREPARED in node.output)
    kind = TensorProto.FLOAT if last.op_type == "Div" else TensorProto.UINT8
    inner.node.remove(last)
    drop_unused(inner)
    size = json.loads(metadata_of(graph)["input_size"])
    _set_ends(inner, PREPARED, kind, [BATCH_NAME, *size], BATCH_NAME)
    rename_tensor(inner, PREPARED, INPUT)
    return made


def _recent(graph: ModelProto) -> ModelProto:
    """A copy of the graph with operators that know the low-pass filter."""
    if opset_of(graph) >= RESIZE_OPSET:
        return graph_copy(graph)
    try:
        return onnx.version_converter.convert_version(graph, RESIZE_OPSET)
    except _NOT_CONVERTED as error:
        raise AugcompressError(
            f"export.targets.0.input: image needs opset {RESIZE_OPSET}, and this graph of opset"
            f" {opset_of(graph)} cannot be converted ({first_line(error)}); take uint8"
        ) from error


def _set_ends(
    graph: GraphProto, name: str, kind: int, shape: Sequence[Any], batch: int | str
) -> None:
    """Input and first dimension of the output, in place."""
    del graph.input[:]
    graph.input.append(onnx.helper.make_tensor_value_info(name, kind, shape))
    (gives,) = graph.output
    shape = [batch, *shape_of(gives)[1:]]
    gives.CopyFrom(onnx.helper.make_tensor_value_info(gives.name, TensorProto.FLOAT, shape))


def _fitted(
    front: _Front, image: str, channels: int, resizing: Mapping[str, Any], size: Sequence[int]
) -> str:
    """An image `(1,C,H,W)` of the size: as it is where it has that already."""
    resize, final = resizing["resize"], front.stored(size)
    if resize is None and resizing["crop"] is None:
        return image
    target = final
    if resize is not None and (resizing["crop"] is not None or isinstance(resize, int)):
        sides = _sides(front, image)
        wanted = _shorter_side(front, sides, resize) if isinstance(resize, int) else None
        wanted = wanted or front.stored(resize)
        target = front.add("Where", _equal(front, sides, final), final, wanted)
    method = _METHODS.get(resizing["interpolation"])
    if method is None:
        image = _nearest(front, image, target)
    else:
        sizes = front.add("Concat", front.stored([1, channels]), target, axis=0)
        image = front.add("Resize", image, "", "", sizes, **method)
    return image if resizing["crop"] is None else _middle(front, image, target, final)


def _nearest(front: _Front, image: str, target: str) -> str:
    """The pixel at the middle of each new one, with Pillow's own roundings: one scale added to the
    next, in float64.  `Resize` has float32, which is often the pixel beside."""
    scales = [front.cast(each, TensorProto.DOUBLE) for each in (_sides(front, image), target)]
    scale = front.add("Div", *scales)
    for axis in (0, 1):
        place = front.stored([axis])
        step = front.add("Gather", scale, place)
        more = front.add("Sub", front.add("Gather", target, place), front.stored([1]))
        half = front.add("Mul", step, front.stored([0.5], np.float64))
        steps = front.add("Concat", half, front.add("Expand", step, more), axis=0)
        middles = front.cast(front.add("CumSum", steps, front.stored(0)), TensorProto.INT64)
        image = front.add("Gather", image, middles, axis=axis + 2)
    return image


def _sides(front: _Front, image: str) -> str:
    """Height and width of an image `(1,C,H,W)`."""
    return front.add("Shape", image, start=2)


def _shorter_side(front: _Front, sides: str, shorter: int) -> str:
    """Height and width with the same proportions, rounded as `load_image` rounds them."""
    exact = front.cast(sides, TensorProto.DOUBLE)
    least = front.add("ReduceMin", exact)
    side = front.stored([shorter], np.float64)
    scaled = front.add("Mul", exact, front.add("Div", side, least))
    whole = front.add("Max", side, front.add("Round", scaled))
    return front.cast(whole, TensorProto.INT64)


def _equal(front: _Front, sides: str, final: str) -> str:
    """Are both the same?"""
    apart = front.add("ReduceMax", front.add("Abs", front.add("Sub", sides, final)))
    return front.add("Equal", apart, front.stored([0]))


def _middle(front: _Front, image: str, sides: str, final: str) -> str:
    """The centre crop."""
    spare = front.add("Sub", sides, final)
    start = front.add("Div", spare, front.stored([2, 2]))
    end = front.add("Add", start, final)
    return front.add("Slice", image, start, end, front.stored([2, 3]))
