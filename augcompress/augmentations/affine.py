"""Rotation, shift, zoom and shear in one."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from augcompress.augmentations.base import (
    AugmentationFacts,
    Fill,
    GeometricAugmentation,
    GeometricWorker,
    Limits,
    filling_of,
)
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


def _above_zero(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] <= 0:
        raise ValueError("a zoom must be above 0; 1 keeps the size")
    return limits


class Affine(GeometricAugmentation):
    """Rotate about the centre, shift, zoom and shear, each drawn evenly from its range (Simard et
    al. 2003, doi:10.1109/ICDAR.2003.1227801).

    Bilinear, without a low-pass filter.  Meaning and signs are torchvision's `RandomAffine`; unlike
    there, a shift is not rounded to whole pixels.
    """

    label_safety: ClassVar[str] = "classes that differ by angle, place or size (6 and 9, arrows)"

    kind: Literal["affine"] = "affine"
    degrees: float = Field(10.0, ge=0, le=180)
    """Rotation, from -degrees to degrees."""
    translate: float = Field(0.1, ge=0, le=1)
    """Shift, each way, at most this share of the image's width and height."""
    scale: Annotated[Limits, AfterValidator(_above_zero)] = (0.9, 1.1)
    """Zoom range; 1 keeps the size."""
    shear: float = Field(0.0, ge=0, lt=90)
    """Shear along x, from -shear to shear, in degrees."""
    fill: Fill = 0.0
    """What comes in from outside: a value in [0,1], "mean", "nearest" or "reflect"."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        uniform = draws.uniform(5)
        signed = 2 * uniform - 1
        reach = torch.tensor([size[1], size[0]], device=uniform.device) * self.translate
        low, high = self.scale
        return affine_matrices(
            angle=signed[:, 0] * self.degrees,
            shift=signed[:, 1:3] * reach,
            scale=low + (high - low) * uniform[:, 3],
            shear=signed[:, 4] * self.shear,
        )

    def build(self, facts: AugmentationFacts) -> GeometricWorker:
        return GeometricWorker(self.transforms, self.probability, filling_of(self.fill, facts))
