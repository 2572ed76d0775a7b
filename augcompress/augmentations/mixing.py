"""Mixup and CutMix: each sample is mixed with a partner of its batch, and so are their labels."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from augcompress.augmentations.base import Augmentation, AugmentationFacts, Loss
from augcompress.augmentations.covering import Boxes, Rows, places
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.geometry import size_of
from augcompress.augmentations.pixel_draws import blockwise
from augcompress.augmentations.rows import change_rows
from augcompress.batch import Batch, Progress


def partners(uniform: Tensor) -> Tensor:
    """Each sample's partner `(N,)`: the next one in the order of `uniform` `(N,)`, the last one's
    the first.  Every sample is a partner once, and none its own unless alone."""
    order = uniform.argsort(stable=True)
    return torch.empty_like(order).scatter_(0, order, order.roll(-1))


def mix(values: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """`share` `(N,)` of `values` `(N,...)`, the rest of `other`; at a share of 1, `values`."""
    share = share.view(-1, *(1,) * (values.dim() - 1)).to(values.dtype)
    return (share * values).add_((1 - share) * other)


def patches(kept: Tensor, centre: Tensor, size: tuple[int, int]) -> Boxes:
    """Boxes as flat as the image about the pixels `centre` `(N,2)`, with a share of 1 - `kept`
    `(N,)` of its area before the border cuts them off; half a side is rounded down to whole pixels,
    as in torchvision."""
    half = ((1 - kept).sqrt()[:, None] * kept.new_tensor(size) / 2).floor()
    return Boxes(centre - half, centre + half, size)


class MixingAugmentation(Augmentation):
    """Mixes every chosen sample with another one of its batch."""

    mixes: ClassVar[bool] = True

    @abstractmethod
    def blend(
        self, images: Tensor, everyone: Tensor, partner: Tensor, draws: Draws
    ) -> tuple[Tensor, Tensor]:
        """The mixed images `(N,C,H,W)`, and the share `(N,)` of each sample's own label; `partner`
        `(N,)` are places among the images of `everyone`."""

    def build(self, facts: AugmentationFacts) -> nn.Module:
        return MixingWorker(self)


class MixingWorker(nn.Module):
    """Mixes the chosen samples; their partners are any of the batch, as they came in."""

    def __init__(self, settings: MixingAugmentation) -> None:
        super().__init__()
        self.settings = settings

    def forward(
        self, batch: Batch, draws: Draws, *, progress: Progress, loss: Loss | None = None
    ) -> Batch:
        if len(batch) < 2:
            return batch
        images, targets = batch.images(), batch.targets
        chosen = draws.chosen(self.settings.probability)
        partner = partners(draws.uniform(1)[:, 0])
        shares = torch.ones(len(batch), device=chosen.device)

        def change(own: Tensor, rows: Tensor | None) -> Tensor:
            nonlocal shares
            drawn, with_whom = (draws, partner) if rows is None else (draws.of(rows), partner[rows])
            mixed, share = self.settings.blend(own, images, with_whom, drawn)
            drawn.tell(share=share, partner=batch.index[with_whom])
            shares = share if rows is None else shares.index_copy(0, rows, share)
            return mixed

        mixed = change_rows(batch, chosen, change)
        if targets is None:
            return mixed
        shares = torch.where(chosen, shares, 1.0)
        return replace(mixed, targets=mix(targets, targets.index_select(0, partner), shares))


class Mixup(MixingAugmentation):
    """Blend every image and its label with those of a partner (Zhang et al. 2018,
    arXiv:1710.09412); the share λ ~ Beta(alpha, alpha) is drawn per sample, not per batch.

    λ depends on the sample alone.  The partner must be in the same batch, so it also depends on
    which samples are there (not on their order); a sample alone in its batch stays as it is.
    """

    label_safety: ClassVar[str] = "labels where half of one thing and half of another mean a third"

    kind: Literal["mixup"] = "mixup"
    alpha: float = Field(0.2, gt=0)
    """Both parameters of the Beta distribution: small keeps λ near 0 and 1, 1 makes it even."""

    def blend(
        self, images: Tensor, everyone: Tensor, partner: Tensor, draws: Draws
    ) -> tuple[Tensor, Tensor]:
        share = draws.beta(self.alpha)
        return blockwise(partial(_blended, everyone), images, partner, share), share


def _blended(everyone: Tensor, images: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    return mix(images, everyone.index_select(0, partner), share).clamp_(0, 1)


class CutMix(MixingAugmentation):
    """Paste a box of a partner's image, and give its share of the area to the partner's label (Yun
    et al. 2019, arXiv:1905.04899); the share λ ~ Beta(alpha, alpha) is drawn per sample, not per
    batch.

    The box's centre is any pixel.  The border may cut the box off, and its sides are whole pixels:
    the label gets the share that is really seen, as in the paper's code.  As with mixup, the
    partner must be in the same batch, and a sample alone in its batch stays as it is.
    """

    label_safety: ClassVar[str] = "images of which a part does not show the class, or shows another"

    kind: Literal["cutmix"] = "cutmix"
    alpha: float = Field(1.0, gt=0)
    """Both parameters of the Beta distribution of λ, the share of the sample's own that is aimed
    at: 1 draws it evenly, small keeps it near 0 and 1."""

    def blend(
        self, images: Tensor, everyone: Tensor, partner: Tensor, draws: Draws
    ) -> tuple[Tensor, Tensor]:
        size = size_of(images)
        boxes = patches(draws.beta(self.alpha), places(draws.uniform(2), size), size)
        return boxes.overwritten(images, Rows(everyone, partner)), boxes.rest()
