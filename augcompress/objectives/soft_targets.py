"""Distillation by soft targets."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from augcompress.errors import AugcompressError
from augcompress.objectives.base import ObjectiveFacts, ObjectiveSettings, View, teacher_logits


class SoftTargets(ObjectiveSettings):
    """Match the teacher's softened class probabilities (Hinton et al. 2015,
    https://arxiv.org/abs/1503.02531).

    T² · KL(teacher ‖ student), summed over the classes, mean over the batch.  The soft targets of
    several teachers are averaged first.
    """

    kind: Literal["soft_targets"] = "soft_targets"
    needs_teacher: ClassVar[bool] = True

    temperature: float = Field(4.0, gt=0)
    """Softmax temperature of both networks."""
    standardize: bool = False
    """Bring each sample's logits to mean 0 and standard deviation 1 first, so that only their
    pattern counts (Sun et al. 2024, https://arxiv.org/abs/2403.01528)."""
    teacher_weights: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(None, min_length=1)
    """Share of each teacher, divided by their sum; None: all the same."""

    def build(self, facts: ObjectiveFacts) -> nn.Module:
        return SoftTargetsLoss(self)


def standardized(logits: Tensor, epsilon: float = 1e-7) -> Tensor:
    """`(N,classes)`: each row with mean 0 and (unbiased) standard deviation 1."""
    mean = logits.mean(1, keepdim=True)
    return (logits - mean) / (logits.std(1, keepdim=True) + epsilon)


def soft_probabilities(
    logits: list[Tensor], temperature: float, shares: tuple[float, ...] | None = None
) -> Tensor:
    """The mean over the teachers of `softmax(logits / temperature)`, weighted by `shares`; each
    teacher's logits and the result are `(N,classes)`."""
    parts = torch.stack([F.softmax(each / temperature, dim=1) for each in logits])
    if shares is None:
        return parts.mean(0)
    factors = parts.new_tensor(shares) / sum(shares)
    return torch.einsum("t,tnc->nc", factors, parts)  # (batch, classes)


def soft_target_loss(student: Tensor, probabilities: Tensor, temperature: float) -> Tensor:
    """`T² · KL(probabilities ‖ softmax(student / T))`, mean over the batch: a scalar, in nats.

    `student` are logits and `probabilities` the softened targets, both `(N,classes)`.
    """
    log_student = F.log_softmax(student / temperature, dim=1)
    divergence = F.kl_div(log_student, probabilities, reduction="batchmean")
    return temperature**2 * divergence


class SoftTargetsLoss(nn.Module):
    """The worker of `soft_targets`."""

    def __init__(self, settings: SoftTargets) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, view: View) -> Tensor:
        settings, student = self.settings, view.student_logits
        teachers = [logits.to(student.dtype) for logits in teacher_logits(view, settings.kind)]
        _check_shares(settings.teacher_weights, len(teachers))
        if settings.standardize:
            student, teachers = standardized(student), [standardized(each) for each in teachers]
        targets = soft_probabilities(teachers, settings.temperature, settings.teacher_weights)
        return soft_target_loss(student, targets, settings.temperature)


def _check_shares(shares: tuple[float, ...] | None, teachers: int) -> None:
    if shares is not None and len(shares) != teachers:
        raise AugcompressError(
            f"objective soft_targets: teacher_weights has {len(shares)} entries for {teachers}"
            " teachers; give one per teacher"
        )
