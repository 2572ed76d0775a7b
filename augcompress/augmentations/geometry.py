"""Affine geometry: matrices per sample, their product, and one resampling.

Coordinates are in pixels with the origin in the centre of the image, x to the right and y down: the
pixel in column j lies at x = j - (W-1)/2.  A flip is then a sign, a rotation needs no centre.
Matrices `(N,2,3)` are inverse: they lead from a place in the output to the place in the input.
"""

from __future__ import annotations

import torch
from torch import Tensor

Filling = tuple[float, ...] | str | None
"""What lies outside the image: one value per channel, "nearest" (the edge goes on), "reflect"
(mirrored, the edge pixel not repeated), or None where nothing outside is ever asked for."""


def identity_matrices(count: int, device: torch.device) -> Tensor:
    """`(N,2,3)` matrices that move nothing."""
    return torch.eye(2, 3, device=device).expand(count, 2, 3)


def compose(earlier: Tensor, later: Tensor) -> Tensor:
    """The `(N,2,3)` matrices of doing `earlier`, then `later`.

    Written out instead of `@`: on a GPU that may round to TF32, and whole pixels must stay whole.
    """
    product = (earlier[:, :, :2, None] * later[:, None]).sum(2)  # (N, 2, 3)
    shift = torch.nn.functional.pad(earlier[:, :, 2:], (2, 0))
    return product + shift


def source_coordinates(
    matrices: Tensor, size: tuple[int, int], *, whole: bool
) -> tuple[Tensor, Tensor]:
    """Column and row in the input that every output pixel is taken from, to broadcast: `(N,H,W)`
    both, or, where `whole` says that the axes are not mixed, `(N,1,W)` and `(N,H,1)`."""
    height, width = size
    x = torch.arange(width, device=matrices.device) - (width - 1) / 2
    y = torch.arange(height, device=matrices.device)[:, None] - (height - 1) / 2
    a, b, c, d, e, f = matrices.flatten(1)[..., None, None].unbind(1)  # each (N, 1, 1)
    column, row = a * x + (c + (width - 1) / 2), e * y + (f + (height - 1) / 2)
    return (column, row) if whole else (column + b * y, row + d * x)


def bring_inside(position: Tensor, length: int, filling: Filling) -> Tensor:
    """Whole coordinates moved into 0..length-1, mirrored for "reflect", else to the nearest."""
    if filling != "reflect":
        return position.clamp(0, length - 1)
    period = max(2 * (length - 1), 1)
    position = position.abs() % period
    return torch.minimum(position, period - position).clamp_max_(length - 1)


def readable(images: Tensor, filling: Filling) -> Tensor:
    """`(N,C,H*W)` pixels; a constant filling is one more pixel at the end."""
    pixels = images.flatten(2)
    if filling is None or isinstance(filling, str):
        return pixels
    colour = images.new_tensor(filling).view(1, -1, 1).expand(len(images), images.shape[1], 1)
    return torch.cat((pixels, colour), dim=2)


def places_of(column: Tensor, row: Tensor, size: tuple[int, int], filling: Filling) -> Tensor:
    """Where in `readable` the whole coordinates are found: int32 `(N,H,W)`."""
    column_in = bring_inside(column, size[1], filling)
    row_in = bring_inside(row, size[0], filling)
    places = row_in * size[1] + column_in
    if filling is None or isinstance(filling, str):
        return places
    return places.masked_fill_((column_in != column) | (row_in != row), size[0] * size[1])


def take(pixels: Tensor, places: Tensor) -> Tensor:
    """`(N,C,H,W)` pixels of `readable` at `places` `(N,H,W)`: copies, no arithmetic."""
    index = places.long().flatten(1)[:, None].expand(-1, pixels.shape[1], -1)
    return pixels.gather(2, index).view(*pixels.shape[:2], *places.shape[1:])


def copied(images: Tensor, column: Tensor, row: Tensor, filling: Filling) -> Tensor:
    """`(N,C,H,W)` at whole coordinates, given as floats that broadcast to `(N,H,W)`."""
    size = (images.shape[-2], images.shape[-1])
    places = places_of(column.round().int(), row.round().int(), size, filling)
    return take(readable(images, filling), places)


def bilinear(images: Tensor, column: Tensor, row: Tensor, filling: Filling) -> Tensor:
    """`(N,C,H,W)` at fractional coordinates `(N,H,W)`; at whole ones the pixels themselves."""
    pixels, size = readable(images, filling), (images.shape[-2], images.shape[-1])
    left, top = column.floor(), row.floor()
    across = (column - left)[:, None].to(images.dtype)
    down = (row - top)[:, None].to(images.dtype)
    left, top = left.int(), top.int()
    corners = [
        take(pixels, places_of(left + right, top + below, size, filling))
        for below in (0, 1)
        for right in (0, 1)
    ]
    upper, lower = corners[0].lerp_(corners[1], across), corners[2].lerp_(corners[3], across)
    return upper.lerp_(lower, down).clamp_(0, 1)


def resample(images: Tensor, matrices: Tensor, filling: Filling, *, whole: bool) -> Tensor:
    """`(N,C,H,W)` moved by `(N,2,3)`: pixel copies where all matrices are `whole` (flips, whole
    shifts), else bilinear without a low-pass filter (as torchvision's `affine`)."""
    size = (images.shape[-2], images.shape[-1])
    column, row = source_coordinates(matrices, size, whole=whole)
    return (copied if whole else bilinear)(images, column, row, filling)
