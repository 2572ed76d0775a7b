"""Quarter turns."""

from __future__ import annotations

from typing import ClassVar, Literal

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
from augcompress.augmentations.matrices import quarter_turns


def turns(uniform: Tensor) -> Tensor:
    """1, 2 or 3, int64, from uniforms in [0,1)."""
    return 1 + (3 * uniform).long().clamp_max_(2)


class Rotate90(GeometricAugmentation):
    """Turn by one, two or three quarters, equally likely (the rotations of Gidaris et al. 2018,
    arXiv:1803.07728, here without telling the network).

    Square images are copied exactly.  The size is kept, so of others a quarter turn cuts off two
    ends and fills two sides; where height and width differ by an odd number it interpolates.
    """

    label_safety: ClassVar[str] = "whatever has an upper side: digits, letters, faces, vehicles"

    kind: Literal["rotate90"] = "rotate90"
    probability: float = Field(0.75, ge=0, le=1)
    """Share of the samples that are turned; 0.75 makes all four positions equally likely."""
    fill: Fill = 0.0
    """What comes in from outside where the image is not square: a value in [0,1], "mean",
    "nearest", "reflect" or "noise"."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        quarters = turns(draws.uniform(1)[:, 0])
        draws.tell(quarters=quarters)
        return quarter_turns(quarters)

    def build(self, facts: AugmentationFacts) -> GeometricWorker:
        return GeometricWorker(self.transforms, self.probability, filling_of(self.fill, facts))
