"""The operations that policies choose from, each sample its own; values are torchvision's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from augcompress.augmentations.color_jitter import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
)
from augcompress.augmentations.geometry import Outside, size_of
from augcompress.augmentations.resampling import resample
from augcompress.augmentations.slices import put_rows
from augcompress.augmentations.tone import (
    adjust_sharpness,
    autocontrast,
    equalize,
    invert,
    posterize,
    solarize,
)

Interpolation = Literal["nearest", "bilinear"]
_LARGE = 1 << 16  # values of an image
_MOVES = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")


def _color(images: Tensor, magnitude: Tensor) -> Tensor:
    return adjust_saturation(images, 1 + magnitude) if images.shape[1] == 3 else images


_CHANGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Brightness": lambda images, magnitude: adjust_brightness(images, 1 + magnitude),
    "Color": _color,
    "Contrast": lambda images, magnitude: adjust_contrast(images, 1 + magnitude),
    "Sharpness": lambda images, magnitude: adjust_sharpness(images, 1 + magnitude),
    "Posterize": posterize,
    "Solarize": solarize,
    "AutoContrast": lambda images, magnitude: autocontrast(images),
    "Equalize": lambda images, magnitude: equalize(images),
    "Invert": lambda images, magnitude: invert(images),
}

OPERATIONS = ("Identity", *_MOVES, *_CHANGES)
"""Every operation; a plan names one by its place here.  Identity, at 0, does nothing."""

_FAMILIES = ("Identity", "moves", *_CHANGES)


@dataclass(frozen=True)
class Plan:
    """What is done to each sample, one column after the other."""

    operation: Tensor
    """`(N, columns)` int64: places in `OPERATIONS`."""
    magnitude: Tensor
    """`(N, columns)` float32, with its sign: slope, pixels, degrees clockwise below 0, change of a
    factor from 1, bits or threshold."""

    def where(self, happens: Tensor) -> Plan:
        """Only what `happens`, bool `(N, columns)` or `(N, 1)`; Identity elsewhere."""
        return Plan(self.operation * happens, self.magnitude)

    def of(self, rows: Tensor) -> Plan:
        """Some rows of it."""
        return Plan(self.operation.index_select(0, rows), self.magnitude.index_select(0, rows))


@dataclass(frozen=True)
class Moving:
    """How pixels are read where an operation moves them."""

    interpolation: Interpolation
    outside: Outside

    def of(self, rows: Tensor | slice) -> Moving:
        """For some of the samples: drawn noise is each sample's own."""
        if not isinstance(self.outside, Tensor):
            return self
        if isinstance(rows, slice):
            return Moving(self.interpolation, self.outside[rows])
        return Moving(self.interpolation, self.outside.index_select(0, rows))

    def __call__(self, images: Tensor, matrices: Tensor) -> Tensor:
        """`(N,C,H,W)` sheared, shifted or rotated, in one resampling."""
        nearest = self.interpolation == "nearest"
        return resample(images, matrices, self.outside, whole=False, nearest=nearest)


def move_matrices(operation: Tensor, magnitude: Tensor, size: tuple[int, int]) -> Tensor:
    """`(N,2,3)` matrices as in `geometry`; the identity where `operation` `(N,)` moves nothing.

    Shears keep the image's left upper corner, rotations (counter-clockwise) its centre; shifts
    drop what they have beyond whole pixels.
    """
    places = torch.arange(1, 1 + len(_MOVES), device=operation.device)
    moves = torch.where(operation[:, None] == places, magnitude[:, None], 0.0)
    slope_x, slope_y, right, down, angle = moves.unbind(1)
    sin, cos, height, width = angle.deg2rad().sin(), angle.deg2rad().cos(), *size
    first = (cos, slope_x - sin, slope_x * (height / 2) - right.trunc())
    second = (slope_y + sin, cos, slope_y * (width / 2) - down.trunc())
    return torch.stack((*first, *second), dim=1).view(-1, 2, 3)


def family_of(operation: Tensor) -> Tensor:
    """Operations with the same number are applied at once: 0 is Identity, 1 are all moves."""
    return (operation - len(_MOVES) + 1).clamp_min(1) * (operation > 0)


def by_family(plan: Plan) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    """Column by column the families present, each with its rows and their operations and
    magnitudes, all `(rows,)`."""
    count, columns = plan.operation.shape
    operation, magnitude = plan.operation.T.flatten(), plan.magnitude.T.flatten()
    start = torch.arange(columns, device=operation.device) * len(_FAMILIES)
    key = family_of(operation) + start.repeat_interleave(count)
    sizes = key.bincount(minlength=columns * len(_FAMILIES)).tolist()
    order = key.argsort(stable=True)
    parts = (order % count, operation[order], magnitude[order])
    for place, part in enumerate(zip(*(part.split(sizes) for part in parts), strict=True)):
        if sizes[place] and place % len(_FAMILIES):
            yield _FAMILIES[place % len(_FAMILIES)], *part


def apply_plan(images: Tensor, plan: Plan, moving: Moving) -> Tensor:
    """`(N,C,H,W)` images in [0,1] with the plan carried out; each family present costs one pass
    over the samples that chose it, or, on a CPU, each large image one after the other."""
    if images.is_cpu and images[0].numel() >= _LARGE:
        return _one_by_one(images, plan, moving)
    result = images.clone()
    for family, rows, operation, magnitude in by_family(plan):
        chosen = result.index_select(0, rows)
        if family == "moves":
            matrices = move_matrices(operation, magnitude, size_of(images))
            chosen = moving.of(rows)(chosen, matrices)
        else:
            chosen = _CHANGES[family](chosen, magnitude)
        put_rows(result, rows, chosen)
    return result


def _one_by_one(images: Tensor, plan: Plan, moving: Moving) -> Tensor:
    """The same without gathering the samples of a family: copying large images costs more."""
    result, families = torch.empty_like(images), family_of(plan.operation).tolist()
    flat = plan.operation.flatten(), plan.magnitude.flatten()
    matrices = move_matrices(*flat, size_of(images)).unflatten(0, plan.operation.shape)
    for row, (image, own) in enumerate(zip(images.split(1), families, strict=True)):
        here = slice(row, row + 1)
        for column, family in enumerate(own):
            if _FAMILIES[family] == "moves":
                image = moving.of(here)(image, matrices[here, column])
            elif family:
                image = _CHANGES[_FAMILIES[family]](image, plan.magnitude[here, column])
        result[row] = image[0]
    return result
