"""What every augmentation promises: settings that build a worker, Batch → Batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from augcompress.augmentations.draws import Draws
from augcompress.augmentations.geometry import Filling, identity_matrices, resample
from augcompress.batch import Batch, Progress
from augcompress.component import Component

Loss = Callable[[Batch], Tensor]
"""Loss of the network in training on a batch; adversarial augmentations climb it."""


def _lowest_first(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"write the lower end first: [{limits[1]}, {limits[0]}]")
    return limits


Limits = Annotated[tuple[float, float], AfterValidator(_lowest_first)]
"""The two ends of a range that is drawn from, the lower one first."""

Fill = Annotated[float, Field(ge=0, le=1)] | Literal["mean", "nearest", "reflect"]
"""What is seen beyond the image's edge: a grey value, the training set's mean colour, the edge
continued, or the image mirrored."""


@dataclass(frozen=True)
class AugmentationFacts:
    """What an augmentation may know of the data when it is built."""

    samples: int
    """Images in the training split."""
    classes: int
    channels: int
    size: tuple[int, int]
    """Height and width in pixels."""
    mean: Sequence[float]
    """Mean of each channel over the training split, in [0,1]."""
    seed: int
    """For what is fitted or drawn once, while building."""


class Augmentation(Component, ABC):
    """Settings of one operation on a batch.

    The worker that `build` returns is a module, called as
    `worker(batch, draws, *, progress, loss=None) -> Batch`.  It takes images in [0,1] and keeps
    dtype, shape and range; target rows still sum to 1; the batch it is given stays as it was.
    """

    mixes: ClassVar[bool] = False
    """Does it blend images with each other?"""
    label_safety: ClassVar[str]
    """For which data the labels do not survive this operation."""

    probability: float = Field(1.0, ge=0, le=1)
    """Share of the samples it is applied to; each sample draws for itself."""

    @abstractmethod
    def build(self, facts: AugmentationFacts) -> nn.Module:
        """The worker."""


class GeometricAugmentation(Augmentation):
    """An operation that only moves pixels, so that neighbours can be fused into one resampling."""

    @abstractmethod
    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        """`(N,2,3)` matrices as in `geometry`, as if every sample were chosen."""


class PixelWorker(nn.Module):
    """Applies `change(images, draws) -> images` to the chosen samples; targets stay."""

    def __init__(self, change: Callable[[Tensor, Draws], Tensor], probability: float) -> None:
        super().__init__()
        self.change = change
        self.probability = probability

    def forward(
        self, batch: Batch, draws: Draws, *, progress: Progress, loss: Loss | None = None
    ) -> Batch:
        images = batch.images()
        chosen = draws.chosen(self.probability)[:, None, None, None]
        return batch.with_images(torch.where(chosen, self.change(images, draws), images))


class GeometricWorker(nn.Module):
    """Moves the pixels of the chosen samples; `matrices` is its second face, for fusing."""

    def __init__(
        self,
        transforms: Callable[[Draws, tuple[int, int]], Tensor],
        probability: float,
        filling: Filling = None,
        *,
        whole: bool = False,
    ) -> None:
        """`whole`: every matrix maps pixels onto pixels, so that copying is exact."""
        super().__init__()
        self.transforms = transforms
        self.probability = probability
        self.filling = filling
        self.whole = whole

    def matrices(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        """`(N,2,3)` inverse matrices; the identity where a sample is not chosen."""
        chosen = draws.chosen(self.probability)[:, None, None]
        return torch.where(
            chosen, self.transforms(draws, size), identity_matrices(len(chosen), chosen.device)
        )

    def forward(
        self, batch: Batch, draws: Draws, *, progress: Progress, loss: Loss | None = None
    ) -> Batch:
        images = batch.images()
        matrices = self.matrices(draws, (images.shape[-2], images.shape[-1]))
        return batch.with_images(resample(images, matrices, self.filling, whole=self.whole))


def filling_of(fill: Fill, facts: AugmentationFacts) -> Filling:
    """The recipe's `fill` for this data: a value per channel, "nearest" or "reflect"."""
    if fill == "mean":
        return tuple(float(value) for value in facts.mean)
    return fill if isinstance(fill, str) else (float(fill),) * facts.channels
