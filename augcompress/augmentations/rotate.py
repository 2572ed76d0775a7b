"""Rotation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import (
    AugmentationFacts,
    Fill,
    GeometricAugmentation,
    GeometricWorker,
    filling_of,
)
from augcompress.augmentations.draws import Draws, between
from augcompress.augmentations.matrices import rotations


class Rotate(GeometricAugmentation):
    """Rotate about the centre (Simard et al. 2003, doi:10.1109/ICDAR.2003.1227801), bilinear, the
    image's size kept."""

    label_safety: ClassVar[str] = "classes that differ by angle (6 and 9, arrows), if it is wide"
    neutral: ClassVar[Mapping[str, Any]] = {"degrees": 0.0}

    kind: Literal["rotate"] = "rotate"
    degrees: float = Field(15.0, ge=0, le=180)
    """The angle, drawn evenly from -degrees to degrees."""
    fill: Fill = 0.0
    """What comes in from outside: a value in [0,1], "mean", "nearest", "reflect" or "noise"."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        angle = between((-self.degrees, self.degrees), draws.uniform(1)[:, 0])
        draws.tell(degrees=angle)
        return rotations(angle)

    def build(self, facts: AugmentationFacts) -> GeometricWorker:
        return GeometricWorker(self.transforms, self.probability, filling_of(self.fill, facts))
