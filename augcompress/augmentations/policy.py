"""Plans drawn for each sample and carried out for all: RandAugment, TrivialAugment, their base."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from augcompress.augmentations.base import (
    Augmentation,
    AugmentationFacts,
    Fill,
    PixelWorker,
    filling_of,
)
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.geometry import Filling, outside_of, size_of
from augcompress.augmentations.policy_magnitudes import plan_of, table, whole_number
from augcompress.augmentations.policy_operations import (
    OPERATIONS,
    Interpolation,
    Moving,
    Plan,
    apply_plan,
)


class PolicyAugmentation(Augmentation):
    """Operations that every sample chooses for itself."""

    interpolation: Interpolation = "nearest"
    """How pixels are read where they move: copied, or blended from four."""
    fill: Fill = 0.0
    """What comes in from outside: a value in [0,1], "mean", "nearest", "reflect" or "noise"."""

    @abstractmethod
    def plan(self, draws: Draws, size: tuple[int, int]) -> Plan:
        """What is done to each sample, as if all were chosen."""

    def change(self, images: Tensor, draws: Draws, filling: Filling) -> Tensor:
        """The images `(N,C,H,W)` with a plan of their own carried out."""
        plan = self.plan(draws, size_of(images))
        for number, column in enumerate(plan.operation.unbind(1), start=1):
            draws.tell(OPERATIONS, **{f"operation_{number}": column})
        for number, column in enumerate(plan.magnitude.unbind(1), start=1):
            draws.tell(None, **{f"magnitude_{number}": column})
        moving = Moving(self.interpolation, outside_of(filling, images, draws))
        return apply_plan(images, plan, moving)

    def build(self, facts: AugmentationFacts) -> PixelWorker:
        change = partial(self.change, filling=filling_of(self.fill, facts))
        return PixelWorker(change, self.probability)


class RandAugment(PolicyAugmentation):
    """A few operations, each drawn evenly from fourteen and all of one strength (Cubuk et al. 2020,
    arXiv:1909.13719).

    Operations, strengths and defaults are torchvision's `RandAugment`, with its values on float
    images; every sample draws its own operations, in the same batch.  Operations may repeat, and
    one of them is to do nothing.  On images that are not RGB, Color does nothing.
    """

    label_safety: ClassVar[str] = (
        "classes told apart by colour, angle or place; fine detail, which strong levels wipe out"
    )

    neutral: ClassVar[Mapping[str, Any]] = {"probability": 0.0, "magnitude": 0}

    kind: Literal["rand_augment"] = "rand_augment"
    num_ops: int = Field(2, ge=1)
    """Operations for each sample, drawn evenly and one after the other."""
    magnitude: int = Field(9, ge=0)
    """Strength of all of them, from 0 to num_magnitude_bins - 1; where there are two directions,
    every second draw takes the other one."""
    num_magnitude_bins: int = Field(31, ge=2)
    """Levels from none to full strength."""

    @model_validator(mode="after")
    def magnitude_is_a_level(self) -> RandAugment:
        """The levels are numbered from 0."""
        if self.magnitude >= self.num_magnitude_bins:
            highest = self.num_magnitude_bins - 1
            raise ValueError(
                f"magnitude {self.magnitude} is above the highest level, {highest}; lower it or"
                " raise num_magnitude_bins"
            )
        return self

    def plan(self, draws: Draws, size: tuple[int, int]) -> Plan:
        own = table(self.kind, self.num_magnitude_bins, size, draws.device)
        which, sign = draws.uniform(2 * self.num_ops).split(self.num_ops, dim=1)
        choice = whole_number(which, len(own.operation))
        return plan_of(own, choice, torch.full_like(choice, self.magnitude), sign)


class TrivialAugment(PolicyAugmentation):
    """One operation, drawn evenly from fourteen, at a strength drawn evenly too: nothing to tune
    (Müller & Hutter 2021, arXiv:2103.10158, the wide space).

    Operations and strengths are torchvision's `TrivialAugmentWide`, with its values on float
    images; every sample draws its own.  Shifts reach 32 pixels at every size of the images, so
    that small ones can leave the frame; doing nothing is one of the operations.  On images that are
    not RGB, Color does nothing.
    """

    label_safety: ClassVar[str] = (
        "classes told apart by colour, angle (it turns up to 135 degrees) or place"
    )

    kind: Literal["trivial_augment"] = "trivial_augment"
    num_magnitude_bins: int = Field(31, ge=2)
    """Levels from none to full strength, equally likely; where there are two directions, so are
    they."""

    def plan(self, draws: Draws, size: tuple[int, int]) -> Plan:
        own = table(self.kind, self.num_magnitude_bins, size, draws.device)
        which, level, sign = draws.uniform(3).split(1, dim=1)
        choice = whole_number(which, len(own.operation))
        return plan_of(own, choice, whole_number(level, self.num_magnitude_bins), sign)
