"""Factorial studies: by hand, and by simulation of known effects."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from augcompress.evidence.statistics import (
    against_control,
    cell_intervals,
    corrected_t,
    holm,
    interactions,
    main_effects,
    student_t,
)

FACTORS = {"mixup": ["off", "on"], "teacher": ["none", "small", "large"]}
CELLS = {
    ("off", "none"): np.array([10.0, 12.0, 11.0]),
    ("off", "small"): np.array([13.0, 15.0, 15.0]),
    ("off", "large"): np.array([14.0, 15.0, 16.0]),
    ("on", "none"): np.array([11.0, 14.0, 11.0]),
    ("on", "small"): np.array([15.0, 16.0, 18.0]),
    ("on", "large"): np.array([14.0, 17.0, 17.0]),
}


def by_name(effects):
    return {one.name: one for one in effects}


def test_cells():
    found = by_name(cell_intervals(CELLS))
    one = found[("off", "none")]
    assert (one.value, one.n, one.p) == (11.0, 3, None)
    assert (one.low, one.high) == student_t(CELLS[("off", "none")])
    assert list(found) == list(CELLS)


def test_main_effects_by_hand():
    found = by_name(main_effects(FACTORS, CELLS))
    assert set(found) == {("mixup", "on"), ("teacher", "small"), ("teacher", "large")}
    # per seed the mean over teachers of on - off: (1+2+0)/3, (2+1+2)/3, (0+3+1)/3
    mixup = found[("mixup", "on")]
    each = [1.0, 5 / 3, 4 / 3]
    assert mixup.value == pytest.approx(4 / 3)
    assert (mixup.low, mixup.high) == pytest.approx(student_t(each, 1 - 0.05 / 3))
    assert mixup.p == pytest.approx(stats.ttest_1samp(each, 0).pvalue)
    # small - none: off 3, 3, 4; on 4, 2, 7
    assert found[("teacher", "small")].value == pytest.approx(np.mean([3.5, 2.5, 5.5]))
    assert found[("teacher", "large")].value == pytest.approx(np.mean([3.5, 3.0, 5.5]))


def test_interactions_by_hand():
    found = by_name(interactions(FACTORS, CELLS))
    assert list(found) == [("mixup", "on", "teacher", "small"), ("mixup", "on", "teacher", "large")]
    # (on small - on none) - (off small - off none): 4-3, 2-3, 7-4
    each = [1.0, -1.0, 3.0]
    small = found[("mixup", "on", "teacher", "small")]
    assert small.value == pytest.approx(1.0)
    assert (small.low, small.high) == pytest.approx(student_t(each, 1 - 0.05 / 2))
    assert small.p == pytest.approx(stats.ttest_1samp(each, 0).pvalue)
    assert found[("mixup", "on", "teacher", "large")].value == pytest.approx(np.mean([-1, 0, 1]))


def test_interactions_of_three_factors_are_means_over_the_third():
    levels = {"a": ["0", "1"], "b": ["0", "1"], "c": ["0", "1", "2"]}
    cells = {
        (a, b, c): np.array([5.0 * int(a) * int(b) + int(a) + 7 * int(c) * int(b)] * 2)
        for a, b, c in product(*levels.values())
    }
    found = by_name(interactions(levels, cells))
    assert found[("a", "1", "b", "1")].value == pytest.approx(5.0)
    assert found[("a", "1", "c", "2")].value == pytest.approx(0.0)
    assert found[("b", "1", "c", "2")].value == pytest.approx(14.0)
    assert by_name(main_effects(levels, cells))[("a", "1")].value == pytest.approx(3.5)


def test_against_a_control_by_hand():
    found = by_name(against_control(CELLS, ("off", "none")))
    assert ("off", "none") not in found
    raw = {
        name: stats.ttest_rel(values, CELLS[("off", "none")]).pvalue
        for name, values in CELLS.items()
        if name != ("off", "none")
    }
    adjusted = dict(zip(raw, holm(list(raw.values())), strict=True))
    assert {name: one.p for name, one in found.items()} == pytest.approx(raw)
    assert {name: one.p_adjusted for name, one in found.items()} == pytest.approx(adjusted)
    assert found[("on", "small")].value == pytest.approx(16 / 3)


def test_one_replicate_has_no_interval():
    cells = {name: values[:1] for name, values in CELLS.items()}
    for one in (
        *cell_intervals(cells),
        *main_effects(FACTORS, cells),
        *interactions(FACTORS, cells),
        *against_control(cells, ("off", "none")),
    ):
        assert (one.low, one.high, one.p, one.p_adjusted, one.n) == (None, None, None, None, 1)
    assert by_name(main_effects(FACTORS, cells))[("mixup", "on")].value == 1.0


def test_a_missing_run_takes_its_seed_out_of_the_effects_it_belongs_to():
    cells = {**CELLS, ("on", "large"): np.array([14.0, np.nan, 17.0])}
    mixup = by_name(main_effects(FACTORS, cells))[("mixup", "on")]
    assert (mixup.n, mixup.value) == (2, pytest.approx((1 + 4 / 3) / 2))
    assert by_name(main_effects(FACTORS, cells))[("teacher", "small")].n == 3
    nothing = by_name(cell_intervals({("a",): np.array([np.nan])}))[("a",)]
    assert nothing.n == 0
    assert math.isnan(nothing.value)


def test_p_is_adjusted_for_the_effects_of_one_call():
    for found in (main_effects(FACTORS, CELLS), interactions(FACTORS, CELLS)):
        adjusted = holm([one.p for one in found])
        assert [one.p_adjusted for one in found] == pytest.approx(adjusted.tolist())


def test_replicates_without_spread_tell_nothing_of_chance():
    cells = {("off",): np.array([0.7, 0.8, 0.9]), ("on",): np.array([0.8, 0.9, 1.0])}
    (change,) = against_control(cells, ("off",))
    assert change.value == pytest.approx(0.1)
    assert (change.low, change.high, change.p, change.p_adjusted) == (None, None, None, None)


def folded(seed=0):
    """(seeds, folds) values of every cell of two factors."""
    values = np.random.default_rng(seed).normal(0.8, 0.05, (4, 2, 3))
    return dict(zip(product(["0", "1"], ["0", "1"]), values, strict=True))


def test_folds_are_averaged_over_seeds_and_their_intervals_corrected():
    cells = folded()
    (found,) = against_control({k: cells[k] for k in [("0", "0"), ("1", "0")]}, ("0", "0"))
    gain = (cells["1", "0"] - cells["0", "0"]).mean(axis=0)
    assert (found.value, found.n) == (pytest.approx(gain.mean()), 3)
    assert (found.low, found.high) == pytest.approx(corrected_t(gain))
    error = math.sqrt((1 / 3 + 1 / 2) * gain.var(ddof=1))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(gain.mean()) / error, 2))
    cell = by_name(cell_intervals(cells))["1", "0"]
    assert (cell.low, cell.high) == pytest.approx(corrected_t(cells["1", "0"].mean(axis=0)))


def test_effects_of_folds_are_paired_by_seed_and_fold():
    levels, cells = {"a": ["0", "1"], "b": ["0", "1"]}, folded()
    cells["1", "0"][0, 2] = np.nan
    off, on = (np.mean([cells[a, "0"], cells[a, "1"]], axis=0) for a in "01")
    by_fold = [(on - off)[:, 0].mean(), (on - off)[:, 1].mean(), (on - off)[1, 2]]
    found = by_name(main_effects(levels, cells))["a", "1"]
    assert (found.value, found.n) == (pytest.approx(np.mean(by_fold)), 3)
    both = (cells["1", "1"] - cells["0", "1"]) - (cells["1", "0"] - cells["0", "0"])
    by_fold = [both[:, 0].mean(), both[:, 1].mean(), both[1, 2]]
    (found,) = interactions(levels, cells)
    assert (found.low, found.high) == pytest.approx(corrected_t(np.array(by_fold)))


def test_a_fold_that_no_seed_has_is_left_out():
    values = np.array([[0.7, np.nan, 0.9, 0.8], [0.8, np.nan, np.nan, 0.7]])
    (found,) = cell_intervals({("a",): values})
    assert (found.value, found.n) == (pytest.approx((0.75 + 0.9 + 0.75) / 3), 3)
    assert (found.low, found.high) == pytest.approx(corrected_t([0.75, 0.9, 0.75], 1 / 4))


def test_an_incomplete_grid_is_refused():
    cells = {name: values for name, values in CELLS.items() if name != ("on", "small")}
    with pytest.raises(ValueError, match=r"no cell \('on', 'small'\)"):
        main_effects(FACTORS, cells)
    with pytest.raises(ValueError, match="no cell"):
        against_control(cells, ("on", "small"))
    cells = {**CELLS, ("on", "small"): np.array([1.0])}
    with pytest.raises(ValueError, match=r"differ in replicates: \[\(1,\), \(3,\)\]"):
        interactions(FACTORS, cells)


def test_known_effects_are_covered_and_seeds_cancel():
    rng, levels = np.random.default_rng(0), {"a": ["0", "1"], "b": ["0", "1"]}
    truths = {("a", "1"): 1.5, ("b", "1"): 0.5, ("a", "1", "b", "1"): 1.0}
    covered, widths = [], []
    for _ in range(4000):
        seeds = rng.normal(0, 50, size=4)  # what a seed does to every cell
        cells = {
            (a, b): int(a) + int(a) * int(b) + seeds + rng.normal(size=4)
            for a, b in product(*levels.values())
        }
        found = by_name([*main_effects(levels, cells), *interactions(levels, cells)])
        covered.append(
            [found[name].low <= truth <= found[name].high for name, truth in truths.items()]
        )
        widths.append(found[("a", "1")].high - found[("a", "1")].low)
    assert np.mean(covered, axis=0) == pytest.approx(
        [0.975, 0.975, 0.95], abs=4 * math.sqrt(0.05 / 4000)
    )
    assert np.median(widths) < 5


def test_false_alarms_against_a_control_are_one_family_in_twenty():
    rng, alarms, misses = np.random.default_rng(1), [], []
    for _ in range(2000):
        found = against_control({(str(k),): rng.normal(size=5) for k in range(6)}, ("0",))
        alarms.append(min(one.p_adjusted for one in found) < 0.05)
        misses.append(not all(one.low <= 0 <= one.high for one in found))
    most = 0.05 + 4 * math.sqrt(0.05 * 0.95 / 2000)
    assert 0.02 < np.mean(misses) <= most
    assert np.mean(alarms) <= most
