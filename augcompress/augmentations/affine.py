"""Rotation, shift, zoom and shear in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

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
from augcompress.augmentations.matrices import affine_matrices


def _above_zero(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] <= 0:
        raise ValueError("a zoom must be above 0; 1 keeps the size")
    return limits


ZoomRange = Annotated[Limits, AfterValidator(_above_zero)]
"""The two ends of a range of zooms, 1 keeping the size."""


class Affine(GeometricAugmentation):
    """Rotate about the centre, shift, zoom and shear, each drawn evenly from its range (Simard et
    al. 2003, doi:10.1109/ICDAR.2003.1227801).

    Bilinear, without a low-pass filter.  Meaning and signs are torchvision's `RandomAffine`; unlike
    there, a shift is not rounded to whole pixels.
    """

    label_safety: ClassVar[str] = "classes that differ by angle, place or size (6 and 9, arrows)"
    neutral: ClassVar[Mapping[str, Any]] = {
        "degrees": 0.0,
        "translate": 0.0,
        "scale": (1.0, 1.0),
        "shear": 0.0,
    }

    kind: Literal["affine"] = "affine"
    degrees: float = Field(10.0, ge=0, le=180)
    """Rotation, from -degrees to degrees."""
    translate: float = Field(0.1, ge=0, le=1)
    """Shift, each way, at most this share of the image's width and height."""
    scale: ZoomRange = (0.9, 1.1)
    """Zoom range; 1 keeps the size."""
    shear: float = Field(0.0, ge=0, lt=90)
    """Shear along x, from -shear to shear, in degrees."""
    fill: Fill = 0.0
    """What comes in from outside: a value in [0,1], "mean", "nearest", "reflect" or "noise"."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        uniform = draws.uniform(5)
        signed = 2 * uniform - 1
        reach = torch.tensor([size[1], size[0]], device=uniform.device) * self.translate
        low, high = self.scale
        angle, shift = signed[:, 0] * self.degrees, signed[:, 1:3] * reach
        scale, shear = low + (high - low) * uniform[:, 3], signed[:, 4] * self.shear
        draws.tell(degrees=angle, right=shift[:, 0], down=shift[:, 1], scale=scale, shear=shear)
        return affine_matrices(angle, shift, scale, shear)

    def build(self, facts: AugmentationFacts) -> GeometricWorker:
        return GeometricWorker(self.transforms, self.probability, filling_of(self.fill, facts))
