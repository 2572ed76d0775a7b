"""Tone curves read off the image's own histogram: equalize, autocontrast."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import Augmentation, AugmentationFacts, PixelWorker
from augcompress.augmentations.blocks import blockwise
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.tone import autocontrast, equalize


class Equalize(Augmentation):
    """Spread the levels of every channel so that all are about equally frequent (AutoAugment, Cubuk
    et al. 2019, arXiv:1805.09501).

    Values are counted in 256 levels, as PIL and torchvision do.  A channel with fewer than 255
    pixels below its brightest level (all channels of images under 16x16) keeps its levels.
    """

    label_safety: ClassVar[str] = "classes told apart by brightness, contrast or tint"

    kind: Literal["equalize"] = "equalize"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples that are equalized."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        return blockwise(equalize, images)

    def build(self, facts: AugmentationFacts) -> PixelWorker:
        return PixelWorker(self.change, self.probability)


class Autocontrast(Augmentation):
    """Stretch every channel to reach from 0 to 1 (AutoAugment, Cubuk et al. 2019,
    arXiv:1805.09501); a channel of one single value stays."""

    label_safety: ClassVar[str] = "classes told apart by brightness, contrast or tint"

    kind: Literal["autocontrast"] = "autocontrast"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples that are stretched."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        return autocontrast(images)

    def build(self, facts: AugmentationFacts) -> PixelWorker:
        return PixelWorker(self.change, self.probability)
