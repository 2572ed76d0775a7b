"""Draws that are written down, and draws that are set: for manifests and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from augcompress.augmentations.draws import Draws

FEW = 64
"""Numbers asked for at once that are an operation's parameters; more are drawn by the pixel."""
_WORDS = 2**32


class RecordedDraws(Draws):
    """Draws that remember which samples were chosen, and what was made of their numbers."""

    def __init__(self, seed: int, epoch: int, operation: int, index: Tensor) -> None:
        super().__init__(seed, epoch, operation, index)
        self.mask: Tensor | None = None
        self.told: dict[str, Tensor] = {}
        self.names: dict[str, Sequence[str]] = {}
        self.asked: list[Tensor] = []

    def words(self, count: int) -> Tensor:
        found = super().words(count)
        if count <= FEW:
            self.asked.append(found)
        return found

    def chosen(self, probability: float) -> Tensor:
        before = len(self.asked)
        mask = super().chosen(probability)
        del self.asked[before:]
        self.mask = mask if self.mask is None else self.mask
        return mask

    def tell(self, names: Sequence[str] | None = None, **parameters: Tensor) -> None:
        self.told |= parameters
        if names is not None:
            self.names |= dict.fromkeys(parameters, names)

    def tell_of(
        self, rows: Tensor, names: Sequence[str] | None, parameters: Mapping[str, Tensor]
    ) -> None:
        def spread(values: Tensor) -> Tensor:
            if len(values) != len(rows):
                return values
            every = values.new_zeros((len(self), *values.shape[1:]))
            return every.index_copy_(0, rows, values)

        self.tell(names, **{name: spread(values) for name, values in parameters.items()})

    def rows(self) -> list[dict[str, Any]]:
        """For each sample: was it `chosen`, and with which parameters; where an operation names
        none, the uniform numbers in [0,1) that it asked for."""
        chosen = [True] * len(self) if self.mask is None else self.mask.tolist()
        whole = {k: v.tolist() for k, v in self.told.items() if len(v) == len(self)}
        named = {
            k: [self.names[k][place] for place in v] if k in self.names else v
            for k, v in whole.items()
        }
        if not named and self.asked:
            named = {"uniform": (torch.cat(self.asked, dim=1).double() / _WORDS).tolist()}
        return [
            {"chosen": True, **{name: _short(values[row]) for name, values in named.items()}}
            if taken
            else {"chosen": False}
            for row, taken in enumerate(chosen)
        ]


class Recorder:
    """Stands in for `Draws` in a pipeline and keeps the draws of each operation, in order."""

    def __init__(self) -> None:
        self.made: list[RecordedDraws] = []

    def __call__(self, seed: int, epoch: int, operation: int, index: Tensor) -> RecordedDraws:
        draws = RecordedDraws(seed, epoch, operation, index)
        self.made.append(draws)
        return draws

    def rows(self) -> list[list[dict[str, Any]]]:
        """For each sample, what each operation drew."""
        return [list(row) for row in zip(*(draws.rows() for draws in self.made), strict=True)]


class SetDraws(Draws):
    """Draws at one place of every range: an operation at its lowest, middle or highest.  All
    samples are chosen; what is drawn by the pixel stays random."""

    def __init__(self, place: float, seed: int, epoch: int, operation: int, index: Tensor) -> None:
        """`place` from 0 to 1."""
        super().__init__(seed, epoch, operation, index)
        self.word = min(int(place * _WORDS), _WORDS - 1)

    def words(self, count: int) -> Tensor:
        drawn = super().words(count)
        return drawn if count > FEW else torch.full_like(drawn, self.word)

    def chosen(self, probability: float) -> Tensor:
        self.uniform(1)
        return torch.full((len(self),), probability > 0, device=self.device)


def _short(value: Any) -> Any:
    """Six significant digits."""
    if isinstance(value, list):
        return [_short(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
