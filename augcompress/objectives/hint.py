"""Distillation of a hidden layer."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from augcompress.errors import AugcompressError
from augcompress.objectives.base import ObjectiveFacts, ObjectiveSettings, Taps, View


class Hint(ObjectiveSettings):
    """Match a feature map of the teacher through a learned 1x1 regressor (FitNets, Romero et al.
    2015, https://arxiv.org/abs/1412.6550).

    Squared difference, mean over batch, channels and positions (the paper: half the sum).  Where
    the maps differ in size, the larger is average-pooled to the smaller.
    """

    kind: Literal["hint"] = "hint"
    needs_teacher: ClassVar[bool] = True

    student_layer: str
    """Name of the student's guided layer: `layer2`."""
    teacher_layer: str
    """Name of the teacher's hint layer: `layer2`."""

    def taps(self) -> Taps:
        return Taps(student=(self.student_layer,), teacher=(self.teacher_layer,))

    def build(self, facts: ObjectiveFacts) -> nn.Module:
        student = _channels(facts.student_shapes, self.student_layer, "student")
        shapes = facts.teacher_shapes[0] if facts.teacher_shapes else {}
        teacher = _channels(shapes, self.teacher_layer, "teacher")
        return HintLoss(self, student, teacher)


def _channels(shapes: dict[str, tuple[int, ...]], layer: str, side: str) -> int:
    shape = shapes.get(layer, ())
    if len(shape) != 3:
        raise AugcompressError(
            f"objective hint: {side}_layer {layer} has shape {tuple(shape)}, not (C,H,W);"
            " name a layer that gives a feature map"
        )
    return shape[0]


def same_size(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps average-pooled to the smaller height and width."""
    height = min(first.shape[2], second.shape[2])
    width = min(first.shape[3], second.shape[3])
    return _pooled(first, height, width), _pooled(second, height, width)


def _pooled(features: Tensor, height: int, width: int) -> Tensor:
    if features.shape[2:] == (height, width):
        return features
    return F.adaptive_avg_pool2d(features, (height, width))


def hint_loss(regressed: Tensor, hint: Tensor) -> Tensor:
    """Mean squared difference of two maps `(N,C,H,W)` over all their elements: a scalar."""
    return (regressed - hint).square().mean()


class HintLoss(nn.Module):
    """The worker of `hint`; `regressor` maps the student's channels to the teacher's."""

    def __init__(self, settings: Hint, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.settings = settings
        self.regressor = nn.Conv2d(student_channels, teacher_channels, 1)

    def forward(self, view: View) -> Tensor:
        if len(view.teacher_features) != 1:
            raise AugcompressError(
                f"objective hint: has {len(view.teacher_features)} teachers;"
                " give exactly one, or use soft_targets"
            )
        student = view.student_features[self.settings.student_layer]
        teacher = view.teacher_features[0][self.settings.teacher_layer].detach()
        precision = self.regressor.weight.dtype  # features are half precision under autocast
        student, teacher = same_size(student.to(precision), teacher.to(precision))
        return hint_loss(self.regressor(student), teacher)
