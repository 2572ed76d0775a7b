"""Distillation of distances and angles between images."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from augcompress.objectives.base import ObjectiveFacts, View
from augcompress.objectives.matched import MatchedLayers


class Relational(MatchedLayers):
    """Match distances between the images of a batch, and angles between any three of them (RKD,
    Park et al. 2019, https://arxiv.org/abs/1904.05068).

    An image is the mean over the positions of its features.  Distances are divided by their mean
    over the batch's pairs; Huber's loss, mean over pairs, over triplets and over the layers.  Where
    no layers are named, the deepest matched ones count.  Angles take memory with the cube of the
    batch.
    """

    kind: Literal["relational"] = "relational"
    deepest: ClassVar[int | None] = 1

    distance: float = Field(1.0, ge=0)
    """Factor of the distances."""
    angle: float = Field(2.0, ge=0)
    """Factor of the angles; 0 leaves them out."""

    def build(self, facts: ObjectiveFacts) -> nn.Module:
        return RelationalLoss(self)


def distances(points: Tensor, epsilon: float = 1e-12) -> Tensor:
    """`(N,C)` to `(N,N)`: Euclidean distances, divided by their mean over pairs of two samples."""
    gaps = (points[:, None] - points[None]).square().sum(2)  # (N, N)
    apart = ~torch.eye(len(points), dtype=torch.bool, device=points.device)
    lengths = torch.where(apart, gaps, 1.0).clamp(min=epsilon).sqrt() * apart
    return lengths / lengths.sum().clamp(min=epsilon) * apart.sum()


def angles(points: Tensor) -> Tensor:
    """`(N,C)` to `(N,N,N)`: at `[j,i,k]` the cosine at sample j between samples i and k."""
    directions = F.normalize(points[None] - points[:, None], dim=2)  # (N, N, C)
    return directions @ directions.transpose(1, 2)


class RelationalLoss(nn.Module):
    """The worker of `relational`."""

    def __init__(self, settings: Relational) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, view: View) -> Tensor:
        settings = self.settings
        losses = []
        for pair in settings.pairs(view):
            points = (each.flatten(2).mean(2) if each.ndim > 2 else each for each in pair)
            own, other = (view.gather(each) for each in points)
            loss = settings.distance * F.smooth_l1_loss(distances(own), distances(other))
            if settings.angle:
                loss = loss + settings.angle * F.smooth_l1_loss(angles(own), angles(other))
            losses.append(loss)
        return torch.stack(losses).mean()
