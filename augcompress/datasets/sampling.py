"""Sampling: which images an epoch shows, how often, and in which order."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from augcompress.component import Component
from augcompress.datasets.drawing import allot


class Balancing(Component, ABC):
    """What is done about classes that have more images than others."""

    def quotas(self, counts: np.ndarray) -> np.ndarray:
        """How many samples of each class an epoch shows, from how many there are; `(classes,)`."""
        return counts

    def emphasis(self, counts: np.ndarray) -> np.ndarray:
        """Factor of every augmentation's probability, for each class; `(classes,)`."""
        return np.ones(len(counts))


class Balanced(Balancing):
    """Every class equally often, in an epoch as long as before (class-balanced sampling, Kang et
    al. 2020, arXiv:1910.09217).

    Images of rare classes come again, and of frequent ones some are left out.  Shares are exact and
    each image of a class comes equally often (but for one time); the paper draws at random.
    """

    kind: Literal["balanced"] = "balanced"

    def quotas(self, counts: np.ndarray) -> np.ndarray:
        return shared_out((counts > 0).astype(float), int(counts.sum()))


class SquareRoot(Balancing):
    """Every class in proportion to the square root of its size, in an epoch as long as before
    (square-root sampling, Mahajan et al. 2018, arXiv:1805.00932): half-way to `balanced`."""

    kind: Literal["square_root"] = "square_root"

    def quotas(self, counts: np.ndarray) -> np.ndarray:
        return shared_out(np.sqrt(counts), int(counts.sum()))


class LabelShuffle(Balancing):
    """Every class as often as the largest has images, in a longer epoch: no image is left out
    (class-aware sampling, Shen et al. 2016, arXiv:1512.05830; known as label shuffling)."""

    kind: Literal["label_shuffle"] = "label_shuffle"

    def quotas(self, counts: np.ndarray) -> np.ndarray:
        return np.where(counts > 0, counts.max(), 0)


class UnderSampling(Balancing):
    """Every class as often as the smallest has images, in a shorter epoch; other images in each."""

    kind: Literal["under_sampling"] = "under_sampling"

    def quotas(self, counts: np.ndarray) -> np.ndarray:
        return np.where(counts > 0, counts[counts > 0].min(), 0)


class RareStrength(Balancing):
    """Every image once, those of rare classes augmented more often: probabilities are multiplied by
    (median class size / class size)^power, after the median frequency balancing of losses (Eigen &
    Fergus 2015, arXiv:1411.4734).

    Only augmentations with a probability below 1 have room for more.
    """

    kind: Literal["rare_strength"] = "rare_strength"
    power: float = Field(0.5, gt=0, le=1)
    """How strongly the factor follows the class size: 1 inversely, 0.5 by the square root."""
    most: float = Field(4.0, ge=1)
    """Largest factor."""

    def emphasis(self, counts: np.ndarray) -> np.ndarray:
        median = np.median(counts[counts > 0])
        return np.minimum((median / np.maximum(counts, 1)) ** self.power, self.most)


ClassBalance = Annotated[
    Balanced | SquareRoot | LabelShuffle | UnderSampling | RareStrength, Field(discriminator="kind")
]
"""Everything that can be done about classes of unequal size."""


def shared_out(weights: np.ndarray, total: int) -> np.ndarray:
    """`total` samples shared out in proportion to `weights`, by largest remainder."""
    return allot(weights, total, np.where(weights > 0, total, 0))


def class_counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """How many samples each class has, `(classes,)`."""
    return np.bincount(labels, minlength=classes)


def by_quota(
    labels: np.ndarray, quotas: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Positions in random order, each class as often as `quotas` `(classes,)` says, with the view
    of each: how often it has been there before.  A class's samples take turns."""
    sizes = class_counts(labels, len(quotas))
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
    turns = [np.arange(quota) for quota in quotas]
    positions = [
        random.permutation(own)[turn % max(len(own), 1)]
        for own, turn in zip(members, turns, strict=True)
    ]
    views = [turn // max(size, 1) for turn, size in zip(turns, sizes, strict=True)]
    order = random.permutation(int(quotas.sum()))
    return np.concatenate(positions)[order], np.concatenate(views)[order]


@dataclass(frozen=True, eq=False)
class Order:
    """The samples of each epoch in their order, a function of (seed, epoch) alone: not of the batch
    size, of the processes, nor of where a run resumes."""

    count: int
    """Samples of the split."""
    seed: int
    shuffle: bool
    """Only what is shuffled can be balanced."""
    repeat: int = 1
    """How often each sample stands side by side with itself, each time as another view."""
    labels: np.ndarray | None = None
    """`(count,)` class numbers; balancing needs them."""
    quotas: np.ndarray | None = None
    """`(classes,)` samples of each class in an epoch, before repeating; None: every sample once."""

    def __len__(self) -> int:
        """Samples in an epoch."""
        return (self.count if self.quotas is None else int(self.quotas.sum())) * self.repeat

    def epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions in the split, and the view of each; both int64 `(len,)`."""
        positions, views = self._once(epoch)
        again = np.tile(np.arange(self.repeat), len(positions))
        return positions.repeat(self.repeat), views.repeat(self.repeat) * self.repeat + again

    def _once(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng((self.seed, epoch))
        if self.labels is not None and self.quotas is not None:
            return by_quota(self.labels, self.quotas, random)
        order = random.permutation(self.count) if self.shuffle else np.arange(self.count)
        return order, np.zeros(self.count, dtype=np.int64)
