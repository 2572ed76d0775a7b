"""What a model is: frozen settings that build a network from a few facts about the data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from augcompress.batch import ImageInput
from augcompress.component import Component


@dataclass(frozen=True)
class ModelFacts:
    """What a model must know of the data."""

    classes: int
    """Number of classes: the length of the logits."""
    input: ImageInput
    """What the network takes."""

    def example(self) -> Tensor:
        """One grey image `(1,C,H,W)`, to follow a network's steps with."""
        return torch.full((1, self.input.channels, *self.input.size), 0.5)


Constants = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of each channel, of images in [0,1]."""


class ModelSettings(Component):
    """A network's design, without weights: the caller seeds torch before it builds."""

    @abstractmethod
    def build(self, facts: ModelFacts) -> nn.Module:
        """The body: normalised images `(N,C,H,W)` to logits `(N,classes)`, freshly initialised."""

    def normalization(self) -> Constants | None:
        """What the weights that it starts from were trained with; None: it starts from none, or it
        is not known."""
        return None
