"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from augcompress.component import Section


class Ema(Section):
    """Exponential moving average of the weights (Polyak and Juditsky 1992, doi:10.1137/0330046).

    Both are scored at the end of each epoch; the better one on validation may become the result.
    Running statistics of batch norm are averaged alike.
    """

    decay: float = Field(0.999, gt=0, lt=1)
    """Share of the average that an optimiser step keeps.  At step t, from 1, no more than
    (1 + t) / (10 + t): the first, bad weights are forgotten soon."""

    def kept(self, step: int) -> float:
        """Share of the average that this step, from 1, keeps."""
        return min(self.decay, (1 + step) / (10 + step))


class Average:
    """The average of one module's state, beside it."""

    def __init__(self, module: nn.Module, settings: Ema) -> None:
        self.settings, self.steps = settings, 0
        state = tensors_of(module)
        self.names = list(state)
        self.current = list(state.values())  # share memory with the module
        self.average = [value.clone() for value in self.current]
        smooth = [value.is_floating_point() for value in self.current]
        self._smooth = [place for place, one in enumerate(smooth) if one]
        self._counters = [place for place, one in enumerate(smooth) if not one]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the module's state after one more optimiser step."""
        self.steps += 1
        share = 1 - self.settings.kept(self.steps)
        smooth = [self.average[place] for place in self._smooth]
        torch._foreach_lerp_(smooth, [self.current[place] for place in self._smooth], share)
        for place in self._counters:
            self.average[place].copy_(self.current[place])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the module has the averaged state; afterwards its own again."""
        own = [value.clone() for value in self.current]
        self._put(self.average)
        try:
            yield
        finally:
            self._put(own)

    def state_dict(self) -> dict[str, Any]:
        """Average and step count, for the resume state."""
        return {"average": dict(zip(self.names, self.average, strict=True)), "steps": self.steps}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a resume state."""
        self.steps = state["steps"]
        for name, value in zip(self.names, self.average, strict=True):
            value.copy_(state["average"][name])

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for target, value in zip(self.current, values, strict=True):
            target.copy_(value)


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, sharing the module's memory."""
    return {k: v.detach() for k, v in module.state_dict().items() if isinstance(v, Tensor)}
