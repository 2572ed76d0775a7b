"""Vertical flip."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import AugmentationFacts, GeometricAugmentation, GeometricWorker
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.matrices import mirrors


class VerticalFlip(GeometricAugmentation):
    """Swap top and bottom, where neither is special: in the sky (Dieleman et al. 2015,
    doi:10.1093/mnras/stv632), under a microscope, seen from above."""

    label_safety: ClassVar[str] = "digits, letters, and whatever has an upper side (6 and 9, faces)"

    kind: Literal["vertical_flip"] = "vertical_flip"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples that are turned upside down."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        return mirrors(draws, axis=1)

    def build(self, facts: AugmentationFacts) -> GeometricWorker:
        return GeometricWorker(self.transforms, self.probability, whole=True)
