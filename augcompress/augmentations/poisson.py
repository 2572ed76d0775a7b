"""Poisson counts for whole images, by a number of operations that does not depend on the means."""

from __future__ import annotations

import torch
from torch import Tensor

FEW = 4.0
"""From this mean on, counts come from a normal draw."""
_MOST = 16  # of a mean below FEW; more come less than once in 10^5


def poisson(mean: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
    """Poisson draws of the given means (0 or above); all tensors have one shape, float32.

    Below a mean of 4 the distribution is inverted at `uniform`, exactly; from there on `normal`
    goes into an expansion of the quantile.  At worst, at 4, its counts are off by 0.24 % in total
    variation, by 0.03 % in the mean and by 0.2 % in the variance.
    """
    low = mean.clone().lt_(FEW)  # 1 or 0; `where` is several times slower on masks like this
    counts = few(mean, uniform).mul_(low)
    return counts.addcmul_(many(mean.clamp_min(FEW), normal), 1 - low)


def few(mean: Tensor, uniform: Tensor) -> Tensor:
    """How many of the cumulative probabilities are not above `uniform`; 16 at most."""
    term = (-mean).exp_()
    cumulative, counts, reached = term.clone(), torch.zeros_like(mean), torch.empty_like(mean)
    for count in range(1, _MOST + 1):
        counts.add_(torch.ge(uniform, cumulative, out=reached))
        cumulative.add_(term.mul_(mean).mul_(1 / count))
    return counts


def many(mean: Tensor, normal: Tensor) -> Tensor:
    """The quantile by its expansion about a normal distribution (Giles 2016,
    doi:10.1145/2699466), as far as 1/sqrt(mean), rounded down."""
    root, square = mean.sqrt(), normal * normal
    third = (square + 2).mul_(normal).div_(root).div_(-72)
    quantile = (root * normal).add_(mean).add_(square, alpha=1 / 6).add_(1 / 3).add_(third)
    return quantile.floor_().clamp_min_(0)
