"""Geometry: matrices per sample, their product, and where every pixel comes from.

Coordinates are in pixels with the origin in the centre of the image, x to the right and y down: the
pixel in column j lies at x = j - (W-1)/2.  A flip is then a sign, a rotation needs no centre.
Matrices are inverse: they lead from a place in the output to the place in the input.  `(N,2,3)` are
affine; `(N,3,3)` are homographies, whose last row divides.
"""

from __future__ import annotations

import torch
from torch import Tensor

from augcompress.augmentations.draws import Draws
from augcompress.augmentations.pixel_draws import pixel_uniform

Filling = tuple[float, ...] | str | None
"""What lies outside the image: one value per channel, "nearest" (the edge goes on), "reflect"
(mirrored, the edge pixel not repeated), "noise", or None where nothing outside is ever asked for
(else as "nearest")."""

Outside = Filling | Tensor
"""A filling that can be read: its noise is drawn, `(N,C,H,W)`, and each pixel of the output that
sees the outside finds its own there."""

_FAR = 1e6  # pixels; no place seen through a homography is further away
_HORIZON = 1e-6  # a homography's divisor comes no nearer to 0


def size_of(images: Tensor) -> tuple[int, int]:
    """Height and width in pixels."""
    return images.shape[-2], images.shape[-1]


def held_by_bytes(filling: Filling) -> bool:
    """Can uint8 images hold it exactly?"""
    if filling is None or isinstance(filling, str):
        return filling != "noise"
    values = torch.tensor(filling)
    return bool(((values * 255).round() / 255 == values).all())


def colour_like(images: Tensor, colour: tuple[float, ...]) -> Tensor:
    """A colour in [0,1] as a pixel `(C,1,1)` of the images, which may be uint8."""
    of_bytes = images.dtype == torch.uint8
    values = [round(255 * value) if of_bytes else value for value in colour]
    return images.new_tensor(values).view(-1, 1, 1)


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
