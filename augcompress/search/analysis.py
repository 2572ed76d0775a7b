"""From trials to cells and effects: means over replicates, differences paired by replicate.

A replicate is a seed.  With folds it is a fold, averaged over the seeds; see `statistics.effects`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from augcompress.evidence import Measurement, bounded, statistics
from augcompress.evidence.statistics import Effect
from augcompress.search.study import Cell, Change, Study


def analysed(study: Study) -> Study:
    """The study with its cells, effects and interactions, of the trials that are done."""
    values, factors, level = values_of(study), control_first(study), study.level
    control = tuple(study.control[factor.name] for factor in study.factors)
    means = statistics.cell_intervals(values, level)
    against = statistics.against_control(values, control, level)
    effects = statistics.main_effects(factors, values, level)
    pairs = statistics.interactions(factors, values, level)
    return study.model_copy(
        update={
            "cells": [_cell(study, mean) for mean in means],
            "against_control": _changes(study, against, lambda name: _levels(study, name)),
            "main_effects": _changes(study, effects, _of_factors),
            "interactions": _changes(study, pairs, _of_factors),
        }
    )


def values_of(study: Study) -> dict[tuple[str, ...], np.ndarray]:
    """`(seeds,)` of each cell, with folds `(seeds, folds)`; NaN where a trial is not done."""
    folds = () if study.folds is None else (study.folds,)
    shape = (len(study.seeds), *folds)
    values = {tuple(levels.values()): np.full(shape, np.nan) for levels in study.variants}
    for trial in study.trials:
        if trial.status == "done" and trial.measurement is not None:
            fold = () if trial.fold is None else (trial.fold,)
            place = (study.seeds.index(trial.seed), *fold)
            values[tuple(trial.levels.values())][place] = trial.measurement.value
    return values


def control_first(study: Study) -> dict[str, list[str]]:
    """Levels by factor, the control's first."""
    return {
        factor.name: sorted(factor.levels, key=lambda one: one != study.control[factor.name])
        for factor in study.factors
    }


def _cell(study: Study, mean: Effect) -> Cell:
    levels = _levels(study, mean.name)
    done = sum(trial.status == "done" and trial.levels == levels for trial in study.trials)
    return Cell(levels=levels, trials=done, measurement=_mean(study, mean) if done else None)


def _mean(study: Study, effect: Effect) -> Measurement:
    one = next(t.measurement for t in study.trials if t.measurement is not None)
    over = {"over": "seeds"} if study.folds is None else {"over": "folds"}
    return bounded(
        Measurement(
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
    )


def _levels(study: Study, name: tuple[str, ...]) -> dict[str, str]:
    """Levels by factor, of a cell's name."""
    return dict(zip((factor.name for factor in study.factors), name, strict=True))


def _of_factors(name: tuple[str, ...]) -> dict[str, str]:
    """Levels by factor, of `(factor, level, other factor, its level)`."""
    return dict(zip(name[::2], name[1::2], strict=True))


def _changes(
    study: Study, effects: Sequence[Effect], levels: Callable[[tuple[str, ...]], dict[str, str]]
) -> list[Change]:
    """The effects as records; `levels` reads an effect's name."""
    return [_change(study, each, levels(each.name)) for each in effects]


def _change(study: Study, effect: Effect, of: dict[str, str]) -> Change:
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
        p_adjusted=effect.p_adjusted,
    )


def _method(study: Study) -> str:
    return "student_t" if study.folds is None else "corrected_t"
