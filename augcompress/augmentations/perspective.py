"""Perspective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import FilledGeometricAugmentation
from augcompress.augmentations.draws import Draws

_CORNERS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))


def drawn_corners(uniform: Tensor, distortion_scale: float) -> Tensor:
    """Where the image's corners go: `(N,4,2)` = (x, y) in half sides, left upper first, clockwise;
    `uniform` `(N,4,2)` draws how far inwards."""
    corners = torch.tensor(_CORNERS, device=uniform.device)
    return corners * (1 - distortion_scale * uniform)


def square_to_corners(corners: Tensor) -> Tensor:
    """`(N,3,3)` homographies that take the square from (0,0) to (1,1) to `corners` `(N,4,2)`, up to
    a factor (Heckbert 1989, UCB/CSD-89-516); nothing is divided."""
    first, second, third, fourth = corners.unbind(1)  # each (N, 2)
    right, down, excess = second - third, fourth - third, first - second + third - fourth
    scale = _cross(right, down)[:, None]
    tilt_x, tilt_y = _cross(excess, down)[:, None], _cross(right, excess)[:, None]
    along_x = (second - first) * scale + tilt_x * second
    along_y = (fourth - first) * scale + tilt_y * fourth
    upper = torch.stack((along_x, along_y, first * scale), dim=2)  # (N, 2, 3)
    return torch.cat((upper, torch.stack((tilt_x, tilt_y, scale), dim=2)), dim=1)


def _cross(first: Tensor, second: Tensor) -> Tensor:
    return first[:, 0] * second[:, 1] - second[:, 0] * first[:, 1]


def adjugates(matrices: Tensor) -> Tensor:
    """`(N,3,3)` inverses up to a factor, of singular ones too."""
    first, second, third = matrices.unbind(1)
    columns = (second.cross(third, dim=1), third.cross(first, dim=1), first.cross(second, dim=1))
    return torch.stack(columns, dim=2)


def homographies(corners: Tensor, size: tuple[int, int]) -> Tensor:
    """`(N,3,3)` inverse matrices, as in `geometry`, of moving the corner pixels to `corners`
    `(N,4,2)` in half sides."""
    inverse = adjugates(square_to_corners(corners))
    inverse = torch.cat((2 * inverse[:, :2] - inverse[:, 2:], inverse[:, 2:]), dim=1)
    inverse = inverse / inverse.abs().amax((1, 2), keepdim=True).clamp_min(1e-30)
    half = inverse.new_tensor([max(size[1] - 1, 1) / 2, max(size[0] - 1, 1) / 2, 1.0])
    return inverse * half[:, None] / half


class Perspective(FilledGeometricAugmentation):
    """Look at the image from a slant: its corners move inwards, each by itself (a homography;
    Hartley & Zisserman 2004, doi:10.1017/CBO9780511811685, section 2.3).

    Meaning of the scale is torchvision's `RandomPerspective`; unlike there, the corners' shifts are
    not rounded to whole pixels, and corners are the centres of the corner pixels.  Bilinear,
    without a low-pass filter; neighbouring geometry is fused with it.
    """

    label_safety: ClassVar[str] = (
        "classes that differ by proportion or angle (squares and trapezia)"
    )
    neutral: ClassVar[Mapping[str, Any]] = {"distortion_scale": 0.0}

    kind: Literal["perspective"] = "perspective"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples that are distorted."""
    distortion_scale: float = Field(0.5, ge=0, le=1)
    """How far a corner moves inwards, along x and along y, drawn evenly from 0 to this share of
    half the side; above 2/3 an image may be folded."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        uniform = draws.uniform(8).reshape(len(draws), 4, 2)
        return homographies(drawn_corners(uniform, self.distortion_scale), size)
