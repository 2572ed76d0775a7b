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


@dataclass(frozen=True)
class PretrainedWeights:
    """Weights that somebody else has trained."""

    name: str
    """What cards and limits call them."""
    licence: str | None
    """As whoever gives them says it: `apache-2.0`; None: nobody says."""


@dataclass(frozen=True)
class TrainedWith:
    """How images were prepared for the weights that a network starts from."""

    constants: Constants
    """What they were normalised by."""
    size: tuple[int, int] | None = None
    """Their height and width in pixels; None: not known, and nothing below is."""
    resize: int | None = None
    """Shorter side before the centre crop; None: they were resized to the size directly."""
    interpolation: str = "bilinear"
    """How they were resampled."""


class ModelSettings(Component):
    """A network's design, without weights: the caller seeds torch before it builds."""

    @abstractmethod
    def build(self, facts: ModelFacts) -> nn.Module:
        """The body: normalised images `(N,C,H,W)` to logits `(N,classes)`, freshly initialised."""

    def trained_with(self, weights: str | None = None) -> TrainedWith | None:
        """How images were prepared for the weights that it starts from: its own, where it is
        `pretrained`, or those in a file, which are taken for the published ones of this design.
        None: it starts from none, or it is not known."""
        return None

    def pretrained_weights(self) -> PretrainedWeights | None:
        """The weights that it starts from; None: it starts from none."""
        return None
