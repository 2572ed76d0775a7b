"""Colour matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import Augmentation, AugmentationFacts, PixelWorker
from augcompress.augmentations.draws import Draws


def add_mixture(images: Tensor, matrices: Tensor) -> Tensor:
    """Images `(N,C,H,W)` plus `matrices` `(N,C,C)` times their channels: zeros keep."""
    channels = images.flatten(2)
    mixture = matrices.to(images.dtype) @ channels
    return (channels + mixture).clamp_(0, 1).view(images.shape)


class ColorMatrix(Augmentation):
    """Mix the channels by the identity plus a matrix drawn for each image: another camera's
    primaries.  With one channel it is a change of brightness."""

    label_safety: ClassVar[str] = "classes told apart by colour or brightness (ripeness, stains)"
    neutral: ClassVar[Mapping[str, Any]] = {"strength": 0.0}

    kind: Literal["color_matrix"] = "color_matrix"
    strength: float = Field(0.2, ge=0, le=1)
    """Every entry gets an even draw from -strength to strength added; 0 changes nothing."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        channels = images.shape[1]
        signed = 2 * draws.uniform(channels * channels) - 1
        added = (self.strength * signed).view(-1, channels, channels)
        draws.tell(added=added)
        return add_mixture(images, added)

    def build(self, facts: AugmentationFacts) -> PixelWorker:
        return PixelWorker(self.change, self.probability)
