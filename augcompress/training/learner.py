"""What `fit` is given: a learner, and batches epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor, nn

from augcompress.batch import Batch, Progress


@dataclass(frozen=True)
class Score:
    """How good a network is on validation."""

    value: float
    n: int | None = None
    """Images that a share of right answers stands on; None: the value is no such share."""
    name: str = "top1"
    """The measure."""
    better: Literal["higher", "lower"] = "higher"
    """Which way is better."""
    student: int = 0
    """Of a learner with several students, the number of the one that has this score."""

    settled: bool = True
    """May this epoch be the best one?  Not while a schedule still changes the network."""

    @property
    def sort_key(self) -> float:
        """The value, negative where lower is better."""
        return self.value if self.better == "higher" else -self.value


class Learner(nn.Module):
    """What `fit` trains: students and the objectives' own modules in, named losses out.

    Frozen teachers are kept outside the module tree: they have no gradients and no state.
    """

    reaches_all: bool = True
    """Do the losses depend on every parameter that learns?"""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted losses by name; their sum is minimised."""
        raise TypeError(f"{type(self).__name__} has no forward")

    def score(self) -> Score:
        """Validation score; the best epoch's weights are kept.  Of several students, that of the
        best one, whose number `FitResult.best_student` then is.  With several processes all of
        them ask for it at the same time."""
        raise TypeError(f"{type(self).__name__} has no score")

    def backbone(self) -> Sequence[nn.Module]:
        """The student's layers below its head, from input to output: modules with parameters of
        their own.  What `freeze`, `backbone_lr_scale` and `batch_norm` speak of."""
        return ()

    def head(self) -> Sequence[nn.Parameter]:
        """The student's parameters that make its logits of its features: what is trained where the
        layers below are not."""
        return ()

    def networks(self) -> Sequence[nn.Module]:
        """The networks whose forward pass `compile` compiles."""
        return ()

    def on_progress(self, progress: Progress) -> None:
        """Called before each step."""

    def after_backward(self) -> None:
        """Called when gradients are there and before the optimiser reads them."""

    def after_step(self) -> None:
        """Called when the optimiser has changed the weights: masks and clips go here."""


class EpochBatches(Protocol):
    """Batches of one epoch after the other; `start_step` skips without decoding."""

    def __len__(self) -> int: ...
    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]: ...
