"""Distribution functions against scipy's."""

from __future__ import annotations

import pytest
from scipy import stats

from augcompress.evidence.statistics.distributions import (
    beta_cdf,
    beta_quantile,
    fair_binomial_cdf,
    t_cdf,
    t_quantile,
    t_test,
)

TAILS = [0.0005, 0.005, 0.025, 0.05, 0.3, 0.5, 0.6, 0.95, 0.975, 0.995, 0.99999]


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 29, 99.5, 1000, 100_000])
def test_quantiles_of_student_t(freedom):
    ours = [t_quantile(tail, freedom) for tail in TAILS]
    assert ours == pytest.approx(list(stats.t.ppf(TAILS, freedom)), rel=1e-9, abs=1e-9)
    back = [t_cdf(value, freedom) for value in ours]
    assert back == pytest.approx(TAILS, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("a, b", [(0.5, 0.5), (1, 1), (3, 200), (5000, 5000), (4000, 6000)])
def test_beta(a, b):
    points = [1e-6, 0.001, 0.1, 0.3, 0.5, 0.52, 0.9, 0.999]
    ours = [beta_cdf(x, a, b) for x in points]
    assert ours == pytest.approx(list(stats.beta.cdf(points, a, b)), rel=1e-9, abs=1e-250)
    assert (beta_cdf(0.0, a, b), beta_cdf(1.0, a, b)) == (0.0, 1.0)
    quantiles = [beta_quantile(tail, a, b) for tail in TAILS]
    assert quantiles == pytest.approx(list(stats.beta.ppf(TAILS, a, b)), rel=1e-9)


@pytest.mark.parametrize("n", [1, 7, 100, 5001])
def test_tosses_of_a_coin(n):
    counts = sorted({0, n // 3, n // 2, n - 1, n})
    ours = [fair_binomial_cdf(count, n) for count in counts]
    assert ours == pytest.approx(list(stats.binom.cdf(counts, n, 0.5)), rel=1e-9, abs=1e-250)


def test_t_test_agrees_and_needs_no_spread():
    values = [0.3, -0.1, 0.5, 0.7]
    expected = stats.ttest_1samp(values, 0.0).pvalue
    error = stats.sem(values)
    assert t_test(sum(values) / 4, error, 3) == pytest.approx(expected, rel=1e-9)
    assert (t_test(0.1, 0.0, 3), t_test(0.0, 0.0, 3)) == (0.0, 1.0)
