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

    `focal` makes it the focal loss (Lin et al. 2017, https://arxiv.org/abs/1708.02002): what is
    known already counts less.  `hard_examples` learns from a batch's images with the largest losses
    alone (online hard example mining, Shrivastava et al. 2016, https://arxiv.org/abs/1604.03540).
    """

    kind: Literal["labels"] = "labels"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each label that is spread evenly over all classes."""
    class_weights: tuple[Annotated[float, Field(ge=0)], ...] | None = None
    """One factor per class, in the order of the labels; None: all 1."""
    focal: float = Field(0.0, ge=0)
    """Exponent of `1 - p`, the factor of each class's term, p its probability: 2 in the paper."""
    hard_examples: float = Field(1.0, gt=0, le=1)
    """Share of the batch's images, those with the largest losses, that the mean is taken over; each
    process takes its own."""

    def build(self, facts: ObjectiveFacts) -> nn.Module:
        weights = self.class_weights
        if weights is not None and len(weights) != facts.classes:
            raise AugcompressError(
                f"objective labels: class_weights has {len(weights)} entries for {facts.classes}"
                " classes; give one per class"
            )
        return LabelsLoss(self, None if weights is None else torch.tensor(weights))


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


def focal_losses(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma: float,
    smoothing: float = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """`-sum_c w_c t_c (1 - p_c)^gamma log p_c` with `p = softmax(logits)` of each sample, `(N,)` in
    nats; arguments as for `soft_cross_entropy`, which is its mean at `gamma` 0."""
    targets = targets.to(logits.dtype) * (1 - smoothing) + smoothing / logits.shape[1]
    logs = F.log_softmax(logits, dim=1)
    terms = (
        -targets * (-logs.expm1()).clamp(min=1e-12) ** gamma * logs if gamma else -targets * logs
    )
    return (terms if weights is None else terms * weights.to(logits.dtype)).sum(1)


def hardest(losses: Tensor, share: float) -> Tensor:
    """The mean of the largest of the losses `(N,)`, `share` of them and at least one: a scalar."""
    return losses.topk(max(1, round(share * len(losses)))).values.mean()


class LabelsLoss(nn.Module):
    """The worker of `labels`."""

    weights: Tensor | None

    def __init__(self, settings: Labels, weights: Tensor | None) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, view: View) -> Tensor:
        if view.targets is None:
            raise AugcompressError(
                "objective labels: the batch has no labels; give labelled images or only objectives"
                " of the teacher"
            )
        settings, weights = self.settings, self.weights
        logits, targets, smoothing = view.student_logits, view.targets, settings.label_smoothing
        if not settings.focal and settings.hard_examples == 1:
            return soft_cross_entropy(logits, targets, smoothing=smoothing, weights=weights)
        losses = focal_losses(
            logits, targets, gamma=settings.focal, smoothing=smoothing, weights=weights
        )
        return hardest(losses, settings.hard_examples)
