"""Beta, Student's t and binomial distributions, without scipy."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

_TINY = 1e-300
_MOST_TERMS = 10_000


def normal_quantile(probability: float) -> float:
    """The standard normal's quantile."""
    return NormalDist().inv_cdf(probability)


def normal_cdf(value: float) -> float:
    """The standard normal's distribution function."""
    return NormalDist().cdf(value)


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), to about 12 digits.

    Lentz's evaluation of its continued fraction (DLMF 8.17.22, https://dlmf.nist.gov/8.17#v), on
    the side on which it converges quickly.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(1 - x, b, a)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(scale + a * math.log(x) + b * math.log1p(-x)) / a
    return front * _beta_fraction(x, a, b)


def _beta_fraction(x: float, a: float, b: float) -> float:
    above, below, product = 1.0, 0.0, 1.0
    for term in range(1, _MOST_TERMS):
        step = _beta_step(term, x, a, b)
        below = 1 / _off_zero(1 + step * below)
        above = _off_zero(1 + step / above)
        product *= above * below
        if abs(above * below - 1) < 1e-16:
            break
    return 1 / product


def _beta_step(term: int, x: float, a: float, b: float) -> float:
    m = term // 2
    if term % 2:
        return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))


def _off_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def beta_quantile(probability: float, a: float, b: float) -> float:
    """The x at which I_x(a, b) reaches `probability`, by bisection."""
    return _bisect(lambda x: beta_cdf(x, a, b) < probability, 0.0, 1.0)


def t_cdf(value: float, freedom: float) -> float:
    """Student's t distribution function at `value` with `freedom` degrees of freedom."""
    squared = value * value
    if squared > freedom:
        tail = beta_cdf(freedom / (freedom + squared), freedom / 2, 0.5) / 2
    else:
        tail = (1 - beta_cdf(squared / (freedom + squared), 0.5, freedom / 2)) / 2
    return tail if value < 0 else 1 - tail


@lru_cache(maxsize=256)
def t_quantile(probability: float, freedom: float) -> float:
    """Student's t quantile; the distribution function is inverted by bisection."""
    if probability == 0.5:
        return 0.0
    tail = min(probability, 1 - probability)
    most = 2.0
    while t_cdf(-most, freedom) > tail:
        most *= 2
    found = _bisect(lambda x: t_cdf(-x, freedom) > tail, 0.0, most)
    return found if probability > 0.5 else -found


def t_test(mean: float, standard_error: float, freedom: float) -> float:
    """Two-sided p of a mean against zero; without any spread it is 0 (or 1 where the mean is 0)."""
    if standard_error == 0:
        return float(mean == 0)
    return 2 * t_cdf(-abs(mean / standard_error), freedom)


def fair_binomial_cdf(successes: int, n: int) -> float:
    """P(X <= successes) of n tosses of a fair coin."""
    if successes >= n:
        return 1.0
    return beta_cdf(0.5, n - successes, successes + 1)


def _bisect(too_low: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if too_low(middle) else (low, middle)
    return (low + high) / 2
