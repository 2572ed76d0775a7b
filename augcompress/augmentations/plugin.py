"""An augmentation of the user's own."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from augcompress.augmentations.base import Augmentation, AugmentationFacts
from augcompress.component import Plugin


class AugmentationPlugin(Plugin):
    """A subclass of `augcompress.augmentations.Augmentation` from a file of the user's.

    `probability` and everything else go into `options`; a `GeometricWorker` is fused like
    any other.
    """

    label_safety: ClassVar[str] = "what the class itself says"

    def build(self, facts: AugmentationFacts) -> nn.Module:
        return self.component(Augmentation).build(facts)
