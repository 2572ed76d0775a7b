"""Resampling: every pixel of the result copied, or blended from four, by the cheapest way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from augcompress.augmentations.geometry import Outside, size_of, source_coordinates
from augcompress.augmentations.pixel_draws import blockwise
from augcompress.augmentations.slices import SLICED, bordered, bring_inside, copy_slices, put_rows
from augcompress.augmentations.stretching import stretch, stretched, upright

_NUDGE = 1e-4  # pixels: places halfway between two go one way, on every device
Corner = Callable[[int, int], Tensor]
"""Reads the pixels `(N,C,H,W)` so many columns right and rows below of known places."""


def resample(
    images: Tensor, matrices: Tensor, outside: Outside, *, whole: bool, nearest: bool = False
) -> Tensor:
    """`(N,C,H,W)` moved by `(N,2,3)` or `(N,3,3)`: pixel copies where all matrices are `whole`
    (flips, whole shifts) or the `nearest` pixel is asked for, else bilinear without a low-pass
    filter (as torchvision's `affine`)."""
    read = partial(_read, whole=whole, nearest=nearest)
    if not images.is_cpu or images[0].numel() < SLICED:
        return _by_blocks(read, images, outside, matrices)
    result = torch.empty_like(images)
    others = copy_slices(images, matrices, outside, result)
    if not (whole or nearest or isinstance(outside, Tensor)):
        others = stretch(images, matrices, outside, result, others)
    if len(others) == len(images):
        return _by_blocks(read, images, outside, matrices)
    if others:
        rows = torch.tensor(others)
        own = outside.index_select(0, rows) if isinstance(outside, Tensor) else outside
        some = images.index_select(0, rows)
        put_rows(result, rows, _by_blocks(read, some, own, matrices[rows]))
    return result


def bilinear(images: Tensor, column: Tensor, row: Tensor, outside: Outside) -> Tensor:
    """`(N,C,H,W)` at fractional coordinates `(N,H,W)`; at whole ones the pixels themselves."""
    return _by_blocks(_interpolate, images, outside, column, row)


def _by_blocks(
    read: Callable[..., Tensor], images: Tensor, outside: Outside, *others: Tensor
) -> Tensor:
    if isinstance(outside, Tensor):
        return blockwise(read, images, outside, *others)
    return blockwise(lambda some, *more: read(some, outside, *more), images, *others)


def _read(
    images: Tensor, outside: Outside, matrices: Tensor, *, whole: bool, nearest: bool
) -> Tensor:
    size = size_of(images)
    if whole or nearest:
        column, row = source_coordinates(matrices, size, whole=whole)
        if nearest:
            column, row = column.add_(_NUDGE), row.add_(_NUDGE)
        return corners(images, outside, column.round_(), row.round_(), reach=0)(0, 0)
    if images.is_cpu and not isinstance(outside, Tensor) and bool(upright(matrices).all()):
        return stretched(images, matrices, outside)
    return _interpolate(images, outside, *source_coordinates(matrices, size, whole=False))


def _interpolate(images: Tensor, outside: Outside, column: Tensor, row: Tensor) -> Tensor:
    left, top = column.floor(), row.floor()
    across = (column - left)[:, None].to(images.dtype)
    down = (row - top)[:, None].to(images.dtype)
    corner = corners(images, outside, left, top, reach=1)
    upper = corner(0, 0)
    sideways = not images.is_cpu or bool(across.any())
    if sideways:
        upper.lerp_(corner(1, 0), across)
    if images.is_cpu and not down.any():
        return upper
    lower = corner(0, 1)
    if sideways:
        lower.lerp_(corner(1, 1), across)
    return upper.lerp_(lower, down)


def corners(images: Tensor, outside: Outside, column: Tensor, row: Tensor, *, reach: int) -> Corner:
    """Reads at whole coordinates, floats that broadcast to `(N,H,W)`, and up to `reach` further."""
    size = size_of(images)
    if isinstance(outside, Tensor) or outside == "reflect":
        pixels, column, row = readable(images, outside), column.int(), row.int()
        return lambda right, below: take(
            pixels, places_of(column + right, row + below, size, outside).long()
        )
    border = reach + 1 if isinstance(outside, tuple) else reach
    if border:
        images = bordered(images, border, outside)
    width = images.shape[3]
    column = column.clamp_(-border, size[1] - 1 + border - reach).int()
    row = row.clamp_(-border, size[0] - 1 + border - reach).int()
    places = ((row + border).mul_(width) + column.add_(border)).long()
    pixels = images.flatten(2)
    return lambda right, below: take(pixels[..., below * width + right :], places)


def take(pixels: Tensor, places: Tensor) -> Tensor:
    """`(N,C,H,W)` of `pixels` `(N,C,P)` at `places` `(N,H,W)`, int64: copies, no arithmetic."""
    index = places.flatten(1)[:, None].expand(-1, pixels.shape[1], -1)
    return pixels.gather(2, index).view(*pixels.shape[:2], *places.shape[1:])


def readable(images: Tensor, outside: Outside) -> Tensor:
    """`(N,C,pixels)`: those of the images, then the noise of the outside, as many pixels as an
    image has."""
    pixels = images.flatten(2)
    return torch.cat((pixels, outside.flatten(2)), dim=2) if isinstance(outside, Tensor) else pixels


def places_of(column: Tensor, row: Tensor, size: tuple[int, int], outside: Outside) -> Tensor:
    """Where in `readable` the whole coordinates are found: int32 `(N,H,W)`."""
    mirrored = isinstance(outside, str) and outside == "reflect"
    column_in = bring_inside(column, size[1], mirrored=mirrored)
    row_in = bring_inside(row, size[0], mirrored=mirrored)
    places, end = row_in * size[1] + column_in, size[0] * size[1]
    if not isinstance(outside, Tensor):
        return places
    missed = (column_in != column) | (row_in != row)
    own = torch.arange(end, 2 * end, dtype=places.dtype, device=places.device).view(size)
    return torch.where(missed, own, places)
