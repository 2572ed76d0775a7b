"""What a foreign graph wants to see of an image, and the nodes that show it so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto
from onnx.helper import make_node, np_dtype_to_tensor_dtype, tensor_dtype_to_np_dtype

from augcompress.errors import AugcompressError
from augcompress.graphs.edits import BATCH_NAME, Step, constant, shape_of

FREE_SIDE = 224
"""Pixels on a side that are tried where the graph leaves them free and nobody says."""
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


@dataclass(frozen=True)
class Reading:
    """What the original sees of an image in [0,1] `(N,C,H,W)`."""

    mean: tuple[float, ...]
    """Per channel, or one for all; empty: not subtracted."""
    std: tuple[float, ...]
    scale: float
    layout: str
    dtype: np.dtype
    shape: tuple[int | str, ...]
    """As the original has it; numbers, or names where it is free."""
    size: tuple[int, int]
    """Height and width to try it with."""

    @property
    def channels(self) -> int | str:
        return self.shape[1] if self.layout == "NCHW" else self.shape[3]

    @property
    def batch(self) -> int | None:
        """The number of images that a call of the original must have."""
        return self.shape[0] if isinstance(self.shape[0], int) else None

    @property
    def kind(self) -> int:
        """Element type of the adopted input."""
        return TensorProto.UINT8 if self.dtype == np.uint8 else TensorProto.FLOAT

    def takes(self) -> list[int | str]:
        """Shape of the adopted input."""
        height, width = self.shape[2:] if self.layout == "NCHW" else self.shape[1:3]
        return [BATCH_NAME, self.channels, height, width]

    def trial(self, count: int) -> np.ndarray:
        """Images of noise to try both graphs with, `(count,C,H,W)` uint8."""
        channels = self.channels if isinstance(self.channels, int) else 3
        shape = (count, channels, *self.size)
        return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    def seen(self, images: np.ndarray) -> np.ndarray:
        """The original's input for uint8 images `(N,C,H,W)`."""
        found = images
        if self.dtype != np.uint8:
            found = images.astype(np.float32) / np.float32(255) * np.float32(self.scale)
            found = found - column(self.mean) if self.mean else found
            found = found / column(self.std) if self.std else found
        found = found.transpose(0, 2, 3, 1) if self.layout == "NHWC" else found
        return np.ascontiguousarray(found.astype(self.dtype))

    def steps(self, adopted: ModelProto) -> list[Step]:
        """The same as nodes."""
        graph, steps = adopted.graph, []

        def by(operator: str, name: str, values: np.ndarray | np.generic) -> Step:
            stored = constant(graph, name, values)
            return lambda a, b: make_node(operator, [a, stored], [b], name)

        if self.scale != 1:
            steps.append(by("Mul", "image_scale", np.float32(self.scale)))
        if self.mean:
            steps.append(by("Sub", "image_mean", column(self.mean)))
        if self.std:
            steps.append(by("Div", "image_std", column(self.std)))
        if self.layout == "NHWC":
            order = [0, 2, 3, 1]
            steps.append(lambda a, b: make_node("Transpose", [a], [b], "image_layout", perm=order))
        if self.dtype not in (np.float32, np.uint8):
            kind = np_dtype_to_tensor_dtype(self.dtype)
            steps.append(lambda a, b: make_node("Cast", [a], [b], "image_type", to=kind))
        return steps


def column(values: Sequence[float]) -> np.ndarray:
    return np.array(values, dtype=np.float32).reshape(1, -1, 1, 1)


def read_input(
    graph: ModelProto,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    scale: float,
    layout: str,
    size: tuple[int, int] | None,
    where: str,
) -> Reading:
    """How the graph reads images: its input, and what is said of it.

    Raises AugcompressError when it is no image input, or what is said does not fit it.
    """
    value = _only_input(graph, where)
    shape, kind = shape_of(value), value.type.tensor_type.elem_type
    _check_layout(shape, layout, where)
    if kind not in (*_FLOATS, TensorProto.UINT8):
        raise AugcompressError(
            f"{where}: its input {value.name} is {TensorProto.DataType.Name(kind)}; it must be"
            " float images, or uint8 images of 0 to 255"
        )
    if kind == TensorProto.UINT8 and (mean or std or scale != 1):
        raise AugcompressError(
            f"{where}: takes uint8 images of 0 to 255 as they are; leave mean, std and scale out"
        )
    free = size or (FREE_SIDE, FREE_SIDE)
    sides = zip(shape[2:] if layout == "NCHW" else shape[1:3], free, strict=True)
    height, width = (side if isinstance(side, int) else given for side, given in sides)
    dtype = np.dtype(tensor_dtype_to_np_dtype(kind))
    found = Reading(
        tuple(mean or ()), tuple(std or ()), scale, layout, dtype, tuple(shape), (height, width)
    )
    _check_statistics(found, where)
    return found


def _only_input(graph: ModelProto, where: str) -> ValueInfoProto:
    if len(graph.graph.input) != 1:
        raise AugcompressError(
            f"{where}: has {len(graph.graph.input)} inputs ({_described(graph.graph.input)}) and"
            " must have one, the images; export it with the others built in"
        )
    return graph.graph.input[0]


def _described(values: Sequence[ValueInfoProto]) -> str:
    return ", ".join(f"{v.name} {shape_of(v)}".replace("'", "") for v in values)


def _check_layout(shape: list[int | str], layout: str, where: str) -> None:
    shown = str(shape).replace("'", "")
    if len(shape) != 4:
        raise AugcompressError(
            f"{where}: its input is {shown} and must be images (N,C,H,W); export it so"
        )
    first, last = (shape[axis] in (1, 3) for axis in (1, 3))
    if first == last:
        return
    if last and layout == "NCHW":
        raise AugcompressError(
            f"{where}: its input is {shown}, channels last (N,H,W,C), and must be (N,C,H,W);"
            " set foreign.layout: NHWC, or put a Transpose before it"
        )
    if first and layout == "NHWC":
        raise AugcompressError(
            f"{where}: its input is {shown}, channels first (N,C,H,W); set foreign.layout: NCHW"
        )


def _check_statistics(reading: Reading, where: str) -> None:
    channels = reading.channels if isinstance(reading.channels, int) else None
    for name, values in (("mean", reading.mean), ("std", reading.std)):
        if channels and len(values) not in (0, 1, channels):
            raise AugcompressError(
                f"{where}: foreign.{name} has {len(values)} values and its input {channels}"
                " channels; give one value per channel"
            )
    if reading.scale <= 0 or any(value <= 0 for value in reading.std):
        raise AugcompressError(
            f"{where}: foreign.scale and foreign.std must be positive; give numbers above 0"
        )
