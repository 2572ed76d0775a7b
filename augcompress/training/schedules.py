"""Learning rate over time: linear warm-up, then one of the usual shapes.

Time is the share of the training that is over.  Continuous shapes (cosine, polynomial) stretch over
what the warm-up leaves; `step` and `multi_step` count from the start of the training.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, Literal

from pydantic import Field

from augcompress.component import Component
from augcompress.training.positions import (
    Position,
    in_words,
    require_after_warmup,
    require_before_end,
    share,
)


def half_cosine(time: float, length: float) -> float:
    """From 1 at time 0 down to 0 at `length`."""
    return 0.5 * (1 + math.cos(math.pi * time / length))


def cycle_at(time: float, first: float, multiplier: float) -> tuple[float, float]:
    """Start and length of the cycle that `time` falls into: the first one is `first` long, each
    further one `multiplier` times as long as the one before."""
    if multiplier == 1:
        return math.floor(time / first) * first, first
    cycle = math.floor(math.log(1 + time / first * (multiplier - 1), multiplier))
    start = first * (multiplier**cycle - 1) / (multiplier - 1)
    return start, first * multiplier**cycle


class ScheduleSettings(Component, ABC):
    """A learning rate over time.  A kind says how it goes on after the warm-up.

    Linear warm-up: Goyal et al. 2017 (arXiv:1706.02677).
    """

    warmup: Position = 0
    """Time in which the rate rises from zero in a straight line: a float is a share of the
    training, an int a number of epochs."""

    def factor(self, done: float, epochs: int) -> float:
        """Learning rate over its peak (0 to 1) when the share `done` of `epochs` epochs is over."""
        warmup = share(self.warmup, epochs)
        if done < warmup:
            return self.rising(done / warmup)
        return self.after_warmup(done, warmup, epochs)

    def rising(self, over: float) -> float:
        """Learning rate over its peak when the share `over` of the warm-up is over."""
        return over

    @abstractmethod
    def after_warmup(self, done: float, warmup: float, epochs: int) -> float:
        """Learning rate over its peak; `done` and `warmup` are shares of the training."""

    def check(self, epochs: int) -> None:
        """Raises ValueError when a position does not fit into a training of so many epochs."""
        require_before_end("warmup", self.warmup, epochs)


class Constant(ScheduleSettings):
    """The same learning rate throughout."""

    kind: Literal["constant"] = "constant"

    def after_warmup(self, done: float, warmup: float, epochs: int) -> float:
        return 1.0


class Step(ScheduleSettings):
    """The rate is multiplied by `gamma` again and again, each time at once.

    With an int, torch's StepLR.
    """

    kind: Literal["step"] = "step"
    every: Position = Field(0.3, gt=0)
    """Time between two drops, counted from the start of the training: a float is a share of it, an
    int a number of epochs."""
    gamma: float = Field(0.1, gt=0, le=1)
    """Factor of each drop."""

    def after_warmup(self, done: float, warmup: float, epochs: int) -> float:
        return self.gamma ** math.floor(done / share(self.every, epochs))

    def check(self, epochs: int) -> None:
        """Raises ValueError also when there is no drop, or one in the warm-up."""
        super().check(epochs)
        require_after_warmup("every", self.every, self.warmup, epochs)
        require_before_end("every", self.every, epochs)


class MultiStep(ScheduleSettings):
    """The rate is multiplied by `gamma` at each milestone (He et al. 2016, arXiv:1512.03385)."""

    kind: Literal["multi_step"] = "multi_step"
    milestones: tuple[Annotated[Position, Field(gt=0)], ...] = (0.5, 0.75)
    """When the rate drops, counted from the start of the training: a float is a share of it, an int
    a number of epochs."""
    gamma: float = Field(0.1, gt=0, le=1)
    """Factor of each drop."""

    def after_warmup(self, done: float, warmup: float, epochs: int) -> float:
        return self.gamma ** sum(done >= share(one, epochs) for one in self.milestones)

    def check(self, epochs: int) -> None:
        """Raises ValueError also when milestones are not in order, or outside of the training."""
        super().check(epochs)
        for place, milestone in enumerate(self.milestones):
            before = self.milestones[place - 1] if place else 0
            if share(milestone, epochs) <= share(before, epochs):
                raise ValueError(
                    f"milestones: {in_words(milestone)} does not come after {in_words(before)};"
                    " put them in order, each once"
                )
            require_after_warmup("milestones", milestone, self.warmup, epochs)
            require_before_end("milestones", milestone, epochs)


class Exponential(ScheduleSettings):
    """The rate falls smoothly, by the factor `gamma` in each stretch of time that is `every` long.

    With `every: 1`, torch's ExponentialLR, read at every step in place of once an epoch.  The
    defaults end at a hundredth of the peak (without warm-up).
    """

    kind: Literal["exponential"] = "exponential"
    every: Position = Field(0.5, gt=0)
    """Time in which the rate falls to `gamma` of what it was: a float is a share of the training,
    an int a number of epochs (1: `gamma` is the factor of an epoch)."""
    gamma: float = Field(0.1, gt=0, le=1)
    """Factor of the rate in that time."""

    def after_warmup(self, done: float, warmup: float, epochs: int) -> float:
        return self.gamma ** ((done - warmup) / share(self.every, epochs))


class Polynomial(ScheduleSettings):
    """The rate falls to `end` as a power of the time left: the "poly" policy (Chen et al. 2016,
    DeepLab, arXiv:1606.00915); power 1 is a straight line.

    With several `cycles`, TensorFlow's PolynomialDecay with `cycle=True`: the time after the
    warm-up is divided into equal cycles that all fall to `end`.  Cycle k, from 1, starts at 1 / k
    to the power of `power` of the way from `end` to the peak: each restart is lower.
    """

    kind: Literal["polynomial"] = "polynomial"
    power: float = Field(1.0, gt=0)
    """Exponent of the share of the time that is left; DeepLab takes 0.9, LARS 2."""
    end: float = Field(0.0, ge=0, le=1)
    """Learning rate at the end, over its peak."""
    cycles: int = Field(1, ge=1)
    """How often the rate falls to `end`."""

    def after_warmup(self, done: float, warmup: float, epochs: int) -> float:
        over = (done - warmup) / (1 - warmup) * self.cycles  # cycles that are over
        cycle = min(math.floor(over) + 1, self.cycles)  # 1 to cycles
        left = max(0.0, 1 - over / cycle)
        return self.end + (1 - self.end) * left**self.power


class InverseTime(ScheduleSettings):
    """The rate falls as 1 / (1 + decay * time), with the time since the warm-up in units of `every`
    (Robbins and Monro 1951, doi:10.1214/aoms/1177729586; Bottou 2012,
    doi:10.1007/978-3-642-35289-8_25).

    As TensorFlow's InverseTimeDecay.  The defaults end at 1/11 of the peak (without warm-up).
    """

    kind: Literal["inverse_time"] = "inverse_time"
    every: Position = Field(0.1, gt=0)
    """Unit of time: a float is a share of the training, an int a number of epochs.  With a decay of
    1, the time until the rate is half its peak."""
    decay: float = Field(1.0, ge=0)
    """How fast the rate falls, per unit of time."""

    def after_warmup(self, done: float, warmup: float, epochs: int) -> float:
        return 1 / (1 + self.decay * (done - warmup) / share(self.every, epochs))


class Cosine(ScheduleSettings):
    """Linear warm-up, then half a cosine down to `end` (Loshchilov and Hutter 2017,
    arXiv:1608.03983)."""

    kind: Literal["cosine"] = "cosine"
    warmup: Position = 0.1
    """Time in which the rate rises from zero in a straight line: a float is a share of the
    training, an int a number of epochs."""
    end: float = Field(0.0, ge=0, le=1)
    """Learning rate at the end, over its peak."""

    def after_warmup(self, done: float, warmup: float, epochs: int) -> float:
        return self.end + (1 - self.end) * half_cosine(done - warmup, 1 - warmup)


class CosineRestarts(ScheduleSettings):
    """Half a cosine down to `end`, again and again from the peak, each longer than the one before
    (SGDR: Loshchilov and Hutter 2017, arXiv:1608.03983).

    The end of the training may cut the last cycle, at a rate that is still high; the default length
    of the first one avoids that.
    """

    kind: Literal["cosine_restarts"] = "cosine_restarts"
    cycle: Annotated[Position, Field(gt=0)] | None = None
    """Length of the first cycle (the paper's T_0): a float is a share of the training, an int a
    number of epochs.  None: three cycles fill the time after the warm-up."""
    multiplier: float = Field(2.0, ge=1, le=100)
    """Length of a cycle over that of the one before (the paper's T_mult)."""
    end: float = Field(0.0, ge=0, le=1)
    """Learning rate at the end of each cycle, over its peak."""

    def after_warmup(self, done: float, warmup: float, epochs: int) -> float:
        first = self.first_cycle(warmup, epochs)
        start, length = cycle_at(done - warmup, first, self.multiplier)
        return self.end + (1 - self.end) * half_cosine(done - warmup - start, length)

    def first_cycle(self, warmup: float, epochs: int) -> float:
        """Length of the first cycle, as a share of the training."""
        if self.cycle is not None:
            return share(self.cycle, epochs)
        return (1 - warmup) / (1 + self.multiplier + self.multiplier**2)

    def check(self, epochs: int) -> None:
        """Raises ValueError also when the training ends before the first cycle does."""
        super().check(epochs)
        if self.cycle is None:
            return
        if share(self.warmup, epochs) + share(self.cycle, epochs) > 1 + 1e-9:
            raise ValueError(
                f"cycle: the first cycle of {in_words(self.cycle)} ends after the"
                f" {in_words(epochs)} of training (warm-up counts too); lower it"
            )


class OneCycle(ScheduleSettings):
    """Up from a low rate to the peak, then down to almost nothing (Smith and Topin 2018,
    arXiv:1708.07120).

    As torch's OneCycleLR in two phases, whose defaults these are; momentum stays as it is.
    """

    kind: Literal["one_cycle"] = "one_cycle"
    warmup: Position = 0.3
    """Time in which the rate rises, from 1 / `div_factor` of its peak (torch's pct_start): a float
    is a share of the training, an int a number of epochs."""
    div_factor: float = Field(25.0, ge=1)
    """Peak over the learning rate at the start."""
    final_div_factor: float = Field(1e4, ge=1)
    """Learning rate at the start over that at the end."""
    anneal: Literal["cosine", "linear"] = "cosine"
    """Shape of both ways: half a cosine or a straight line."""

    def rising(self, over: float) -> float:
        start = 1 / self.div_factor
        return 1 + (start - 1) * self.annealed(over, 1)

    def after_warmup(self, done: float, warmup: float, epochs: int) -> float:
        end = 1 / (self.div_factor * self.final_div_factor)
        return end + (1 - end) * self.annealed(done - warmup, 1 - warmup)

    def annealed(self, time: float, length: float) -> float:
        """From 1 at time 0 down to 0 at `length`."""
        return half_cosine(time, length) if self.anneal == "cosine" else 1 - time / length


Schedule = Annotated[
    Constant
    | Step
    | MultiStep
    | Exponential
    | Polynomial
    | InverseTime
    | Cosine
    | CosineRestarts
    | OneCycle,
    Field(discriminator="kind"),
]
