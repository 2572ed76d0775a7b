"""Horizontal flip."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import AugmentationFacts, GeometricAugmentation, GeometricWorker
from augcompress.augmentations.draws import Draws


def mirrors(draws: Draws) -> Tensor:
    """`(N,2,3)` matrices that swap left and right."""
    matrix = torch.tensor([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], device=draws.device)
    return matrix.expand(len(draws), 2, 3)


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
