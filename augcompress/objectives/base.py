"""What an objective is: settings that build a loss module, which reads a view of one batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from augcompress.component import Component
from augcompress.errors import AugcompressError


@dataclass(frozen=True)
class ObjectiveFacts:
    """What an objective must know before it builds its own modules."""

    samples: int
    """Rows of a memory bank: one more than the largest `View.index`."""
    classes: int
    """Length of the logits."""
    student_shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Shape of each tapped student feature, without the batch: `(C,H,W)`."""
    teacher_shapes: tuple[dict[str, tuple[int, ...]], ...] = ()
    """Of each teacher, the shape of each tapped feature, without the batch: `(C,H,W)`."""


def identity(tensor: Tensor) -> Tensor:
    """The gather of a single process."""
    return tensor


@dataclass(frozen=True)
class View:
    """One batch as the objectives see it."""

    student_logits: Tensor
    """`(N,classes)`, with gradient."""
    teacher_logits: list[Tensor]
    """`(N,classes)` of each teacher; empty without a teacher."""
    targets: Tensor | None
    """Soft labels `(N,classes)`, rows sum to 1; None where unlabelled."""
    index: Tensor
    """`(N,)` int64: the samples' positions in the source of the training images."""
    student_features: dict[str, Tensor] = field(default_factory=dict)
    """The tapped layers of the student, by name."""
    teacher_features: list[dict[str, Tensor]] = field(default_factory=list)
    """The tapped layers of each teacher, by name."""
    gather: Callable[[Tensor], Tensor] = identity
    """The tensors of all processes, one below the other: of any tensor that grows with the batch
    (`index` too).  A memory bank must be written with gathered rows, or it differs by process."""


@dataclass(frozen=True)
class Taps:
    """The layers whose outputs an objective reads."""

    student: tuple[str, ...] = ()
    teacher: tuple[str, ...] = ()


class ObjectiveSettings(Component):
    """A term of the training loss.  `build` gives a module: `forward(view)` is a scalar, the mean
    over the batch, without `weight`."""

    needs_teacher: ClassVar[bool] = False
    reads_layers: ClassVar[bool] = False
    """Does it read layers of both networks even where it names none?"""

    weight: float = Field(1.0, ge=0)
    """Factor of this term in the sum of all objectives."""

    def taps(self) -> Taps:
        """The layers that `forward` finds in the view; none by default."""
        return Taps()

    @abstractmethod
    def build(self, facts: ObjectiveFacts) -> nn.Module:
        """The loss module, with freshly initialised parameters where it has any."""


def teacher_logits(view: View, kind: str) -> list[Tensor]:
    """The teachers' logits, cut off from the gradient.  Raises AugcompressError without teacher."""
    if not view.teacher_logits:
        raise AugcompressError(
            f"objective {kind}: has no teacher; train or name one, or use labels alone"
        )
    return [logits.detach() for logits in view.teacher_logits]
