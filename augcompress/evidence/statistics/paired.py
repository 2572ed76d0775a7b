"""Two models on the same samples: is the difference more than noise?

Of n samples, b are right for the first model only and c for the second only; the difference of the
two shares is (b - c) / n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from augcompress.evidence.statistics.classification import f1_of_table, joint_table
from augcompress.evidence.statistics.intervals import (
    LEVEL,
    RESAMPLES,
    Interval,
    Statistic,
    ends,
    normal_quantile,
    resampled,
    resampled_table,
)

_HALVINGS = 60


def discordant(left: np.ndarray, right: np.ndarray) -> tuple[int, int]:
    """b and c of two `(n,)` booleans: how often only the first, and only the second, is right."""
    left, right = np.asarray(left, bool), np.asarray(right, bool)
    return int((left & ~right).sum()), int((right & ~left).sum())


def mcnemar(b: int, c: int) -> float:
    """Exact two-sided p of McNemar's test that two models are equally often right (McNemar 1947,
    doi:10.1007/BF02295996): b of b + c tosses of a fair coin; 1 where they never differ.

    Assumes independent samples.  Never more than 5 % of equal models get p < 0.05, and clearly
    fewer where b + c is small.
    """
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(b, c), b + c, 0.5)))


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """`(m,)` p values adjusted for m tests (Holm 1979, https://www.jstor.org/stable/4615733): the
    chance that any test of a true null hypothesis falls below 0.05 is at most 5 %, however the
    tests depend on each other.
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted


def tango(b: int, c: int, n: int, level: float = LEVEL) -> Interval:
    """Score interval of the difference (b - c) / n of two paired shares (Tango 1998,
    doi:10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B).

    The differences that the score test does not refuse.  Assumes independent samples.  Has a width
    even where the models never differ; without samples it is (-1, 1).
    """
    low, high = tango_ends(b, c, n, level)
    return float(low), float(high)


def tango_ends(
    b: np.ndarray | int, c: np.ndarray | int, n: int, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """`tango` for arrays of b and c of one shape: the lower ends and the upper ends."""
    z = normal_quantile(level)
    first, second = np.asarray(b, float), np.asarray(c, float)
    return _lower_end(first, second, n, z), -_lower_end(second, first, n, z)


def _lower_end(b: np.ndarray, c: np.ndarray, n: int, z: float) -> np.ndarray:
    low = np.full(np.shape(b), -1.0)
    if n == 0:
        return low
    high = (b - c) / n
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        refused = b - c - n * middle > z * np.sqrt(n * null_variance(b, c, n, middle))
        low, high = np.where(refused, middle, low), np.where(refused, high, middle)
    return low


def null_variance(
    b: np.ndarray | float, c: np.ndarray | float, n: int, difference: np.ndarray | float
) -> np.ndarray:
    """Variance of one sample's difference where the true mean difference is the one given: both
    discordant shares at their most likely values under that condition (a quadratic's root).
    """
    linear = (2 * n - b + c) * difference - b - c
    constant = -c * difference * (1 - difference)
    root = np.sqrt(np.maximum(linear * linear - 8 * n * constant, 0.0))
    below = np.where(linear + root > 0, linear + root, 1.0)
    only_second = np.where(linear > 0, -2 * constant / below, (root - linear) / (4 * n))
    return np.maximum(2 * only_second + difference * (1 - difference), 0.0)


def non_inferior(b: int, c: int, n: int, margin: float, level: float = LEVEL) -> bool:
    """Is the first model not worse than the second by `margin` (a fraction) or more?

    True where the lower end of Tango's interval lies above -margin: a one-sided test at
    (1 - level) / 2, 2.5 % for a level of 95 %.
    """
    return tango(b, c, n, level)[0] > -margin


def power_of_non_inferiority(
    n: int, discordance: float, margin: float, true_difference: float = 0.0, level: float = LEVEL
) -> float:
    """How probable it is that `non_inferior` says yes.

    `discordance` is the share of samples on which only one of the two is right; `true_difference`
    the first model's true share minus the second's.  Normal approximation of the mean paired
    difference, with the variance of the null hypothesis for the threshold and the true one for the
    spread; within 1 point of simulation at n = 10,000 (docs/benchmarks.md).
    """
    if discordance < abs(true_difference):
        raise ValueError(f"discordance {discordance} is below the difference {true_difference}")
    b, c = n * (discordance + true_difference) / 2, n * (discordance - true_difference) / 2
    threshold = normal_quantile(level) * math.sqrt(null_variance(b, c, n, -margin) / n)
    spread = math.sqrt((discordance - true_difference**2) / n)
    surplus = true_difference + margin - threshold
    return NormalDist().cdf(surplus / spread) if spread else float(surplus > 0)


def paired_bootstrap(
    left: np.ndarray,
    right: np.ndarray,
    statistic: Statistic | None = None,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of `statistic(left) - statistic(right)`, both on the same
    redrawn samples.

    `left` and `right` are `(n, …)`, one entry a sample; `statistic` maps `(draws, n, …)` to
    `(draws,)`, None: the mean of `(n,)` values, such as hits or negative log-likelihoods.  Assumes
    independent samples; see `intervals.bootstrap`.
    """
    left, right = np.asarray(left), np.asarray(right)
    if len(left) != len(right):
        raise ValueError(f"{len(left)} and {len(right)} samples are not paired")
    if statistic is None:
        difference = left.astype(float) - right

        def change(rows: np.ndarray) -> np.ndarray:
            return difference[rows].mean(axis=1)
    else:
        measure = statistic

        def change(rows: np.ndarray) -> np.ndarray:
            return measure(left[rows]) - measure(right[rows])

    return ends(resampled(len(left), change, resamples, seed), level)


def paired_bootstrap_top1(
    b: int, c: int, n: int, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """`paired_bootstrap` of the difference (b - c) / n of two shares, from the three counts."""

    def change(counts: np.ndarray) -> np.ndarray:
        return (counts[:, 0] - counts[:, 1]) / n

    table = np.array([b, c, n - b - c])
    return ends(resampled_table(table, change, resamples, seed), level)


def paired_bootstrap_macro_f1(
    labels: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """`paired_bootstrap` of the difference of two macro-F1; all are `(n,)` classes: the true ones
    and those that each model chose.
    """
    cells, counts = joint_table(labels, left, right)
    first, second = f1_of_table(cells[:, 0], cells[:, 1]), f1_of_table(cells[:, 0], cells[:, 2])
    values = resampled_table(counts, lambda drawn: first(drawn) - second(drawn), resamples, seed)
    return ends(values, level)
