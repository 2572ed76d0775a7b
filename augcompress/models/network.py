"""The whole classifier: images in [0,1] in, logits out; normalisation is its first layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from augcompress.errors import AugcompressError
from augcompress.models.base import ModelFacts
from augcompress.models.checking import check_logits, takes_channels_last


class BuildsBody(Protocol):
    """Any member of the room's union."""

    kind: str

    def build(self, facts: ModelFacts) -> nn.Module: ...


class Normalize(nn.Module):
    """`(images - mean) / std` per channel; both travel with the weights as buffers `(1,C,1,1)`."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


class Classifier(nn.Module):
    """`normalize`, then `body`: images in [0,1] `(N,C,H,W)` to logits `(N,classes)`."""

    channels_last: bool = True
    """Does the body take images in channels-last memory?  Else it is given them in the usual
    order."""

    def __init__(self, normalize: nn.Module, body: nn.Module) -> None:
        super().__init__()
        self.normalize = normalize
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
        images = images if self.channels_last else images.contiguous()
        return self.body(self.normalize(images))


def build_classifier(
    model: BuildsBody, facts: ModelFacts, mean: Sequence[float], std: Sequence[float]
) -> Classifier:
    """A freshly initialised classifier for images with this mean and standard deviation (of [0,1]).

    Raises AugcompressError when the statistics do not fit the channels, or when the network does
    not map images of this size to logits `(N,classes)`.
    """
    if not len(mean) == len(std) == facts.input.channels or min(std) <= 0:
        raise AugcompressError(
            f"model {model.kind}: mean {list(mean)} and std {list(std)} do not fit"
            f" {facts.input.channels} channels; give one mean and one positive std per channel"
        )
    network = Classifier(Normalize(mean, std), model.build(facts))
    check_logits(network, facts, where=f"model {model.kind}")
    network.channels_last = takes_channels_last(network, facts)
    return network


def place(network: nn.Module, device: torch.device | str) -> None:
    """Put a network on a device, with its filters in channels-last memory where it takes images so:
    it is faster."""
    whole = runs_channels_last(network)
    form = torch.channels_last if whole else torch.contiguous_format
    network.to(device, memory_format=form)  # type: ignore[call-overload]


def runs_channels_last(network: nn.Module) -> bool:
    """Are images given to the network's layers in channels-last memory, as they come?"""
    return all(one.channels_last for one in network.modules() if isinstance(one, Classifier))
