"""Geometry: matrices per sample, their product, and one resampling.

Coordinates are in pixels with the origin in the centre of the image, x to the right and y down: the
pixel in column j lies at x = j - (W-1)/2.  A flip is then a sign, a rotation needs no centre.
Matrices are inverse: they lead from a place in the output to the place in the input.  `(N,2,3)` are
affine; `(N,3,3)` are homographies, whose last row divides.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from augcompress.augmentations.draws import Draws
from augcompress.augmentations.pixel_draws import blockwise, pixel_uniform

Filling = tuple[float, ...] | str | None
"""What lies outside the image: one value per channel, "nearest" (the edge goes on), "reflect"
(mirrored, the edge pixel not repeated), "noise", or None where nothing outside is ever asked for
(else as "nearest")."""

Outside = Filling | Tensor
"""A filling that can be read: its noise is drawn, `(N,C,H,W)`, and each pixel of the output that
sees the outside finds its own there."""

_FAR = 1e6  # pixels; no place seen through a homography is further away
_HORIZON = 1e-6  # a homography's divisor comes no nearer to 0


def outside_of(filling: Filling, images: Tensor, draws: Draws) -> Outside:
    """The filling with its noise drawn, even in [0,1] for every pixel and channel."""
    if filling != "noise":
        return filling
    return pixel_uniform(draws.words(2), images[0].numel()).view(images.shape).to(images.dtype)


def identity_matrices(count: int, device: torch.device, rows: int = 2) -> Tensor:
    """`(N,rows,3)` matrices that move nothing."""
    return torch.eye(rows, 3, device=device).expand(count, rows, 3)


def compose(earlier: Tensor, later: Tensor) -> Tensor:
    """The matrices of doing `earlier`, then `later`: `(N,2,3)` if both are affine, else `(N,3,3)`.

    Written out instead of `@`: on a GPU that may round to TF32, and whole pixels must stay whole.
    """
    if earlier.shape[1] != later.shape[1]:
        earlier, later = with_last_row(earlier), with_last_row(later)
    rows = later.shape[1]
    product = (earlier[:, :, :rows, None] * later[:, None]).sum(2)  # (N, rows, 3)
    return product if rows == 3 else product + torch.nn.functional.pad(earlier[:, :, 2:], (2, 0))


def with_last_row(matrices: Tensor) -> Tensor:
    """`(N,3,3)`: affine matrices with the row (0, 0, 1), homographies as they are."""
    last = matrices.new_tensor([0.0, 0.0, 1.0]).expand(len(matrices), 3 - matrices.shape[1], 3)
    return torch.cat((matrices, last), dim=1)


def pixel_places(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    """The x `(W,)` and the y `(H,1)` of every pixel."""
    height, width = size
    x = torch.arange(width, device=device) - (width - 1) / 2
    return x, torch.arange(height, device=device)[:, None] - (height - 1) / 2


def source_coordinates(
    matrices: Tensor, size: tuple[int, int], *, whole: bool
) -> tuple[Tensor, Tensor]:
    """Column and row in the input that every output pixel is taken from, to broadcast: `(N,H,W)`
    both, or, where `whole` says that the axes are not mixed, `(N,1,W)` and `(N,H,1)`."""
    height, width = size
    x, y = pixel_places(size, matrices.device)
    a, b, c, d, e, f, *last = matrices.flatten(1)[..., None, None].unbind(1)  # each (N, 1, 1)
    if last:
        divisor = away_from_zero(last[0] * x + last[1] * y + last[2])
        column, row = (a * x + b * y + c) / divisor, (d * x + e * y + f) / divisor
        column, row = column.clamp_(-_FAR, _FAR), row.clamp_(-_FAR, _FAR)
        return column + (width - 1) / 2, row + (height - 1) / 2
    column, row = a * x + (c + (width - 1) / 2), e * y + (f + (height - 1) / 2)
    return (column, row) if whole else (column + b * y, row + d * x)


def away_from_zero(divisor: Tensor) -> Tensor:
    """The same, but never so near to 0 that dividing overflows."""
    return torch.where(divisor.abs() < _HORIZON, _HORIZON, divisor)


def bring_inside(position: Tensor, length: int, *, mirrored: bool) -> Tensor:
    """Whole coordinates moved into 0..length-1, mirrored or else to the nearest."""
    if not mirrored:
        return position.clamp(0, length - 1)
    period = max(2 * (length - 1), 1)
    position = position.abs() % period
    return torch.minimum(position, period - position).clamp_max_(length - 1)


def readable(images: Tensor, outside: Outside) -> Tensor:
    """`(N,C,pixels)`: those of the images, then the colour of the outside, one pixel, or its noise,
    as many pixels as an image has."""
    pixels = images.flatten(2)
    if outside is None or isinstance(outside, str):
        return pixels
    if isinstance(outside, Tensor):
        return torch.cat((pixels, outside.flatten(2)), dim=2)
    colour = images.new_tensor(outside).view(1, -1, 1).expand(len(images), images.shape[1], 1)
    return torch.cat((pixels, colour), dim=2)


def places_of(column: Tensor, row: Tensor, size: tuple[int, int], outside: Outside) -> Tensor:
    """Where in `readable` the whole coordinates are found: int32 `(N,H,W)`."""
    mirrored = isinstance(outside, str) and outside == "reflect"
    column_in = bring_inside(column, size[1], mirrored=mirrored)
    row_in = bring_inside(row, size[0], mirrored=mirrored)
    places, end = row_in * size[1] + column_in, size[0] * size[1]
    if outside is None or isinstance(outside, str):
        return places
    missed = (column_in != column) | (row_in != row)
    if isinstance(outside, Tensor):
        own = torch.arange(end, 2 * end, dtype=places.dtype, device=places.device).view(size)
        return torch.where(missed, own, places)
    return places.masked_fill_(missed, end)


def take(pixels: Tensor, places: Tensor) -> Tensor:
    """`(N,C,H,W)` pixels of `readable` at `places` `(N,H,W)`: copies, no arithmetic."""
    index = places.long().flatten(1)[:, None].expand(-1, pixels.shape[1], -1)
    return pixels.gather(2, index).view(*pixels.shape[:2], *places.shape[1:])


def nearest_pixels(images: Tensor, column: Tensor, row: Tensor, outside: Outside) -> Tensor:
    """`(N,C,H,W)` at whole coordinates, given as floats that broadcast to `(N,H,W)`."""
    return _by_blocks(_copy, images, column, row, outside)


def bilinear(images: Tensor, column: Tensor, row: Tensor, outside: Outside) -> Tensor:
    """`(N,C,H,W)` at fractional coordinates `(N,H,W)`; at whole ones the pixels themselves."""
    return _by_blocks(_interpolate, images, column, row, outside)


def _by_blocks(
    read: Callable[..., Tensor], images: Tensor, column: Tensor, row: Tensor, outside: Outside
) -> Tensor:
    if isinstance(outside, Tensor):
        return blockwise(read, images, column, row, outside)
    return blockwise(partial(read, outside=outside), images, column, row)


def _copy(images: Tensor, column: Tensor, row: Tensor, outside: Outside) -> Tensor:
    size = (images.shape[-2], images.shape[-1])
    places = places_of(column.round().int(), row.round().int(), size, outside)
    return take(readable(images, outside), places)


def _interpolate(images: Tensor, column: Tensor, row: Tensor, outside: Outside) -> Tensor:
    pixels, size = readable(images, outside), (images.shape[-2], images.shape[-1])
    left, top = column.floor(), row.floor()
    across = (column - left)[:, None].to(images.dtype)
    down = (row - top)[:, None].to(images.dtype)
    left, top = left.int(), top.int()
    corners = [
        take(pixels, places_of(left + right, top + below, size, outside))
        for below in (0, 1)
        for right in (0, 1)
    ]
    upper, lower = corners[0].lerp_(corners[1], across), corners[2].lerp_(corners[3], across)
    return upper.lerp_(lower, down).clamp_(0, 1)


def resample(images: Tensor, matrices: Tensor, outside: Outside, *, whole: bool) -> Tensor:
    """`(N,C,H,W)` moved by `(N,2,3)` or `(N,3,3)`: pixel copies where all matrices are `whole`
    (flips, whole shifts), else bilinear without a low-pass filter (as torchvision's `affine`)."""
    size = (images.shape[-2], images.shape[-1])
    column, row = source_coordinates(matrices, size, whole=whole)
    return (nearest_pixels if whole else bilinear)(images, column, row, outside)
