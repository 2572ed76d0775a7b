"""Cross-entropy with the labels."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from augcompress.errors import AugcompressError
from augcompress.objectives.base import ObjectiveFacts, ObjectiveSettings, View


class Labels(ObjectiveSettings):
    """Match the labels: cross-entropy with hard or soft labels, mean over the batch.

    Label smoothing as in Szegedy et al. 2015 (https://arxiv.org/abs/1512.00567).  Class weights
    multiply the classes' terms; the sum is divided by the batch size, not by the weights' sum.
    """

    kind: Literal["labels"] = "labels"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each label that is spread evenly over all classes."""
    class_weights: tuple[Annotated[float, Field(ge=0)], ...] | None = None
    """One factor per class, in the order of the labels; None: all 1."""

    def build(self, facts: ObjectiveFacts) -> nn.Module:
        weights = self.class_weights
        if weights is not None and len(weights) != facts.classes:
            raise AugcompressError(
                f"objective labels: class_weights has {len(weights)} entries for {facts.classes}"
                " classes; give one per class"
            )
        return LabelsLoss(self.label_smoothing, None if weights is None else torch.tensor(weights))


def soft_cross_entropy(
    logits: Tensor, targets: Tensor, *, smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """`-sum_c w_c t_c log softmax(logits)_c`, mean over the batch: a scalar, in nats.

    `logits` and `targets` `(N,classes)`, rows of `targets` sum to 1 and are smoothed first;
    `weights` `(classes,)`.
    """
    targets = targets.to(logits.dtype)
    weights = None if weights is None else weights.to(logits.dtype)
    return F.cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing)


class LabelsLoss(nn.Module):
    """The worker of `labels`."""

    weights: Tensor | None

    def __init__(self, smoothing: float, weights: Tensor | None) -> None:
        super().__init__()
        self.smoothing = smoothing
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, view: View) -> Tensor:
        if view.targets is None:
            raise AugcompressError(
                "objective labels: the batch has no labels; give labelled images or only objectives"
                " of the teacher"
            )
        return soft_cross_entropy(
            view.student_logits, view.targets, smoothing=self.smoothing, weights=self.weights
        )
