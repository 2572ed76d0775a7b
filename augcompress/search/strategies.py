"""Strategies: what proposes the trials of a study."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

from augcompress.search.study import Trial
from augcompress.spec import GridSearch

TRIALS_FOLDER = "trials"
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
    """How a study chooses its variants."""

    def proposals(self) -> Sequence[Proposal]:
        """The trials to run, in order."""

    def tell(self, trial: Trial) -> None:
        """A trial has ended; a strategy that learns from results listens here."""


class Grid:
    """Every combination of the levels, with every seed and fold."""

    def __init__(self, section: GridSearch) -> None:
        self.section = section

    def proposals(self) -> list[Proposal]:
        """All cells of the first seed (and fold), then all of the next: what cells share comes
        early, and a study that is interrupted is balanced."""
        section = self.section
        folds: list[int | None] = [None] if section.folds is None else [*range(section.folds)]
        cells = list(product(*(factor.levels for factor in section.vary)))
        names = _folder_names(
            [{f.name: each.label for f, each in self._of(levels)} for levels in cells]
        )
        return [
            Proposal(
                name=name + f".seed-{seed}" + ("" if fold is None else f".fold-{fold}"),
                levels={factor.name: level.label for factor, level in self._of(levels)},
                changes={factor.name: level.overrides for factor, level in self._of(levels)},
                seed=seed,
                fold=fold,
            )
            for seed, fold in product(section.seeds, folds)
            for name, levels in zip(names, cells, strict=True)
        ]

    def tell(self, trial: Trial) -> None:
        """A grid knows its trials from the start."""

    def _of(self, levels: Sequence[Any]) -> list[tuple[Any, Any]]:
        return list(zip(self.section.vary, levels, strict=True))


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
