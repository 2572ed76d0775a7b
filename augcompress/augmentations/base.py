"""What every augmentation promises: settings that build a worker, Batch → Batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import AfterValidator, Field, model_validator
from torch import Tensor, nn

from augcompress.augmentations.draws import Draws
from augcompress.augmentations.geometry import Filling, identity_matrices, size_of
from augcompress.augmentations.ramp import Ramp, at_level
from augcompress.augmentations.rows import change_rows, move_rows
from augcompress.batch import Batch, Progress
from augcompress.component import Component
from augcompress.storage import digest_json

Loss = Callable[[Batch], Tensor]
"""Loss `(N,)` of the network in training on each sample of a batch, none of which depends on
another one; its gradient reaches the images.  Adversarial augmentations climb it."""


def above_zero(rule: str) -> AfterValidator:
    """Checks that a range starts above 0; `rule` is the message where it does not."""

    def check(limits: tuple[float, float]) -> tuple[float, float]:
        if limits[0] <= 0:
            raise ValueError(rule)
        return limits

    return AfterValidator(check)


def _lowest_first(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"is upside down; write the lower end first: [{limits[1]}, {limits[0]}]")
    return limits


Limits = Annotated[tuple[float, float], AfterValidator(_lowest_first)]
"""The two ends of a range that is drawn from, the lower one first."""

_Share = Annotated[float, Field(ge=0, le=1)]
Shares = Annotated[tuple[_Share, _Share], AfterValidator(_lowest_first)]
"""The two ends, each in [0,1], of a range that is drawn from, the lower one first."""

Fill = Annotated[float, Field(ge=0, le=1)] | Literal["mean", "nearest", "reflect", "noise"]
"""What is seen beyond the image's edge: a grey value, the training set's mean colour, the edge
continued, the image mirrored, or noise, even in [0,1] for every pixel and channel."""


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
    covariance: Callable[[], Tensor] | None = None
    """Covariance `(channels,channels)` of the training images' pixel values in [0,1], computed when
    asked for; None where it is not to be had."""
    fitted: Mapping[str, Path] = field(default_factory=dict)
    """Folders that the stage `augment` had `fit` write into, by `fit_name`."""


class Augmentation(Component, ABC):
    """Settings of one operation on a batch.

    The worker that `build` returns is a module, called as
    `worker(batch, draws, *, progress, loss=None) -> Batch`.  It takes images in [0,1] and keeps
    dtype, shape and range; target rows still sum to 1; the batch it is given stays as it was.
    """

    label_safety: ClassVar[str]
    """For which data the labels do not survive this operation."""
    neutral: ClassVar[Mapping[str, Any]] = {"probability": 0.0}
    """The fields that say how strong it is, each with the value that has no effect: what a ramp
    moves, and, where some of several are named, what the others are."""
    mixes: ClassVar[bool] = False
    """Does it blend a sample with others of its batch?"""
    needs_model: ClassVar[bool] = False
    """Does it need the loss of a network?"""
    fits: ClassVar[bool] = False
    """Does `build` need what `fit` has learned from the training images?"""

    probability: float = Field(1.0, ge=0, le=1)
    """Share of the samples it is applied to; each sample draws for itself."""
    ramp: Ramp | None = None
    """Its strength over training; None: the same throughout."""

    @model_validator(mode="before")
    @classmethod
    def strengths_that_are_not_named_are_off(cls, given: Any) -> Any:
        """Of several strengths: who names one wants no other; who names none, the defaults."""
        several = {name: off for name, off in cls.neutral.items() if name != "probability"}
        if isinstance(given, dict) and len(several) > 1 and several.keys() & given.keys():
            return {**several, **given}
        return given

    @model_validator(mode="after")
    def ramp_moves_strengths_that_there_are(self) -> Self:
        """A ramp can move nothing else."""
        known = {*self.neutral, "probability"}
        for name in () if self.ramp is None else self.ramp.only or ():
            if name not in known:
                raise ValueError(
                    f"ramp.only: {name} is no strength of {self.kind}; there are:"
                    f" {', '.join(sorted(known))}"
                )
        return self

    def at(self, epochs_done: float) -> Self:
        """As it is when this share of the epochs is finished."""
        if self.ramp is None:
            return self
        moved = self.ramp.only or tuple(self.neutral)
        zeros = {name: {"probability": 0.0, **self.neutral}[name] for name in moved}
        return at_level(self, zeros, self.ramp.level(epochs_done))

    @property
    def fit_name(self) -> str:
        """Names what is fitted for these settings; it is the same at every strength."""
        strengths = {"ramp", "probability", *self.neutral}
        return f"{self.kind}-{digest_json(self.model_dump(mode='json', exclude=strengths))[:8]}"

    def fit(
        self, batches: Callable[[], Iterator[Batch]], facts: AugmentationFacts, folder: Path
    ) -> None:
        """Write into `folder` what `build` will read from `facts.fitted[self.fit_name]`.

        `batches()` has the training images once, in order, uint8.
        """

    @abstractmethod
    def build(self, facts: AugmentationFacts) -> nn.Module:
        """The worker."""


class GeometricAugmentation(Augmentation):
    """An operation that only moves pixels, so that neighbours can be fused into one resampling."""

    whole: ClassVar[bool] = False
    """Does every matrix map pixels onto pixels, so that copying is exact?"""

    @abstractmethod
    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        """`(N,2,3)` or `(N,3,3)` matrices as in `geometry`, as if every sample were chosen."""

    def filling(self, facts: AugmentationFacts) -> Filling:
        """What lies outside the image; None where it is never seen."""
        return None

    def build(self, facts: AugmentationFacts) -> GeometricWorker:
        filling = self.filling(facts)
        return GeometricWorker(self.transforms, self.probability, filling, whole=self.whole)


class FilledGeometricAugmentation(GeometricAugmentation):
    """A geometric operation that may show what lies outside the image."""

    fill: Fill = 0.0
    """What comes in from outside: a value in [0,1], "mean", "nearest", "reflect" or "noise"."""

    def filling(self, facts: AugmentationFacts) -> Filling:
        return filling_of(self.fill, facts)


class PixelAugmentation(Augmentation):
    """An operation that changes each image by itself and leaves targets alone."""

    @abstractmethod
    def change(self, images: Tensor, draws: Draws) -> Tensor:
        """The changed images `(N,C,H,W)`: new ones, those given stay."""

    def build(self, facts: AugmentationFacts) -> PixelWorker:
        return PixelWorker(self.change, self.probability)


class PixelWorker(nn.Module):
    """Applies `change(images, draws) -> images` to the chosen samples; targets stay."""

    def __init__(self, change: Callable[[Tensor, Draws], Tensor], probability: float) -> None:
        """`change` gets the chosen samples alone, and their draws: they are as many as chance
        wants, and none may depend on another."""
        super().__init__()
        self.change = change
        self.probability = probability

    def forward(
        self, batch: Batch, draws: Draws, *, progress: Progress, loss: Loss | None = None
    ) -> Batch:
        def change(images: Tensor, rows: Tensor | None) -> Tensor:
            return self.change(images, draws if rows is None else draws.of(rows))

        return change_rows(batch, draws.chosen(self.probability), change)


class GeometricWorker(nn.Module):
    """Moves the pixels of the chosen samples; `matrices` alone serve fusing."""

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
        """`(N,2,3)` or `(N,3,3)` inverse matrices; the identity where a sample is not chosen."""
        chosen = draws.chosen(self.probability)[:, None, None]
        moved = self.transforms(draws, size)
        still = identity_matrices(len(chosen), chosen.device, rows=moved.shape[1])
        return torch.where(chosen, moved, still)

    def forward(
        self, batch: Batch, draws: Draws, *, progress: Progress, loss: Loss | None = None
    ) -> Batch:
        matrices = self.matrices(draws, size_of(batch.images()))
        return move_rows(batch, matrices, self.filling, draws, whole=self.whole)


def filling_of(fill: Fill, facts: AugmentationFacts) -> Filling:
    """The recipe's `fill` for this data: a value per channel, "nearest", "reflect" or "noise"."""
    if fill == "mean":
        return tuple(float(value) for value in facts.mean)
    return fill if isinstance(fill, str) else (float(fill),) * facts.channels
