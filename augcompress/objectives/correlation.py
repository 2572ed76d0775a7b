"""Distillation of relations between classes and between samples."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from augcompress.objectives.base import ObjectiveFacts, ObjectiveSettings, View, teacher_logits
from augcompress.objectives.soft_targets import soft_probabilities


class Correlation(ObjectiveSettings):
    """Correlate with the teacher's probabilities instead of matching them, for teachers that are
    much stronger than the student (DIST, Huang et al. 2022, https://arxiv.org/abs/2205.10536).

    T² · (beta · (1 - r between classes) + gamma · (1 - r within classes)): r is Pearson's, over the
    classes of a sample, mean over the batch, and over the batch of a class, mean over the classes.
    The soft targets of several teachers are averaged first.
    """

    kind: Literal["correlation"] = "correlation"
    needs_teacher: ClassVar[bool] = True

    temperature: float = Field(1.0, gt=0)
    """Softmax temperature of both networks; the paper takes 1 and 4."""
    beta: float = Field(1.0, ge=0)
    """Factor of the relation between classes, sample by sample."""
    gamma: float = Field(1.0, ge=0)
    """Factor of the relation between samples, class by class."""

    def build(self, facts: ObjectiveFacts) -> nn.Module:
        return CorrelationLoss(self)


def pearson(first: Tensor, second: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Pearson's correlation of the rows of two tensors `(N,K)`: `(N,)`; 0 of a constant row."""
    first = first - first.mean(1, keepdim=True)
    second = second - second.mean(1, keepdim=True)
    return F.cosine_similarity(first, second, dim=1, eps=epsilon)


def correlation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """`1 - r` of the rows of two tensors `(N,K)`, their mean: a scalar from 0, the same up to scale
    and shift, to 2."""
    return 1 - pearson(student, teacher).mean()


class CorrelationLoss(nn.Module):
    """The worker of `correlation`."""

    def __init__(self, settings: Correlation) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, view: View) -> Tensor:
        settings, temperature = self.settings, self.settings.temperature
        student = F.softmax(view.student_logits / temperature, dim=1)
        teachers = [logits.to(student.dtype) for logits in teacher_logits(view, settings.kind)]
        teacher = soft_probabilities(teachers, temperature)
        between = correlation_loss(student, teacher)
        within = correlation_loss(view.gather(student).T, view.gather(teacher).T)
        return temperature**2 * (settings.beta * between + settings.gamma * within)
