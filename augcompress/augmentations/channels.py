"""Operations on whole colour channels: grayscale, shuffle, dropout."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import Augmentation, AugmentationFacts, PixelWorker
from augcompress.augmentations.color_jitter import luma
from augcompress.augmentations.draws import Draws


def permuted(images: Tensor, order: Tensor) -> Tensor:
    """Channel `order[n, c]` of image n in place c; `order` `(N,C)`."""
    count, channels = order.shape
    first = channels * torch.arange(count, device=order.device)[:, None]
    return images.flatten(0, 1).index_select(0, (first + order).flatten()).view(images.shape)


def dropped(order: Tensor, count: int) -> Tensor:
    """Which channels are among the first `count` of `order` `(N,C)`, but never all: bool `(N,C)`"""
    rank = order.argsort(dim=1)
    return rank < min(count, order.shape[1] - 1)


class Grayscale(Augmentation):
    """Take the colour out, keeping the number of channels (SimCLR, Chen et al. 2020,
    arXiv:2002.05709).

    RGB is weighted by ITU-R BT.601 as in torchvision; other images become the mean of their
    channels, so that one channel stays as it is.
    """

    label_safety: ClassVar[str] = "classes told apart by colour (ripeness, traffic lights)"

    kind: Literal["grayscale"] = "grayscale"
    probability: float = Field(0.2, ge=0, le=1)
    """Share of the samples that lose their colour."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        return luma(images).expand_as(images)

    def build(self, facts: AugmentationFacts) -> PixelWorker:
        return PixelWorker(self.change, self.probability)


class ChannelShuffle(Augmentation):
    """Put the channels in another order, drawn evenly from all orders (the old one, too); one
    channel stays."""

    label_safety: ClassVar[str] = "classes told apart by colour (ripeness, traffic lights)"

    kind: Literal["channel_shuffle"] = "channel_shuffle"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples for which an order is drawn."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        order = draws.uniform(images.shape[1]).argsort(dim=1)
        draws.tell(order=order)
        return permuted(images, order)

    def build(self, facts: AugmentationFacts) -> PixelWorker:
        return PixelWorker(self.change, self.probability)


class ChannelDropout(Augmentation):
    """Overwrite whole channels; which ones is drawn evenly.  One always stays, so images of a
    single channel do not change."""

    label_safety: ClassVar[str] = "classes told apart by colour (ripeness, traffic lights)"

    kind: Literal["channel_dropout"] = "channel_dropout"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples that lose channels."""
    channels: int = Field(1, ge=1)
    """How many channels are lost; one always stays."""
    value: float = Field(0.0, ge=0, le=1)
    """What is written."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        order = draws.uniform(images.shape[1]).argsort(dim=1)
        lost = dropped(order, self.channels)
        draws.tell(lost=lost)
        return torch.where(lost[:, :, None, None], self.value, images)

    def build(self, facts: AugmentationFacts) -> PixelWorker:
        return PixelWorker(self.change, self.probability)
