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


def source_coordinates(matrices: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Column and row in the input, each `(N,H,W)`, that every output pixel is taken from."""
    height, width = size
    x = torch.arange(width, device=matrices.device) - (width - 1) / 2
    y = torch.arange(height, device=matrices.device)[:, None] - (height - 1) / 2
    a, b, c, d, e, f = matrices.flatten(1)[..., None, None].unbind(1)  # each (N, 1, 1)
    return a * x + (b * y + (c + (width - 1) / 2)), d * x + (e * y + (f + (height - 1) / 2))


def bring_inside(position: Tensor, length: int, filling: Filling) -> Tensor:
    """Whole coordinates moved into 0..length-1, mirrored for "reflect", else to the nearest."""
    if filling != "reflect":
        return position.clamp(0, length - 1)
    period = max(2 * (length - 1), 1)
    position = position.abs() % period
    return torch.minimum(position, period - position).clamp_max(length - 1)


def take(images: Tensor, column: Tensor, row: Tensor, filling: Filling) -> Tensor:
    """The pixels of `(N,C,H,W)` at whole coordinates `(N,H,W)`: copies, no arithmetic."""
    height, width = images.shape[-2:]
    column_in, row_in = bring_inside(column, width, filling), bring_inside(row, height, filling)
    places = (row_in * width + column_in).flatten(1)[:, None]  # (N, 1, H*W)
    pixels = images.flatten(2).gather(2, places.expand(-1, images.shape[1], -1))
    pixels = pixels.view(*images.shape[:2], *column.shape[1:])
    if filling is None or isinstance(filling, str):
        return pixels
    outside = ((column_in != column) | (row_in != row))[:, None]
    return torch.where(outside, images.new_tensor(filling).view(-1, 1, 1), pixels)


def bilinear(images: Tensor, column: Tensor, row: Tensor, filling: Filling) -> Tensor:
    """`(N,C,H,W)` at fractional coordinates `(N,H,W)`; at whole ones the pixels themselves."""
    left, top = column.floor(), row.floor()
    across = (column - left)[:, None].to(images.dtype)
    down = (row - top)[:, None].to(images.dtype)
    left, top = left.long(), top.long()
    upper = take(images, left, top, filling).lerp(take(images, left + 1, top, filling), across)
    top = top + 1
    lower = take(images, left, top, filling).lerp(take(images, left + 1, top, filling), across)
    return upper.lerp(lower, down).clamp_(0, 1)


def resample(images: Tensor, matrices: Tensor, filling: Filling, *, whole: bool) -> Tensor:
    """`(N,C,H,W)` moved by `(N,2,3)`: pixel copies where all matrices are `whole` (flips, whole
    shifts), else bilinear without a low-pass filter (as torchvision's `affine`)."""
    column, row = source_coordinates(matrices, (images.shape[-2], images.shape[-1]))
    if whole:
        return take(images, column.round().long(), row.round().long(), filling)
    return bilinear(images, column, row, filling)
