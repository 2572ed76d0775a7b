"""The `training` section of a stage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from augcompress.component import NotInKey, Section
from augcompress.measures import SelectBy
from augcompress.training.averaging import Ema
from augcompress.training.freezing import Freeze
from augcompress.training.optimizers import Optimizer, Sgd
from augcompress.training.schedules import Cosine, Schedule


class EarlyStopping(Section):
    """Training ends when validation gets no better (Prechelt 1998, doi:10.1007/3-540-49430-8_3).

    The schedule is made for all epochs and does not hurry: `constant` and early stopping suit each
    other, `cosine` reaches its best at the end.
    """

    patience: int = Field(10, ge=1)
    """Epochs without a better validation score."""
    min_delta: float = Field(0.0, ge=0)
    """By how much a score must be better to count, in the score's unit (top-1: a fraction)."""


class Training(Section):
    """How a network is trained."""

    epochs: int = Field(10, ge=1)
    """Passes over the training split."""
    batch_size: int = Field(128, ge=1)
    """Samples in an optimiser step, over all processes."""
    batch: Literal["whole", "auto"] = "whole"
    """`auto`: where memory does not hold a batch, it is taken in halves, quarters, and so on, and a
    message says so: as `accumulation` does, so that an optimiser step has as many samples.
    `whole`: running out of memory is an error, as it always is with several processes."""
    accumulation: int = Field(1, ge=1)
    """Equal pieces that a batch is taken in, one after the other, before the optimiser steps
    (gradient accumulation): less memory for the same step.  Batch norm, mixing augmentations and
    objectives that compare samples see a piece at a time."""
    optimizer: Optimizer = Sgd()
    """Update rule."""
    schedule: Schedule = Cosine()
    """Learning rate over time."""
    gradient_clip: float | None = Field(None, gt=0)
    """Largest norm of the gradient; None does not clip."""
    max_norm: float | None = Field(None, gt=0)
    """Largest L2 norm of the weights that lead to one output unit or channel; after each step
    larger ones are scaled down to it (Srivastava et al. 2014).  None: no limit."""
    decay: Literal["weights", "all"] = "weights"
    """What the optimiser's weight decay applies to: `weights` spares norms and biases."""
    no_decay: tuple[str, ...] = ()
    """Further parameters without weight decay, by name or glob (`*.embedding.weight`)."""
    ema: Ema | None = None
    """Average of the weights, scored beside them; None: none."""
    select_by: SelectBy = "top1"
    """Measure on validation that chooses the epoch whose weights are kept, and that early stopping
    watches: accuracies, macro_f1 and roc_auc the higher the better, nll and ece the lower."""
    early_stopping: EarlyStopping | None = None
    """When to end before all epochs are over; None: never."""
    freeze: Freeze | None = None
    """Train the head before the layers below it; None: all from the beginning."""
    backbone_lr_scale: float = Field(1.0, gt=0)
    """Learning rate of everything below the head, as a share of the head's."""
    batch_norm: Literal["running", "frozen"] = "running"
    """`frozen`: batch norms below the head keep the statistics that they start with, and use them
    in training too; their scales and shifts still learn."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto` takes bfloat16 autocast where the device computes in it, else fp32; `fp16` scales the
    loss (Micikevicius et al. 2018, arXiv:1710.03740)."""
    compile: bool = False
    """Compile the networks with torch.compile: a start of half a minute and more, which pays on
    GPUs and in long trainings only.  Needs a C++ compiler."""
    tensorboard: Annotated[bool, NotInKey()] = False
    """Write the log as TensorBoard's event files too, below `events/` (extra: tensorboard)."""

    @model_validator(mode="after")
    def schedule_fits_the_epochs(self) -> Training:
        """Warm-up and milestones lie inside the training."""
        try:
            self.schedule.check(self.epochs)
        except ValueError as error:
            raise ValueError(f"schedule.{error}") from error
        return self

    @model_validator(mode="after")
    def batch_is_divided_evenly(self) -> Training:
        """All pieces of a batch are of one size."""
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"accumulation: {self.accumulation} does not divide batch_size {self.batch_size}"
                " evenly; change one of them"
            )
        return self

    @model_validator(mode="after")
    def everything_thaws_in_time(self) -> Training:
        """What thaws has an epoch left to learn."""
        freeze = self.freeze
        if freeze is not None and freeze.epochs is not None:
            whole = freeze.epochs + freeze.steps
            if whole > self.epochs:
                raise ValueError(
                    f"freeze: all layers learn from epoch {whole} on and there are {self.epochs}"
                    " epochs; lower freeze.epochs or freeze.steps, or set freeze.epochs: null to"
                    " train the head only"
                )
        return self
