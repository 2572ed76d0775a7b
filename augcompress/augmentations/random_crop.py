"""Random crop."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import (
    AugmentationFacts,
    Fill,
    GeometricAugmentation,
    GeometricWorker,
    filling_of,
)
from augcompress.augmentations.draws import Draws


def crop_shifts(uniform: Tensor, padding: int) -> Tensor:
    """Whole numbers in -padding..padding from uniforms in [0,1)."""
    return (uniform * (2 * padding + 1)).floor() - padding


def translations(shifts: Tensor) -> Tensor:
    """`(N,2,3)` matrices that take every pixel from `shifts` `(N,2)` = (x, y) further on."""
    identity = torch.eye(2, device=shifts.device).expand(len(shifts), 2, 2)
    return torch.cat((identity, shifts[:, :, None]), dim=2)


class RandomCrop(GeometricAugmentation):
    """Pad every side and cut out a window of the old size at random (He et al. 2016,
    arXiv:1512.03385, section 4.2).  Whole pixels: nothing is interpolated."""

    label_safety: ClassVar[str] = "images whose deciding detail touches the edge and may be cut off"

    kind: Literal["random_crop"] = "random_crop"
    padding: int = Field(4, ge=0)
    """Pixels added on every side: the largest shift."""
    fill: Fill = 0.0
    """What the padding holds: a value in [0,1], "mean", "nearest" or "reflect"."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        return translations(crop_shifts(draws.uniform(2), self.padding))

    def build(self, facts: AugmentationFacts) -> GeometricWorker:
        filling = filling_of(self.fill, facts)
        return GeometricWorker(self.transforms, self.probability, filling, whole=True)
