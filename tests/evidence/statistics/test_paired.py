"""Two models on the same samples: tests against scipy, coverage, false alarms and power."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar
from scipy.special import gammaln, xlogy

from augcompress.evidence.statistics import (
    discordant,
    ece,
    ece_of_parts,
    ece_parts,
    holm,
    mcnemar,
    non_inferior,
    paired_bootstrap,
    paired_bootstrap_macro_f1,
    paired_bootstrap_top1,
    power_of_non_inferiority,
    tango,
)
from augcompress.evidence.statistics.paired import null_variance, tango_ends

CASES = 20_000
ERROR = 4 * math.sqrt(0.05 * 0.95 / CASES)
"""Four standard errors of a rate of 5 % over that many cases."""


def draw(rng, n, discordance, difference=0.0, cases=CASES):
    """(cases,) b and c of two models on n samples."""
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    counts = rng.multinomial(n, shares, size=cases)
    return counts[..., 0], counts[..., 1]


def p_values(b, c):
    """McNemar's p of each pair of counts; equal pairs are computed once."""
    pairs, place = np.unique(np.stack([b.ravel(), c.ravel()], 1), axis=0, return_inverse=True)
    return np.array([mcnemar(int(x), int(y)) for x, y in pairs])[place.ravel()].reshape(b.shape)


@pytest.mark.parametrize(
    "b, c", [(0, 0), (0, 1), (3, 3), (3, 4), (0, 20), (5, 17), (80, 53), (1500, 1700), (4000, 5000)]
)
def test_mcnemar_is_scipys_exact_test(b, c):
    theirs = stats.binomtest(min(b, c), b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(theirs, rel=1e-9)
    assert mcnemar(c, b) == mcnemar(b, c)


def test_discordant_by_hand():
    left = np.array([True, True, True, False, False])
    right = np.array([True, False, False, True, False])
    assert discordant(left, right) == (2, 1)


@pytest.mark.parametrize(
    "n, discordance", [(359, 0.03), (2000, 0.1), (10_000, 0.01), (10_000, 0.3)]
)
def test_equal_models_rarely_differ_significantly(n, discordance):
    rng = np.random.default_rng(n)
    assert np.mean(p_values(*draw(rng, n, discordance)) < 0.05) <= 0.05 + ERROR


def test_equal_models_of_any_discordance_rarely_differ_significantly():
    rng = np.random.default_rng(0)
    discordance = rng.uniform(0.002, 0.2, CASES)
    differing = rng.binomial(2000, discordance)
    b = rng.binomial(differing, 0.5)
    assert np.mean(p_values(b, differing - b) < 0.05) <= 0.05 + ERROR


def test_ten_comparisons_after_holm_have_one_false_alarm_in_twenty():
    b, c = draw(np.random.default_rng(1), 2000, 0.08, cases=(CASES, 10))
    p = p_values(b, c)
    families = np.array([holm(one).min() < 0.05 for one in p])
    assert families.mean() <= 0.05 + ERROR
    assert (p.min(axis=1) < 0.05).mean() > 0.25  # without the adjustment


def test_ten_models_against_one_after_holm():
    # what they share makes the comparisons dependent: the baseline's own luck is in all of them
    rng, n = np.random.default_rng(2), 1000
    luck = rng.random((1000, n, 1)) < 0.05
    others = rng.random((1000, n, 10)) < 0.05
    b, c = ((luck & ~others).sum(axis=1), (others & ~luck).sum(axis=1))
    families = np.array([holm(one).min() < 0.05 for one in p_values(b, c)])
    assert families.mean() <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 1000)


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 = 0.04, 0.06, 0.06, 0.04, then never falling
    assert holm([0.02, 0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.06, 0.04, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]).shape == (0,)


def likelihood(b, c, n, difference):
    """Log-likelihood of the second's discordant share, the first's being `difference` more."""

    def negative(share):
        rest = 1 - 2 * share - difference
        return -(xlogy(b, share + difference) + xlogy(c, share) + xlogy(n - b - c, rest))

    return negative


@pytest.mark.parametrize("b, c, n", [(0, 0, 50), (5, 0, 50), (12, 4, 44), (80, 53, 10_000)])
def test_tangos_ends_solve_the_score_test(b, c, n):
    for end in tango(b, c, n):
        bounds = (max(0.0, -end), (1 - end) / 2)
        share = minimize_scalar(
            likelihood(b, c, n, end), bounds=bounds, method="bounded", options={"xatol": 1e-12}
        ).x
        variance = 2 * share + end * (1 - end)
        assert null_variance(b, c, n, end) == pytest.approx(variance, abs=2e-6)
        score = (b - c - n * end) / math.sqrt(n * variance)
        assert abs(score) == pytest.approx(1.959964, abs=1e-3)


def test_tango_of_models_that_never_differ():
    # c = 0 and no difference: variance d(1 - d), so d = z^2 / (n + z^2)
    bound = 1.959964**2 / (50 + 1.959964**2)
    assert tango(0, 0, 50) == pytest.approx((-bound, bound), abs=1e-6)
    assert tango(0, 0, 0) == (-1.0, 1.0)


@pytest.mark.parametrize("b, c, n", [(7, 2, 30), (0, 9, 30), (30, 0, 30), (80, 53, 10_000)])
def test_tango_is_symmetric_and_holds_the_difference(b, c, n):
    low, high = tango(b, c, n)
    assert low <= (b - c) / n <= high
    assert low < high
    assert tango(c, b, n) == (-high, -low)


