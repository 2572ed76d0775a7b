"""The whole classifier: images in [0,1] in, logits out; normalisation is its first layer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from augcompress.errors import AugcompressError, first_line
from augcompress.models.base import ModelFacts
from augcompress.modules import in_evaluation


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

    def __init__(self, normalize: nn.Module, body: nn.Module) -> None:
        super().__init__()
        self.normalize = normalize
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
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
    _check_logits(network, facts, where=f"model {model.kind}")
    return network


def _check_logits(network: Classifier, facts: ModelFacts, where: str) -> None:
    """Run one grey image through the network in evaluation mode; modes are put back."""
    try:
        with torch.no_grad(), in_evaluation(network):
            logits = network(facts.example())
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        height, width = facts.input.size
        raise AugcompressError(
            f"{where}: cannot take images of {facts.input.channels} x {height} x {width}"
            f" ({first_line(error)}); resize the images or choose another model"
        ) from error
    found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if found != (1, facts.classes):
        raise AugcompressError(
            f"{where}: gives {found} for one image, not logits (1, {facts.classes});"
            " let the network return one tensor of logits"
        )


def check_batch_of_one(network: nn.Module, example: Tensor, where: str) -> None:
    """Raises AugcompressError when batches of one image leave a batch norm in training a single
    value per channel, of which there is no variance: where the features are 1 x 1.

    `example` are images `(N,C,H,W)` on the network's device, `where` names the setting; `network`
    and its statistics are left as they are.
    """
    learning = copy.deepcopy(network).train()
    try:
        with torch.no_grad():
            learning(example[:1])
    except ValueError as error:
        raise AugcompressError(
            f"{where}: a batch of one image leaves batch norm a single value per channel"
            f" ({first_line(error)}); raise it, or take batch_norm: frozen"
        ) from error
