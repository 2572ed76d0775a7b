"""Intervals of one number: their nominal coverage, enumerated or simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from augcompress.evidence.statistics import (
    bootstrap,
    bootstrap_mean,
    clopper_pearson,
    corrected_t,
    student_t,
    wilson,
)
from augcompress.evidence.statistics.intervals import percentiles, resampled, resampled_table

CASES = 20_000
ERROR = 4 * math.sqrt(0.95 * 0.05 / CASES)
"""Four standard errors of a coverage of 95 % over that many cases."""


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.277533),  # z^2 / (n + z^2)
        (10, 10, 0.722467, 1.0),
        (5, 10, 0.236593, 0.763407),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
        (15, 148, 0.0624, 0.1605),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_against_published_values(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


def exact_coverage(interval, n, shares):
    """(shares,) the probability that a binomial count's interval holds the true share."""
    low, high = np.array([interval(count, n) for count in range(n + 1)]).T
    holds = (low <= shares[:, None]) & (shares[:, None] <= high)
    return (stats.binom.pmf(np.arange(n + 1), n, shares[:, None]) * holds).sum(axis=1)


@pytest.mark.parametrize(
    "n, least, least_at_the_ends",
    [(10, 0.916, 0.838), (20, 0.926, 0.843), (50, 0.930, 0.839), (100, 0.932, 0.860),
     (359, 0.941, 0.898)],
)  # fmt: skip
def test_wilson_covers_95_percent_on_average(n, least, least_at_the_ends):
    middle = exact_coverage(wilson, n, np.linspace(0.1, 0.9, 1601))
    everywhere = exact_coverage(wilson, n, np.linspace(0.0005, 0.9995, 2000))
    assert middle.mean() == pytest.approx(0.95, abs=0.007)
    assert everywhere.mean() == pytest.approx(0.95, abs=0.005)
    assert middle.min() > least
    assert everywhere.min() > least_at_the_ends


@pytest.mark.parametrize("n", [1, 2, 10, 20, 50, 100, 359])
def test_clopper_pearson_never_covers_less_than_95_percent(n):
    assert exact_coverage(clopper_pearson, n, np.linspace(0.0005, 0.9995, 2000)).min() >= 0.95


@pytest.mark.parametrize("successes, n", [(0, 7), (7, 7), (3, 10), (81, 263)])
def test_clopper_pearson_is_scipys(successes, n):
    theirs = stats.binomtest(successes, n).proportion_ci(0.9, "exact")
    assert clopper_pearson(successes, n, 0.9) == pytest.approx(tuple(theirs), abs=1e-9)


def test_student_t_by_hand_and_by_scipy():
    low, high = student_t([1.0, 2.0, 3.0])
    half = 4.302652729911275 / math.sqrt(3)  # t of 2 degrees of freedom; standard deviation 1
    assert (low, high) == pytest.approx((2 - half, 2 + half), abs=1e-9)
    values = np.random.default_rng(0).normal(size=7)
    theirs = stats.t.interval(0.9, 6, values.mean(), stats.sem(values))
    assert student_t(values, 0.9) == pytest.approx(theirs, abs=1e-9)


def test_one_value_has_no_t_interval():
    assert student_t(np.array([1.0])) is None
    assert corrected_t(np.array([1.0])) is None


@pytest.mark.parametrize("n", [3, 5, 10])
def test_student_t_covers(n):
    cases = np.random.default_rng(n).normal(0.3, 2.0, size=(CASES, n))
    found = np.array([student_t(values) for values in cases])
    covered = (found[:, 0] <= 0.3) & (found[:, 1] >= 0.3)
    assert covered.mean() == pytest.approx(0.95, abs=ERROR)


def test_corrected_t_by_hand():
    # 2 folds: variance 2, test/train = 1: variance of the mean 2 * (1/2 + 1) = 3; t of 1 is 12.706
    half = 12.706204736432095 * math.sqrt(3)
    assert corrected_t([0.0, 2.0]) == pytest.approx((1 - half, 1 + half), abs=1e-8)


@pytest.mark.parametrize("folds", [3, 5, 10])
def test_corrected_t_covers_where_folds_are_as_correlated_as_it_assumes(folds):
    rng, shared = np.random.default_rng(folds), 1 / folds
    own = rng.normal(size=(CASES, folds)) * math.sqrt(1 - shared)
    cases = own + rng.normal(size=(CASES, 1)) * math.sqrt(shared)
    found = np.array([(*corrected_t(values), *student_t(values)) for values in cases])
    corrected = (found[:, 0] <= 0) & (found[:, 1] >= 0)
    plain = (found[:, 2] <= 0) & (found[:, 3] >= 0)
    assert corrected.mean() == pytest.approx(0.95, abs=ERROR)
    assert plain.mean() < 0.90


def means_of_cases(cases):
    """The bootstrap's statistic for many cases at once: (draws, cases) means."""

    def statistic(rows):
        n = cases.shape[1]
        flat = rows + n * np.arange(len(rows))[:, None]
        counts = np.bincount(flat.ravel(), minlength=n * len(rows)).reshape(len(rows), n)
        return counts @ cases.T / n

    return statistic


@pytest.mark.parametrize("n", [200, 30, 10])
def test_bootstrap_of_a_mean_covers(n):
    # its ends are 1.96 standard errors away, with the variance over n: less than Student's t asks
    nominal = 2 * stats.t.cdf(1.959964 * math.sqrt((n - 1) / n), n - 1) - 1
    cases = np.random.default_rng(1).normal(0.3, 2.0, size=(40, CASES // 40, n))
    covered = []
    for seed, some in enumerate(cases):
        low, high = percentiles(resampled(n, means_of_cases(some), 1000, seed))
        covered.append((low <= 0.3) & (high >= 0.3))
        alone = bootstrap_mean(some[0], resamples=1000, seed=seed)  # one at a time it is the same
        assert alone == pytest.approx((low[0], high[0]), abs=1e-9)
    assert np.mean(covered) == pytest.approx(nominal, abs=ERROR)


def test_a_table_redrawn_is_its_samples_redrawn():
    counts = np.array([30, 60, 10])
    samples = np.repeat([0, 1, 2], counts)
    by_table = resampled_table(counts, lambda drawn: drawn, 20_000)
    by_sample = resampled(
        100, lambda rows: np.stack([(samples[rows] == k).sum(axis=1) for k in range(3)], 1), 20_000
    )
    assert (by_table.sum(axis=1) == 100).all()
    assert by_table.mean(axis=0) == pytest.approx(by_sample.mean(axis=0), abs=0.2)
    assert np.cov(by_table.T) == pytest.approx(np.cov(by_sample.T), abs=0.6)


def test_bootstrap_of_a_constant_is_the_constant():
    assert bootstrap_mean(np.full(20, 3.0)) == (3.0, 3.0)


def test_resampling_repeats_and_differs_by_seed():
    values = np.random.default_rng(0).normal(size=50)
    assert bootstrap_mean(values) == bootstrap_mean(values)
    assert bootstrap_mean(values) != bootstrap_mean(values, seed=1)


def test_many_samples_are_drawn_in_parts():
    sizes = []

    def first(rows):
        sizes.append(rows.size)
        return rows[:, 0]

    assert resampled(1_000_000, first, resamples=5).shape == (5,)
    assert max(sizes) <= 2_097_152
    low, high = bootstrap(1_000_000, first, resamples=5)
    assert 0 <= low <= high < 1_000_000
