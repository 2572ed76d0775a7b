"""Random crop."""

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
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.matrices import translations


def crop_shifts(uniform: Tensor, padding: int) -> Tensor:
    """Whole numbers in -padding..padding from uniforms in [0,1)."""
    return (uniform * (2 * padding + 1)).floor() - padding


class RandomCrop(GeometricAugmentation):
    """Pad every side and cut out a window of the old size at random (He et al. 2016,
    arXiv:1512.03385, section 4.2).  Whole pixels: nothing is interpolated."""

    label_safety: ClassVar[str] = "images whose deciding detail touches the edge and may be cut off"
    neutral: ClassVar[Mapping[str, Any]] = {"padding": 0}

    kind: Literal["random_crop"] = "random_crop"
    padding: int = Field(4, ge=0)
    """Pixels added on every side: the largest shift."""
    fill: Fill = 0.0
    """What the padding holds: a value in [0,1], "mean", "nearest", "reflect" or "noise"."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        shifts = crop_shifts(draws.uniform(2), self.padding)
        draws.tell(right=-shifts[:, 0], down=-shifts[:, 1])
        return translations(shifts)

    def build(self, facts: AugmentationFacts) -> GeometricWorker:
        filling = filling_of(self.fill, facts)
        return GeometricWorker(self.transforms, self.probability, filling, whole=True)
