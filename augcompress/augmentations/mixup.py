"""Mixup."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from augcompress.augmentations.base import Augmentation, AugmentationFacts, Loss
from augcompress.augmentations.draws import Draws
from augcompress.batch import Batch, Progress


def partners(uniform: Tensor) -> Tensor:
    """Each sample's partner `(N,)`: the next one in the order of `uniform` `(N,)`, the last one's
    the first.  Everybody is a partner once, and nobody their own unless alone."""
    order = uniform.argsort(stable=True)
    return torch.empty_like(order).scatter_(0, order, order.roll(-1))


def mix(values: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """`share` `(N,)` of `values` `(N,...)`, the rest of `other`; at a share of 1, `values`."""
    share = share.view(-1, *(1,) * (values.dim() - 1)).to(values.dtype)
    return share * values + (1 - share) * other


class Mixup(Augmentation):
    """Blend every image and its label with those of a partner (Zhang et al. 2018,
    arXiv:1710.09412); the share λ ~ Beta(alpha, alpha) is drawn per sample, not per batch.

    λ hangs on the sample alone.  The partner must be in the same batch, so it also hangs on which
    samples are there (not on their order); a sample that is alone in its batch stays as it is.
    """

    label_safety: ClassVar[str] = "labels where half of one thing and half of another mean a third"
    mixes: ClassVar[bool] = True

    kind: Literal["mixup"] = "mixup"
    alpha: float = Field(0.2, gt=0)
    """Both parameters of the Beta distribution: small keeps λ near 0 and 1, 1 makes it even."""

    def build(self, facts: AugmentationFacts) -> MixupWorker:
        return MixupWorker(self.alpha, self.probability)


class MixupWorker(nn.Module):
    """Mixes the chosen samples; their partners are any of the batch, as they came in."""

    def __init__(self, alpha: float, probability: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.probability = probability

    def forward(
        self, batch: Batch, draws: Draws, *, progress: Progress, loss: Loss | None = None
    ) -> Batch:
        if len(batch) < 2:
            return batch
        chosen, partner = draws.chosen(self.probability), partners(draws.uniform(1)[:, 0])
        share = torch.where(chosen, draws.beta(self.alpha), 1.0)
        draws.tell(share=share, partner=batch.index[partner])
        images, targets = batch.images(), batch.targets
        if targets is not None:
            targets = mix(targets, targets[partner], share)
        return batch.with_images(mix(images, images[partner], share).clamp_(0, 1), targets)
