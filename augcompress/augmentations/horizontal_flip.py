"""Horizontal flip."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import AugmentationFacts, GeometricAugmentation, GeometricWorker
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.matrices import mirrors


class HorizontalFlip(GeometricAugmentation):
    """Swap left and right (Krizhevsky et al. 2012, doi:10.1145/3065386)."""

    label_safety: ClassVar[str] = (
        "digits, letters, traffic signs: anything that reads one way round"
    )

    kind: Literal["horizontal_flip"] = "horizontal_flip"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples that are mirrored."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        return mirrors(draws)

    def build(self, facts: AugmentationFacts) -> GeometricWorker:
        return GeometricWorker(self.transforms, self.probability, whole=True)
