"""Shear."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

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
from augcompress.augmentations.matrices import shears


class Shear(GeometricAugmentation):
    """Slant the picture about its centre (Simard et al. 2003, doi:10.1109/ICDAR.2003.1227801),
    bilinear; along x first, then along y, as torchvision's `affine` does."""

    label_safety: ClassVar[str] = "classes that differ by slant (/ and |)"
    neutral: ClassVar[Mapping[str, Any]] = {"x": 0.0, "y": 0.0}

    kind: Literal["shear"] = "shear"
    x: float = Field(10.0, ge=0, lt=90)
    """Slant along x, drawn evenly from -x to x degrees."""
    y: float = Field(0.0, ge=0, lt=90)
    """Slant along y, drawn evenly from -y to y degrees."""
    fill: Fill = 0.0
    """What comes in from outside: a value in [0,1], "mean", "nearest", "reflect" or "noise"."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        uniform = draws.uniform(2)
        reach = torch.tensor([self.x, self.y], device=uniform.device)
        along_x, along_y = ((2 * uniform - 1) * reach).unbind(1)
        draws.tell(x=along_x, y=along_y)
        return shears(along_x, along_y)

    def build(self, facts: AugmentationFacts) -> GeometricWorker:
        return GeometricWorker(self.transforms, self.probability, filling_of(self.fill, facts))
