"""CutMix."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from augcompress.augmentations.base import Augmentation, AugmentationFacts, Loss
from augcompress.augmentations.covering import box_masks, places
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.mixup import mix, partners
from augcompress.batch import Batch, Progress


def patches(kept: Tensor, centre: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks `(N,1,H,W)` of boxes as flat as the image about the pixels `centre` `(N,2)`, with a
    share of 1 - `kept` `(N,)` of its area before the border cuts them off; half a side is rounded
    down to whole pixels, as in torchvision."""
    half = ((1 - kept).sqrt()[:, None] * kept.new_tensor(size) / 2).floor()
    return box_masks(centre - half, centre + half, size)


def kept_share(masks: Tensor) -> Tensor:
    """Share of the pixels outside the masks `(N,1,H,W)`: float32 `(N,)`, 1 for an empty one."""
    return (~masks).flatten(1).float().mean(1)


class CutMix(Augmentation):
    """Paste a box of a partner's image, and give its share of the area to the partner's label (Yun
    et al. 2019, arXiv:1905.04899); the share λ ~ Beta(alpha, alpha) is drawn per sample, not per
    batch.

    The box's centre is any pixel.  The border may cut the box off, and its sides are whole pixels:
    the label gets the share that is really seen, as in the paper's code.  As with mixup, the
    partner must be in the same batch, and a sample alone in its batch stays as it is.
    """

    label_safety: ClassVar[str] = "images of which a part does not show the class, or shows another"
    mixes: ClassVar[bool] = True

    kind: Literal["cutmix"] = "cutmix"
    alpha: float = Field(1.0, gt=0)
    """Both parameters of the Beta distribution of λ, the share of the sample's own that is aimed
    at: 1 draws it evenly, small keeps it near 0 and 1."""

    def build(self, facts: AugmentationFacts) -> CutMixWorker:
        return CutMixWorker(self.alpha, self.probability)


class CutMixWorker(nn.Module):
    """Pastes into the chosen samples; their partners are any of the batch, as they came in."""

    def __init__(self, alpha: float, probability: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.probability = probability

    def forward(
        self, batch: Batch, draws: Draws, *, progress: Progress, loss: Loss | None = None
    ) -> Batch:
        if len(batch) < 2:
            return batch
        images, targets = batch.images(), batch.targets
        size = (images.shape[-2], images.shape[-1])
        chosen, partner = draws.chosen(self.probability), partners(draws.uniform(1)[:, 0])
        masks = patches(draws.beta(self.alpha), places(draws.uniform(2), size), size)
        masks = masks & chosen[:, None, None, None]
        share = kept_share(masks)
        draws.tell(share=share, partner=batch.index[partner])
        if targets is not None:
            targets = mix(targets, targets[partner], share)
        return batch.with_images(torch.where(masks, images[partner], images), targets)
