"""Operations on whole colour channels: grayscale, shuffle, dropout, mixing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import PixelAugmentation
from augcompress.augmentations.color_jitter import luma
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.pixel_draws import blockwise


def permuted(images: Tensor, order: Tensor) -> Tensor:
    """Channel `order[n, c]` of image n in place c; `order` `(N,C)`."""
    count, channels = order.shape
    first = channels * torch.arange(count, device=order.device)[:, None]
    return images.flatten(0, 1).index_select(0, (first + order).flatten()).view(images.shape)


def dropped(order: Tensor, count: int) -> Tensor:
    """Which channels are among the first `count` of `order` `(N,C)`, but never all: bool `(N,C)`"""
    rank = order.argsort(dim=1)
    return rank < min(count, order.shape[1] - 1)


def add_mixture(images: Tensor, matrices: Tensor) -> Tensor:
    """Images `(N,C,H,W)` plus `matrices` `(N,C,C)` times their channels: zeros keep."""
    channels = images.flatten(2)
    mixture = matrices.to(images.dtype) @ channels
    return (channels + mixture).clamp_(0, 1).view(images.shape)


class Grayscale(PixelAugmentation):
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
        return blockwise(luma, images).expand_as(images).contiguous()


class ChannelShuffle(PixelAugmentation):
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


class ChannelDropout(PixelAugmentation):
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


class ColorMatrix(PixelAugmentation):
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
        return blockwise(add_mixture, images, added)
