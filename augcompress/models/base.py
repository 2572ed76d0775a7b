"""What a model is: frozen settings that build a network from a few facts about the data."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import nn

from augcompress.component import Component


@dataclass(frozen=True)
class ModelFacts:
    """What a model must know of the data."""

    classes: int
    """Number of classes: the length of the logits."""
    channels: int
    """Channels of the images: 1 grey, 3 RGB."""
    size: tuple[int, int]
    """Height and width of the images, in pixels."""


class ModelSettings(Component):
    """A network's design, without weights: the caller seeds torch before it builds."""

    @abstractmethod
    def build(self, facts: ModelFacts) -> nn.Module:
        """The body: normalised images `(N,C,H,W)` to logits `(N,classes)`, freshly initialised."""
