"""From trials to cells and effects: means over replicates, differences paired by replicate.

A replicate is a seed.  With folds it is a fold, averaged over the seeds: the parts are the same for
every seed, so that further seeds bring no further images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from augcompress import statistics
from augcompress.records import Measurement
from augcompress.search.study import Cell, Change, Study
from augcompress.statistics.distributions import t_quantile, t_test
from augcompress.statistics.effects import Effect

Labels = tuple[str, ...]
NO_SPREAD = 1e-12
"""Width below which an interval is rounding only."""


def analysed(study: Study) -> Study:
    """The study with its cells, effects and interactions, of the trials that are done."""
    values = values_of(study)
    factors = control_first(study)
    whole = {name: replicates(each, study.folds) for name, each in complete(values).items()}
    effects = statistics.main_effects(factors, whole, study.level)
    pairs = statistics.interactions(factors, whole, study.level)
    return study.model_copy(
        update={
            "cells": [_cell(study, levels, values) for levels in study.variants],
            "against_control": _against_control(study, values),
            "main_effects": _changes(study, effects, _of_factors),
            "interactions": _changes(study, pairs, _of_factors),
        }
    )


def values_of(study: Study) -> dict[Labels, np.ndarray]:
    """`(seeds, folds)` of each cell, NaN where a trial is not done."""
    shape = (len(study.seeds), study.folds or 1)
    values = {tuple(levels.values()): np.full(shape, np.nan) for levels in study.variants}
    for trial in study.trials:
        if trial.status == "done" and trial.measurement is not None:
            place = study.seeds.index(trial.seed), trial.fold or 0
            values[tuple(trial.levels.values())][place] = trial.measurement.value
    return values


def complete(values: Mapping[Labels, np.ndarray]) -> dict[Labels, np.ndarray]:
    """NaN in all cells where one has no value: effects compare like with like."""
    gaps = np.isnan(np.stack(list(values.values()))).any(axis=0)
    return {name: np.where(gaps, np.nan, each) for name, each in values.items()}


def replicates(values: np.ndarray, folds: int | None) -> np.ndarray:
    """`(replicates,)` from `(seeds, folds)`: the seeds; or the folds, averaged over seeds."""
    if folds is None:
        return values[:, 0]
    counts = (~np.isnan(values)).sum(axis=0)  # (folds,)
    means = np.nansum(values, axis=0) / np.maximum(counts, 1)
    return np.where(counts, means, np.nan)


def control_first(study: Study) -> dict[str, list[str]]:
    """Levels by factor, the control's first."""
    return {
        factor.name: sorted(factor.levels, key=lambda one: one != study.control[factor.name])
        for factor in study.factors
    }


def corrected(effect: Effect, level: float, folds: int | None) -> Effect:
    """The effect with its p, and with folds as `statistics.corrected_t` has it: training sets of
    folds overlap, so the variance of the mean is taken 1 + n / (folds - 1) times as large.

    Replicates without any spread (accuracies move in steps of one image) tell nothing of chance:
    no interval and no p.
    """
    if effect.low is None or effect.high is None:
        return effect
    if effect.high - effect.low < NO_SPREAD:
        return replace(effect, low=None, high=None, p=None)
    wider = 1.0 if folds is None else math.sqrt(1 + effect.n / (folds - 1))
    half = wider * (effect.high - effect.low) / 2
    freedom = effect.n - 1
    p = t_test(effect.value, half / t_quantile((1 + level) / 2, freedom), freedom)
    return replace(effect, low=effect.value - half, high=effect.value + half, p=p)


def _cell(study: Study, levels: dict[str, str], values: Mapping[Labels, np.ndarray]) -> Cell:
    name = tuple(levels.values())
    found = replicates(values[name], study.folds)
    effect = statistics.cell_intervals({name: found}, study.level)[0]
    effect = corrected(effect, study.level, study.folds)
    done = int((~np.isnan(values[name])).sum())
    return Cell(levels=levels, trials=done, measurement=_mean(study, effect) if done else None)


def _mean(study: Study, effect: Effect) -> Measurement:
    one = next(t.measurement for t in study.trials if t.measurement is not None)
    over = {"over": "seeds"} if study.folds is None else {"over": "folds"}
    return Measurement(
        name=one.name,
        value=effect.value,
        unit=one.unit,
        better=one.better,
        n=effect.n,
        low=effect.low,
        high=effect.high,
        level=study.level,
        method=None if effect.low is None else _method(study),
        split=one.split,
        conditions=over,
    )


def _against_control(study: Study, values: Mapping[Labels, np.ndarray]) -> list[Change]:
    """Each other cell minus the control, over the replicates that both have."""
    factors = [factor.name for factor in study.factors]
    control = tuple(study.control[factor] for factor in factors)
    changes = {
        name: replicates(each - values[control], study.folds)
        for name, each in values.items()
        if name != control
    }
    effects = statistics.cell_intervals(changes, study.level)
    return _changes(study, effects, lambda name: dict(zip(factors, name, strict=True)))


def _of_factors(name: Labels) -> dict[str, str]:
    """Levels by factor, of `(factor, level, other factor, its level)`."""
    return dict(zip(name[::2], name[1::2], strict=True))


def _changes(
    study: Study, effects: Sequence[Effect], levels: Callable[[Labels], dict[str, str]]
) -> list[Change]:
    """With p adjusted for all of them; `levels` reads an effect's name."""
    found = [corrected(effect, study.level, study.folds) for effect in effects]
    tested = [place for place, each in enumerate(found) if each.p is not None]
    holm = statistics.holm([found[place].p or 0.0 for place in tested])
    adjusted = dict(zip(tested, holm.tolist(), strict=True))
    return [
        _change(study, each, levels(each.name), adjusted.get(place))
        for place, each in enumerate(found)
    ]


def _change(study: Study, effect: Effect, of: dict[str, str], adjusted: float | None) -> Change:
    return Change(
        of=of,
        against={factor: study.control[factor] for factor in of},
        value=None if math.isnan(effect.value) else effect.value,
        low=effect.low,
        high=effect.high,
        n=effect.n,
        level=study.level,
        method=_method(study),
        p=effect.p,
        p_adjusted=adjusted,
    )


def _method(study: Study) -> str:
    return "student_t" if study.folds is None else "corrected_t"
