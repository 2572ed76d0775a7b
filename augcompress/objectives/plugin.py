"""An objective of the user's own."""

from __future__ import annotations

from pydantic import Field
from torch import nn

from augcompress.component import Plugin
from augcompress.objectives.base import ObjectiveFacts, ObjectiveSettings, Taps


class ObjectivePlugin(Plugin):
    """A class of the user's own whose `forward(view)` gives a scalar, the mean over the batch.

    A `torch.nn.Module`, made from `options` and those of `classes`, `samples` that its constructor
    takes; or a subclass of `augcompress.objectives.ObjectiveSettings`, made from `options`, whose
    own `taps` count.  `weight` is always the one given here.
    """

    weight: float = Field(1.0, ge=0)
    """Factor of this term in the sum of all objectives."""
    needs_teacher: bool = False
    """Whether the class reads the teacher."""
    student_layers: tuple[str, ...] = ()
    """Layers of the student that a `torch.nn.Module` finds in `view.student_features`."""
    teacher_layers: tuple[str, ...] = ()
    """Layers of the teacher that a `torch.nn.Module` finds in `view.teacher_features`."""

    def taps(self) -> Taps:
        """The layers that `forward` finds in the view; imports the class."""
        if issubclass(self.load(), ObjectiveSettings):
            return self.component(ObjectiveSettings).taps()
        return Taps(student=self.student_layers, teacher=self.teacher_layers)

    def build(self, facts: ObjectiveFacts) -> nn.Module:
        """The user's loss module."""
        if issubclass(self.load(), ObjectiveSettings):
            return self.component(ObjectiveSettings).build(facts)
        return self.module(nn.Module, classes=facts.classes, samples=facts.samples)
