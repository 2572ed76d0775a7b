"""Feature maps of student and teacher, matched layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import torch
from pydantic import model_validator
from torch import Tensor

from augcompress.errors import AugcompressError
from augcompress.objectives.base import ObjectiveSettings, Taps, View

Shapes = Mapping[str, Sequence[int]]
"""Shapes of layers' outputs without the batch, by name."""


class MatchedLayers(ObjectiveSettings):
    """An objective that compares layers of the student with layers of its one teacher."""

    needs_teacher: ClassVar[bool] = True
    reads_layers: ClassVar[bool] = True
    deepest: ClassVar[int | None] = None
    """How many of the matched layers count where none are named, from the output; None: all."""

    student_layers: tuple[str, ...] | None = None
    """Names of the student's layers: `[layer2, layer3]`.  None: the last layers before the size of
    its feature maps changes, where the teacher has maps of the same size, else as deep."""
    teacher_layers: tuple[str, ...] | None = None
    """Names of the teacher's layers, one for each of the student's.  None: those that match."""

    @model_validator(mode="after")
    def layers_are_pairs(self) -> Self:
        """Both or none, and as many."""
        ours, theirs = self.student_layers, self.teacher_layers
        if (ours is None) != (theirs is None) or len(ours or ()) != len(theirs or ()):
            raise ValueError(
                "student_layers: names as many layers as teacher_layers; give pairs, or neither"
            )
        return self

    def taps(self) -> Taps:
        return Taps(student=self.student_layers or (), teacher=self.teacher_layers or ())

    def with_layers(self, student: Shapes, teacher: Shapes) -> Self:
        """The same with named layers: those given, else pairs of the stages' ends.

        Raises AugcompressError where the networks have no feature maps.
        """
        if self.student_layers is not None:
            return self
        pairs = matched(student, teacher)
        if not pairs:
            raise AugcompressError(
                f"objective {self.kind}: finds no feature maps to match; name student_layers and"
                " teacher_layers"
            )
        ours, theirs = zip(*pairs[-self.deepest :] if self.deepest else pairs, strict=True)
        return self.model_copy(update={"student_layers": ours, "teacher_layers": theirs})

    def pairs(self, view: View) -> list[tuple[Tensor, Tensor]]:
        """The matched features, the teacher's cut off from the gradient.

        Raises AugcompressError unless there is exactly one teacher.
        """
        if len(view.teacher_features) != 1:
            raise AugcompressError(
                f"objective {self.kind}: has {len(view.teacher_features)} teachers; give exactly"
                " one, or use soft_targets"
            )
        ours, theirs = view.student_features, view.teacher_features[0]
        layers = zip(self.student_layers or (), self.teacher_layers or (), strict=True)
        return [_in_full(ours[own], theirs[other].detach()) for own, other in layers]


def _in_full(own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """In fp32 at least; features are half precision under autocast."""
    precision = torch.promote_types(own.dtype, torch.float32)
    return own.to(precision), other.to(precision)


def matched(student: Shapes, teacher: Shapes) -> list[tuple[str, str]]:
    """Layers of equal height and width; where no two are equal, the deepest with the deepest."""
    sizes = {tuple(shape[1:]): name for name, shape in teacher.items()}
    equal = [(n, sizes[size]) for n, s in student.items() if (size := tuple(s[1:])) in sizes]
    return equal or list(zip(reversed(list(student)), reversed(list(teacher)), strict=False))[::-1]
