"""Distillation with the target class and the others apart."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from augcompress.errors import AugcompressError
from augcompress.objectives.base import ObjectiveFacts, ObjectiveSettings, View, teacher_logits


class Decoupled(ObjectiveSettings):
    """Match how sure the teacher is of the true class, and how it ranks the others, with a weight
    each (DKD, Zhao et al. 2022, https://arxiv.org/abs/2203.08679).

    T² · (alpha · TCKD + beta · NCKD), mean over the batch.  Soft labels count by their largest
    class.  The soft targets of several teachers are averaged first.
    """

    kind: Literal["decoupled"] = "decoupled"
    needs_teacher: ClassVar[bool] = True

    temperature: float = Field(4.0, gt=0)
    """Softmax temperature of both networks."""
    alpha: float = Field(1.0, ge=0)
    """Factor of the divergence between target class and all others."""
    beta: float = Field(8.0, ge=0)
    """Factor of the divergence among the other classes; the paper takes 1 to 10, larger where the
    teacher is surer of the true class."""

    def build(self, facts: ObjectiveFacts) -> nn.Module:
        return DecoupledLoss(self)


def decoupled_divergences(
    student: Tensor, teacher: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """TCKD and NCKD, each a mean over the batch: scalars, in nats.

    `student` and `teacher` are logits, divided by the temperature, `(N,classes)`; `target` the
    true classes, `(N,)`.  TCKD is KL(teacher ‖ student) of target against all others, NCKD that of
    the distribution over the others.
    """
    own = F.one_hot(target, student.shape[1]).bool()
    pairs = [_target_and_others(logits, own) for logits in (student, teacher)]
    (student_two, student_others), (teacher_two, teacher_others) = pairs
    target_class = F.kl_div(student_two, teacher_two, reduction="batchmean", log_target=True)
    others = F.kl_div(student_others, teacher_others, reduction="batchmean", log_target=True)
    return target_class, others


def _target_and_others(logits: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of target and not target, `(N,2)`, and of the others among themselves,
    `(N,classes-1)`."""
    target = logits[own].unsqueeze(1)
    others = logits[~own].view(len(logits), -1)
    binary = torch.cat([target, others.logsumexp(1, keepdim=True)], dim=1)
    return F.log_softmax(binary, dim=1), F.log_softmax(others, dim=1)


class DecoupledLoss(nn.Module):
    """The worker of `decoupled`."""

    def __init__(self, settings: Decoupled) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, view: View) -> Tensor:
        settings, temperature = self.settings, self.settings.temperature
        if view.targets is None:
            raise AugcompressError(
                "objective decoupled: the batch has no labels; give labelled images, or use"
                " soft_targets"
            )
        teachers = [
            each.to(view.student_logits.dtype) for each in teacher_logits(view, "decoupled")
        ]
        softened = torch.stack([F.log_softmax(each / temperature, dim=1) for each in teachers])
        teacher = softened.logsumexp(0) - math.log(len(teachers))  # log of the mean probability
        student = view.student_logits / temperature
        own, others = decoupled_divergences(student, teacher, view.targets.argmax(1))
        return temperature**2 * (settings.alpha * own + settings.beta * others)
