"""RandAugment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from augcompress.augmentations.draws import Draws
from augcompress.augmentations.policy import PolicyAugmentation
from augcompress.augmentations.policy_magnitudes import plan_of, table, whole_number
from augcompress.augmentations.policy_operations import Plan


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
