"""What the policies have in common: a plan drawn for each sample, then carried out for all."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from augcompress.augmentations.base import (
    Augmentation,
    AugmentationFacts,
    Fill,
    Loss,
    filling_of,
)
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.geometry import Filling, outside_of
from augcompress.augmentations.policy_operations import (
    OPERATIONS,
    Interpolation,
    Moving,
    Plan,
    apply_plan,
)
from augcompress.batch import Batch, Progress


def size_of(images: Tensor) -> tuple[int, int]:
    """Height and width in pixels."""
    return images.shape[-2], images.shape[-1]


class PolicyAugmentation(Augmentation):
    """Operations that every sample chooses for itself."""

    interpolation: Interpolation = "nearest"
    """How pixels are read where they move: copied, or blended from four."""
    fill: Fill = 0.0
    """What comes in from outside: a value in [0,1], "mean", "nearest", "reflect" or "noise"."""

    @abstractmethod
    def plan(self, draws: Draws, size: tuple[int, int]) -> Plan:
        """What is done to each sample, as if all were chosen."""

    def build(self, facts: AugmentationFacts) -> nn.Module:
        return PolicyWorker(self, filling_of(self.fill, facts))


class PolicyWorker(nn.Module):
    """Carries the plan out on the chosen samples; targets stay."""

    def __init__(self, settings: PolicyAugmentation, filling: Filling) -> None:
        super().__init__()
        self.settings, self.filling = settings, filling

    def forward(
        self, batch: Batch, draws: Draws, *, progress: Progress, loss: Loss | None = None
    ) -> Batch:
        images, chosen = batch.images(), draws.chosen(self.settings.probability)
        plan = self.settings.plan(draws, size_of(images)).where(chosen[:, None])
        for number, column in enumerate(plan.operation.unbind(1), start=1):
            draws.tell(OPERATIONS, **{f"operation_{number}": column})
        for number, column in enumerate(plan.magnitude.unbind(1), start=1):
            draws.tell(None, **{f"magnitude_{number}": column})
        moving = Moving(self.settings.interpolation, outside_of(self.filling, images, draws))
        return batch.with_images(apply_plan(images, plan, moving))
