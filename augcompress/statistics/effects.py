"""Factorial studies: what each factor does, whether two act together, all against a control.

`cells` maps the levels of a cell, one a factor, to `(replicates,)` values; position i of every cell
is the same replicate (one seed), NaN where that run is missing.  `factors` maps each factor to its
levels, in the cells' order; the first level is the control.  Effects are taken within a replicate
first, so that what a seed does to all cells cancels; intervals are Student's t over replicates and
assume normal effects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np

from augcompress.statistics.distributions import t_test
from augcompress.statistics.intervals import LEVEL, student_t
from augcompress.statistics.paired import holm

Cell = tuple[str, ...]
Cells = Mapping[Cell, np.ndarray]
Factors = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Effect:
    """A mean over replicates, with its interval."""

    name: tuple[str, ...]
    """The cell; or (factor, level); or (factor, level, other factor, its level)."""
    value: float
    """NaN where no replicate is there."""
    low: float | None
    """None: fewer than two replicates."""
    high: float | None
    n: int
    """Replicates."""
    p: float | None = None
    """Two-sided p of no effect, by the t-test; None: not tested."""


def cell_intervals(cells: Cells, level: float = LEVEL) -> list[Effect]:
    """Each cell's mean with its t interval."""
    return [_effect(name, values, level, tested=False) for name, values in cells.items()]


def main_effects(factors: Factors, cells: Cells, level: float = LEVEL) -> list[Effect]:
    """For each factor and each level but its control: level minus control, the mean over all
    settings of the other factors, per replicate.  p is for one test; see `paired.holm` for several.

    Raises ValueError when a cell is missing, or cells differ in replicates.
    """
    grid = _grid(factors, cells)
    found = []
    for axis, (factor, levels) in enumerate(factors.items()):
        for place, one in enumerate(levels[1:], start=1):
            change = _over_cells(_contrast(grid, axis, place))
            found.append(_effect((factor, one), change, level))
    return found


def interactions(factors: Factors, cells: Cells, level: float = LEVEL) -> list[Effect]:
    """For each two factors and each two of their levels but the controls: how much the effect of
    one level changes when the other factor leaves its control (the difference of differences, not
    halved), the mean over all settings of the other factors, per replicate.

    Raises ValueError when a cell is missing, or cells differ in replicates.
    """
    grid = _grid(factors, cells)
    found = []
    for (one, levels), (other, others) in combinations(factors.items(), 2):
        axes = [list(factors).index(name) for name in (one, other)]
        for first, second in product(range(1, len(levels)), range(1, len(others))):
            outer = _contrast(grid, axes[1], second)  # the second axis goes first: it is the later
            change = _over_cells(_contrast(outer, axes[0], first))
            found.append(_effect((one, levels[first], other, others[second]), change, level))
    return found


def against_control(cells: Cells, control: Cell, level: float = LEVEL) -> list[Effect]:
    """Each other cell minus the control, per replicate; p by the paired t-test, adjusted for the
    number of cells after Holm.  The intervals are not adjusted.

    Raises ValueError when there is no such cell, or cells differ in replicates.
    """
    if control not in cells:
        raise ValueError(f"there is no cell {control} to compare with")
    _require_equal_lengths(cells)
    base = np.asarray(cells[control], float)
    found = [
        _effect(name, np.asarray(values, float) - base, level)
        for name, values in cells.items()
        if name != control
    ]
    tested = [place for place, one in enumerate(found) if one.p is not None]
    adjusted = holm([found[place].p or 0.0 for place in tested])
    for place, p in zip(tested, adjusted.tolist(), strict=True):
        found[place] = replace(found[place], p=p)
    return found


def _grid(factors: Factors, cells: Cells) -> np.ndarray:
    """`(levels of the first factor, …, replicates)`"""
    _require_equal_lengths(cells)
    names = list(product(*factors.values()))
    missing = [name for name in names if name not in cells]
    if missing:
        raise ValueError(f"the grid has no cell {missing[0]}")
    values = np.stack([np.asarray(cells[name], float) for name in names])
    return values.reshape(*(len(levels) for levels in factors.values()), -1)


def _require_equal_lengths(cells: Cells) -> None:
    lengths = {len(values) for values in cells.values()}
    if len(lengths) > 1:
        raise ValueError(f"cells differ in replicates: {sorted(lengths)}; put NaN for missing runs")


def _contrast(grid: np.ndarray, axis: int, place: int) -> np.ndarray:
    return np.take(grid, place, axis) - np.take(grid, 0, axis)


def _over_cells(changes: np.ndarray) -> np.ndarray:
    return changes.reshape(-1, changes.shape[-1]).mean(axis=0)  # (replicates,)


def _effect(name: Cell, values: np.ndarray, level: float, tested: bool = True) -> Effect:
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    n = len(values)
    mean = float(values.mean()) if n else math.nan
    low, high = student_t(values, level) or (None, None)
    if n < 2 or not tested:
        return Effect(name, mean, low, high, n)
    p = t_test(mean, float(values.std(ddof=1)) / math.sqrt(n), n - 1)
    return Effect(name, mean, low, high, n, p)
