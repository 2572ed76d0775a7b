"""Distillation of which images of a batch are alike."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augcompress.objectives.base import ObjectiveFacts, View
from augcompress.objectives.matched import MatchedLayers


class Similarity(MatchedLayers):
    """Match which images of a batch the teacher takes for alike (SP, Tung & Mori 2019,
    https://arxiv.org/abs/1907.09682).

    The similarities are the products of all pairs of flattened features, each row divided by its
    length.  Squared difference, mean over all pairs of images and over the pairs of layers; layers
    may have any shapes.  It depends on which images a batch has.
    """

    kind: Literal["similarity"] = "similarity"

    def build(self, facts: ObjectiveFacts) -> nn.Module:
        return SimilarityLoss(self)


def similarities(features: Tensor) -> Tensor:
    """`(N,...)` to `(N,N)`: products of all pairs of samples, each row of length 1."""
    flat = features.flatten(1)
    return F.normalize(flat @ flat.T, dim=1)


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the similarities of two features `(N,...)`: a scalar."""
    return (similarities(student) - similarities(teacher)).square().mean()


class SimilarityLoss(nn.Module):
    """The worker of `similarity`."""

    def __init__(self, settings: Similarity) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, view: View) -> Tensor:
        losses = [
            similarity_loss(*(view.gather(each.flatten(1)) for each in pair))
            for pair in self.settings.pairs(view)
        ]
        return torch.stack(losses).mean()