def exact_coverage_of_tango(n, truths):
    """The probability that the interval holds the truth, for (discordance, difference) pairs."""
    b, c = (one.ravel() for one in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
    b, c = b[b + c <= n], c[b + c <= n]
    low, high = tango_ends(b, c, n)
    ways = gammaln(n + 1) - gammaln(b + 1) - gammaln(c + 1) - gammaln(n - b - c + 1)
    found = []
    for discordance, difference in truths:
        first, second = (discordance + difference) / 2, (discordance - difference) / 2
        logs = ways + xlogy(b, first) + xlogy(c, second) + xlogy(n - b - c, 1 - discordance)
        found.append(np.exp(logs)[(low <= difference) & (difference <= high)].sum())
    return np.array(found)


@pytest.mark.parametrize("n, least", [(50, 0.934), (100, 0.931)])
def test_tango_covers_95_percent_on_average(n, least):
    discordances = np.linspace(0.02, 0.6, 30)
    truths = [(d, share * d) for d in discordances for share in np.linspace(-0.9, 0.9, 19)]
    coverage = exact_coverage_of_tango(n, truths)
    assert coverage.mean() == pytest.approx(0.95, abs=0.005)
    assert coverage.min() > least


@pytest.mark.parametrize("discordance, difference", [(0.01, 0.0), (0.02, 0.003), (0.08, -0.01)])
def test_tango_covers_at_10000_samples(discordance, difference):
    b, c = draw(np.random.default_rng(3), 10_000, discordance, difference)
    low, high = tango_ends(b, c, 10_000)
    assert np.mean((low <= difference) & (difference <= high)) == pytest.approx(0.95, abs=ERROR)


def test_non_inferior_is_tangos_lower_end():
    low, _ = tango(40, 50, 10_000)
    assert non_inferior(40, 50, 10_000, -low + 1e-6)
    assert not non_inferior(40, 50, 10_000, -low - 1e-6)


@pytest.mark.parametrize("margin", [0.0025, 0.005])
def test_a_model_worse_by_the_margin_rarely_passes(margin):
    b, c = draw(np.random.default_rng(4), 10_000, 0.02, -margin)
    passed = tango_ends(b, c, 10_000)[0] > -margin
    assert passed.mean() <= 0.025 + 4 * math.sqrt(0.025 * 0.975 / CASES)


@pytest.mark.parametrize(
    "discordance, margin, difference",
    [(0.01, 0.0025, 0.0), (0.02, 0.005, 0.0), (0.04, 0.005, -0.001), (0.08, 0.01, 0.0)],
)
def test_power_is_as_simulated(discordance, margin, difference):
    b, c = draw(np.random.default_rng(5), 10_000, discordance, difference)
    passed = tango_ends(b, c, 10_000)[0] > -margin
    stated = power_of_non_inferiority(10_000, discordance, margin, difference)
    assert stated == pytest.approx(passed.mean(), abs=0.01 + ERROR)


def test_power_needs_a_possible_difference():
    assert power_of_non_inferiority(10_000, 0.0, 0.005) == 1.0
    with pytest.raises(ValueError, match=r"discordance 0.01 is below the difference -0.02"):
        power_of_non_inferiority(10_000, 0.01, 0.005, -0.02)


def test_bootstrap_of_top1_agrees_with_the_samples_and_with_tango():
    left, right = np.zeros(2000, bool), np.zeros(2000, bool)
    left[:90] = True
    right[60:80] = True
    right[90:130] = True
    b, c = discordant(left, right)
    fast, slow = paired_bootstrap_top1(b, c, 2000), paired_bootstrap(left, right)
    assert fast == pytest.approx(slow, abs=0.001)
    assert fast == pytest.approx(tango(b, c, 2000), abs=0.001)


def test_bootstrap_covers_a_difference_of_top1():
    n, difference = 2000, 0.0203  # between two possible counts
    b, c = draw(np.random.default_rng(6), n, 0.05, difference)
    pairs, place = np.unique(np.stack([b, c], 1), axis=0, return_inverse=True)
    ends = np.array([paired_bootstrap_top1(x, y, n, resamples=1000) for x, y in pairs])
    low, high = ends[place.ravel()].T
    assert np.mean((low <= difference) & (difference <= high)) == pytest.approx(0.945, abs=0.008)


def test_bootstrap_of_macro_f1_is_paired():
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 4, 600)
    left = np.where(rng.random(600) < 0.9, labels, rng.integers(0, 4, 600))
    right = left.copy()
    right[:6] = labels[:6]
    assert paired_bootstrap_macro_f1(labels, left, left) == (0.0, 0.0)
    low, high = paired_bootstrap_macro_f1(labels, right, left)
    assert 0 <= low <= high < 0.01


def test_bootstrap_of_any_statistic_is_paired():
    rng = np.random.default_rng(8)
    sure = rng.uniform(0.5, 1, 3000)
    probabilities = np.stack([sure, 1 - sure], axis=1)
    labels = (rng.random(3000) > sure).astype(int)
    over = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    found = ece(over, labels) - ece(probabilities, labels)
    low, high = paired_bootstrap(
        ece_parts(over, labels), ece_parts(probabilities, labels), ece_of_parts, resamples=500
    )
    assert 0.05 < low < found < high


def test_unequal_numbers_of_samples_are_not_paired():
    with pytest.raises(ValueError, match="3 and 4 samples are not paired"):
        paired_bootstrap(np.zeros(3), np.zeros(4))
