"""TrivialAugment."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from augcompress.augmentations.draws import Draws
from augcompress.augmentations.policy import PolicyAugmentation
from augcompress.augmentations.policy_magnitudes import plan_of, table, whole_number
from augcompress.augmentations.policy_operations import Plan


class TrivialAugment(PolicyAugmentation):
    """One operation, drawn evenly from fourteen, at a strength drawn evenly too: nothing to tune
    (Müller & Hutter 2021, arXiv:2103.10158, the wide space).

    Operations and strengths are torchvision's `TrivialAugmentWide`, with its values on float
    images; every sample draws its own.  Shifts reach 32 pixels whatever the size of the images, so
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
