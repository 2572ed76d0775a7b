"""The matrices of single moves, as `geometry` reads them: inverse, pixels, origin in the centre."""

from __future__ import annotations

import torch
from torch import Tensor

from augcompress.augmentations.draws import Draws


def affine_matrices(angle: Tensor, shift: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """`(N,2,3)` inverse matrices of: shear along x, rotate, zoom, then shift.

    `angle` and `shear` `(N,)` in degrees (clockwise as one looks at it), `shift` `(N,2)` in pixels
    = (x, y), `scale` `(N,)`, above 1 enlarging: torchvision's `affine`.
    """
    angle, slope = angle.deg2rad(), shear.deg2rad().tan()
    cos, sin = angle.cos() / scale, angle.sin() / scale
    linear = torch.stack((cos - slope * sin, sin + slope * cos, -sin, cos), dim=1).view(-1, 2, 2)
    return torch.cat((linear, -(linear * shift[:, None]).sum(2, keepdim=True)), dim=2)


def linear_matrices(a: Tensor, b: Tensor, d: Tensor, e: Tensor) -> Tensor:
    """`(N,2,3)` matrices [[a, b, 0], [d, e, 0]] of entries `(N,)`: the centre stays."""
    zero = torch.zeros_like(a)
    return torch.stack((a, b, zero, d, e, zero), dim=1).view(-1, 2, 3)


def rotations(angle: Tensor) -> Tensor:
    """Turn about the centre by `angle` `(N,)` in degrees, clockwise as one looks at it."""
    cos, sin = angle.deg2rad().cos(), angle.deg2rad().sin()
    return linear_matrices(cos, sin, -sin, cos)


def quarter_turns(turns: Tensor) -> Tensor:
    """Turn by quarters, `turns` `(N,)` int64 in 0..3, clockwise; the entries are whole numbers."""
    cos, sin = torch.tensor([[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, -1.0]], device=turns.device)
    return linear_matrices(cos[turns], sin[turns], -sin[turns], cos[turns])


def zooms(factor: Tensor) -> Tensor:
    """Enlarge about the centre by `factor` `(N,)`."""
    zero = torch.zeros_like(factor)
    return linear_matrices(1 / factor, zero, zero, 1 / factor)


def shears(along_x: Tensor, along_y: Tensor) -> Tensor:
    """Shear along x, then along y, by `(N,)` degrees each: torchvision's `affine(shear=[x, y])`."""
    x, y = along_x.deg2rad().tan(), along_y.deg2rad().tan()
    return linear_matrices(1 + x * y, x, y, torch.ones_like(x))


def translations(shifts: Tensor) -> Tensor:
    """Take every pixel from `shifts` `(N,2)` = (x, y) on; the picture goes the other way."""
    identity = torch.eye(2, device=shifts.device).expand(len(shifts), 2, 2)
    return torch.cat((identity, shifts[:, :, None]), dim=2)


def mirrors(draws: Draws, axis: int = 0) -> Tensor:
    """Swap left and right (axis 0) or top and bottom (axis 1), for every sample."""
    matrix = torch.eye(2, 3, device=draws.device)
    matrix[axis, axis] = -1
    return matrix.expand(len(draws), 2, 3)


def windows(corner: Tensor, sides: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge a window to the whole image: its left upper `corner` `(N,2)` = (column, row) and its
    `sides` `(N,2)` = (width, height), in pixels."""
    whole = sides.new_tensor([size[1], size[0]])
    share, shift = sides / whole, corner + (sides - whole) / 2
    zero = torch.zeros_like(share[:, 0])
    entries = (share[:, 0], zero, shift[:, 0], zero, share[:, 1], shift[:, 1])
    return torch.stack(entries, dim=1).view(-1, 2, 3)
