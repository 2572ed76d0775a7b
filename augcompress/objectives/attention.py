"""Distillation of where a network looks."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augcompress.objectives.base import ObjectiveFacts, View
from augcompress.objectives.hint import same_size
from augcompress.objectives.matched import MatchedLayers


class Attention(MatchedLayers):
    """Match the teacher's spatial attention: where its feature maps are large, whatever the channel
    (AT, Zagoruyko & Komodakis 2017, https://arxiv.org/abs/1612.03928).

    An attention map is the mean of the squared channels, divided by its own length as a vector.
    Squared difference, mean over positions, batch and pairs of layers; the authors' code takes it a
    thousand times or more (`weight`).  Where the maps differ in size, the larger is average-pooled.
    """

    kind: Literal["attention"] = "attention"

    def build(self, facts: ObjectiveFacts) -> nn.Module:
        return AttentionLoss(self)


def attention_map(features: Tensor) -> Tensor:
    """`(N,C,H,W)` to `(N,H*W)`: the mean of the squared channels, each row of length 1."""
    return F.normalize(features.square().mean(1).flatten(1), dim=1)


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the attention maps of two `(N,C,H,W)`: a scalar."""
    student, teacher = same_size(student, teacher)
    return (attention_map(student) - attention_map(teacher)).square().mean()


class AttentionLoss(nn.Module):
    """The worker of `attention`."""

    def __init__(self, settings: Attention) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, view: View) -> Tensor:
        pairs = self.settings.pairs(view)
        return torch.stack([attention_loss(own, other) for own, other in pairs]).mean()
