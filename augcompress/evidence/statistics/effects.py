"""Factorial studies: what each factor does, whether two act together, all against a control.

`cells` maps the levels of a cell, one a factor, to its values, NaN where a run is missing.  Values
are `(seeds,)`, and a replicate is a seed; or, with cross-validation, `(seeds, folds)`, and a
replicate is a fold, averaged over the seeds, as further seeds bring no further images.  The same
position of every cell is the same run.  `factors` maps each factor to its levels, in the cells'
order; the first level is the control.

Effects are taken within a run's seed and fold first, so that what these do to all cells cancels.
Intervals are Student's t over seeds or `intervals.corrected_t` over folds, and assume normal
effects; p are of the t-test that belongs to the interval.  Both are adjusted for the m effects that
one call returns: the intervals after Bonferroni, each at 1 - (1 - level) / m, so that all of them
hold together with probability `level`; p after Holm, which is never larger than Bonferroni's, so
that an interval may reach 0 where p is below 1 - level.  Replicates without any spread (accuracies
move in steps of one image) tell nothing of chance: no interval and no p.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np

from augcompress.evidence.statistics.intervals import (
    LEVEL,
    corrected_t,
    student_t,
    t_quantile,
    t_test,
)
from augcompress.evidence.statistics.paired import holm

Name = tuple[str, ...]
Cells = Mapping[Name, np.ndarray]
Factors = Mapping[str, Sequence[str]]
NO_SPREAD = 1e-12
"""Width below which an interval is rounding only."""


@dataclass(frozen=True)
class Effect:
    """A mean over replicates, with its interval."""

    name: Name
    """The cell; or (factor, level); or (factor, level, other factor, its level)."""
    value: float
    """NaN where no replicate is there."""
    low: float | None
    """Adjusted, where it is a change; None: fewer than two replicates, or no spread among them."""
    high: float | None
    n: int
    """Replicates."""
    p: float | None = None
    """Two-sided p of no effect, for this test alone; None: not tested, or no interval."""
    p_adjusted: float | None = None
    """Adjusted after Holm for all that were tested in the same call."""


def cell_intervals(cells: Cells, level: float = LEVEL) -> list[Effect]:
    """Each cell's mean with its t interval, untested."""
    found = [_effect(name, values, level) for name, values in cells.items()]
    return [replace(one, p=None) for one in found]


def main_effects(factors: Factors, cells: Cells, level: float = LEVEL) -> list[Effect]:
    """For each factor and each level but its control: level minus control, the mean over all
    settings of the other factors, per replicate.

    Raises ValueError when a cell is missing, or cells differ in replicates.
    """
    grid, width = _grid(factors, cells), len(factors)
    found = []
    for axis, (factor, levels) in enumerate(factors.items()):
        for place, one in enumerate(levels[1:], start=1):
            change = _over_cells(_contrast(grid, axis, place), width - 1)
            found.append(((factor, one), change))
    return _compared(found, level)


def interactions(factors: Factors, cells: Cells, level: float = LEVEL) -> list[Effect]:
    """For each two factors and each two of their levels but the controls: how much the effect of
    one level changes when the other factor leaves its control (the difference of differences, not
    halved), the mean over all settings of the other factors, per replicate.

    Raises ValueError when a cell is missing, or cells differ in replicates.
    """
    grid, width = _grid(factors, cells), len(factors)
    found = []
    for (one, levels), (other, others) in combinations(factors.items(), 2):
        axes = [list(factors).index(name) for name in (one, other)]
        for first, second in product(range(1, len(levels)), range(1, len(others))):
            outer = _contrast(grid, axes[1], second)  # the second axis goes first: it is the later
            change = _over_cells(_contrast(outer, axes[0], first), width - 2)
            found.append(((one, levels[first], other, others[second]), change))
    return _compared(found, level)


def against_control(cells: Cells, control: Name, level: float = LEVEL) -> list[Effect]:
    """Each other cell minus the control, per replicate that both have.

    Raises ValueError when there is no such cell, or cells differ in replicates.
    """
    if control not in cells:
        raise ValueError(f"there is no cell {control} to compare with")
    _require_equal_shapes(cells)
    base = np.asarray(cells[control], float)
    others = [(name, values) for name, values in cells.items() if name != control]
    return _compared([(name, np.asarray(values, float) - base) for name, values in others], level)


def _grid(factors: Factors, cells: Cells) -> np.ndarray:
    """`(levels of the first factor, …, replicates)` or `(…, seeds, folds)`."""
    _require_equal_shapes(cells)
    names = list(product(*factors.values()))
    missing = [name for name in names if name not in cells]
    if missing:
        raise ValueError(f"the grid has no cell {missing[0]}")
    values = np.stack([np.asarray(cells[name], float) for name in names])
    return values.reshape(*(len(levels) for levels in factors.values()), *values.shape[1:])


def _require_equal_shapes(cells: Cells) -> None:
    shapes = {np.shape(values) for values in cells.values()}
    if len(shapes) > 1:
        raise ValueError(f"cells differ in replicates: {sorted(shapes)}; put NaN for missing runs")


def _contrast(grid: np.ndarray, axis: int, place: int) -> np.ndarray:
    return np.take(grid, place, axis) - np.take(grid, 0, axis)


def _over_cells(changes: np.ndarray, factors: int) -> np.ndarray:
    """The mean over the first axes, one for each factor left: as `cells` has its values."""
    return changes.mean(axis=tuple(range(factors)))


def _effect(name: Name, values: np.ndarray, level: float) -> Effect:
    """The mean of `(seeds,)` or `(seeds, folds)` values, with its interval and p."""
    values = np.asarray(values, float)
    found = _replicates(values)
    n, mean = len(found), float(found.mean()) if len(found) else math.nan
    folded = values.ndim == 2
    around = corrected_t(found, 1 / values.shape[1], level) if folded else student_t(found, level)
    if around is None or around[1] - around[0] < NO_SPREAD:
        return Effect(name, mean, None, None, n)
    low, high = around
    error = (high - low) / 2 / t_quantile(level, n - 1)
    return Effect(name, mean, low, high, n, t_test(mean, error, n - 1))


def _replicates(values: np.ndarray) -> np.ndarray:
    """The values that are there, of folds their means over seeds."""
    if values.ndim == 2:
        counts = (~np.isnan(values)).sum(axis=0)  # (folds,)
        values = np.where(counts, np.nansum(values, axis=0) / np.maximum(counts, 1), np.nan)
    return values[~np.isnan(values)]


def _compared(changes: Sequence[tuple[Name, np.ndarray]], level: float) -> list[Effect]:
    """The mean of each change; intervals and p are adjusted for the number of changes."""
    each = 1 - (1 - level) / max(len(changes), 1)
    found = [_effect(name, values, each) for name, values in changes]
    tested = [place for place, one in enumerate(found) if one.p is not None]
    adjusted = holm([found[place].p or 0.0 for place in tested])
    for place, p in zip(tested, adjusted.tolist(), strict=True):
        found[place] = replace(found[place], p_adjusted=p)
    return found
