"""A network of the user's own."""

from __future__ import annotations

from torch import nn

from augcompress.component import Plugin
from augcompress.errors import AugcompressError
from augcompress.models.base import ModelFacts, ModelSettings, PretrainedWeights, TrainedWith


class ModelPlugin(Plugin):
    """A class of the user's own that maps normalised images `(N,C,H,W)` to logits `(N,classes)`.

    A `torch.nn.Module`, made from `options` and those of `classes`, `channels`, `size` that its
    constructor takes; or a subclass of `augcompress.models.ModelSettings`, made from `options`.
    """

    def trained_with(self, weights: str | None = None) -> TrainedWith | None:
        if issubclass(self.load(), ModelSettings):
            return self.component(ModelSettings).trained_with(weights)
        return None

    def pretrained_weights(self) -> PretrainedWeights | None:
        if issubclass(self.load(), ModelSettings):
            return self.component(ModelSettings).pretrained_weights()
        return None

    def build(self, facts: ModelFacts) -> nn.Module:
        if issubclass(self.load(), ModelSettings):
            network = self.component(ModelSettings).build(facts)
        else:
            network = self.module(
                nn.Module,
                classes=facts.classes,
                channels=facts.input.channels,
                size=facts.input.size,
            )
        if not isinstance(network, nn.Module):
            raise AugcompressError(
                f"plugin {self.target}: build gives {type(network).__name__};"
                " return a torch.nn.Module"
            )
        return network
