"""Strategies: what proposes the trials of a study."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

from augcompress.search.study import Trial
from augcompress.spec import GridSearch
from augcompress.storage import TRIALS_FOLDER

_LONGEST_LABEL = 40


@dataclass(frozen=True)
class Proposal:
    """A trial that a strategy asks for."""

    name: str
    """Its folder's name."""
    levels: Mapping[str, str]
    """Level by factor."""
    changes: Mapping[str, Mapping[str, Any]]
    """By factor: values by dotted path."""
    seed: int
    fold: int | None = None

    def waiting(self) -> Trial:
        """The trial, not yet run."""
        return Trial(
            name=self.name,
            levels=dict(self.levels),
            seed=self.seed,
            fold=self.fold,
            run_dir=f"{TRIALS_FOLDER}/{self.name}",
        )


class Strategy(Protocol):
    """How a study chooses its trials: it is asked for the next one, and told how each ended.

    Asked and told the same, it proposes the same, so that a study that was interrupted goes on.
    """

    def ask(self) -> Proposal | None:
        """The next trial; None: there is none, or none before the others have ended."""

    def tell(self, trial: Trial) -> None:
        """How a proposed trial ended."""


class Grid:
    """Every combination of the levels, with every seed and fold; results change nothing."""

    def __init__(self, section: GridSearch) -> None:
        self._left = iter(_grid(section))

    def ask(self) -> Proposal | None:
        """The next combination."""
        return next(self._left, None)

    def tell(self, trial: Trial) -> None:
        pass


def strategy_of(section: GridSearch) -> Strategy:
    """The strategy that a recipe asks for, from its beginning."""
    return Grid(section)


def proposed(strategy: Strategy) -> list[Proposal]:
    """All that a strategy proposes before it is told anything."""
    return list(iter(strategy.ask, None))


def _grid(section: GridSearch) -> list[Proposal]:
    """All cells of the first seed (and fold), then all of the next: what cells share comes early,
    and a study that is interrupted is balanced."""
    folds: list[int | None] = [None] if section.folds is None else [*range(section.folds)]
    factors = [factor.name for factor in section.vary]
    cells = [
        dict(zip(factors, levels, strict=True))
        for levels in product(*(factor.levels for factor in section.vary))
    ]
    labels = [{factor: level.label for factor, level in cell.items()} for cell in cells]
    return [
        Proposal(
            name=name + f".seed-{seed}" + ("" if fold is None else f".fold-{fold}"),
            levels=levels,
            changes={factor: level.overrides for factor, level in cell.items()},
            seed=seed,
            fold=fold,
        )
        for seed, fold in product(section.seeds, folds)
        for name, levels, cell in zip(_folder_names(labels), labels, cells, strict=True)
    ]


def short_names(factors: Sequence[str]) -> dict[str, str]:
    """The last part of each dotted path, where that tells the factors apart."""
    short = {factor: factor.rpartition(".")[2] for factor in factors}
    clear = len(set(short.values())) == len(short)
    return short if clear else {factor: factor for factor in factors}


def _folder_names(cells: Sequence[Mapping[str, str]]) -> list[str]:
    """`mixup-on.teacher-off` for each cell: safe in any file system, and no two alike in one that
    ignores case."""
    short = short_names(list(cells[0]))
    names = [".".join(f"{_safe(short[f])}-{_safe(v)}" for f, v in c.items()) for c in cells]
    folded = [name.lower() for name in names]
    return [
        name if folded.count(name.lower()) == 1 else f"{place}-{name}"
        for place, name in enumerate(names)
    ]


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+]+", "_", text).strip("._")[:_LONGEST_LABEL] or "_"
