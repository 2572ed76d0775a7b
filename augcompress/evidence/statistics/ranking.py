"""Areas under ROC curves: how well scores put the samples of a class before the others."""

from __future__ import annotations

import math

import numpy as np

from augcompress.evidence.statistics.intervals import (
    LEVEL,
    Interval,
    clopper_pearson,
    normal_quantile,
)


def delong(
    probabilities: np.ndarray, labels: np.ndarray, level: float = LEVEL
) -> tuple[float, float, float]:
    """The area under the ROC curve and the ends of its interval, of `(n, classes)` probabilities
    and `(n,)` labels: the mean over the classes present of each one's area against the rest, which
    is how probably a sample of the class scores above another, ties half (Hanley and McNeil 1982,
    doi:10.1148/radiology.143.1.7063747).  NaN when fewer than two classes are present.

    The variance is that of DeLong et al. (1988, doi:10.2307/2531595), applied to the mean over
    classes: each sample's influences on all areas are added before they are squared.  The interval
    is symmetric on the logit scale.  Assumes independent samples, and more than a few of each
    class.  Where no variance is seen (perfect separation) it is the Clopper-Pearson interval of as
    many comparisons as the rarest class has samples, which is wide, and never too narrow there.
    """
    present, sizes = np.unique(labels, return_counts=True)
    if len(present) < 2:
        return math.nan, math.nan, math.nan
    areas, influence = np.empty(len(present)), np.zeros(len(labels))
    for place, one in enumerate(present):
        inside = labels == one
        placed = _placements(probabilities[:, one], inside)
        areas[place] = placed[inside].mean()
        for group in (inside, ~inside):
            count = group.sum()
            influence[group] += (placed[group] - areas[place]) / math.sqrt(
                count * max(count - 1, 1)
            )
    area, error = float(areas.mean()), math.sqrt(float(influence @ influence)) / len(present)
    if error < 1e-9 or not 0 < area < 1:
        return area, *clopper_pearson(area * sizes.min(), int(sizes.min()), level)
    return area, *_on_logits(area, error, level)


def _placements(scores: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """`(n,)` for a sample of the class the share of others below it, for another that of the
    class's above it (Sun and Xu 2014, doi:10.1109/LSP.2014.2337313).
    """
    others = len(scores) - inside.sum()
    ranks, placed = _midranks(scores), np.empty(len(scores))
    placed[inside] = (ranks[inside] - _midranks(scores[inside])) / others
    placed[~inside] = 1 - (ranks[~inside] - _midranks(scores[~inside])) / inside.sum()
    return placed


def _midranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _on_logits(share: float, error: float, level: float) -> Interval:
    centre = math.log(share / (1 - share))
    half = normal_quantile(level) * error / (share * (1 - share))
    low, high = (0.5 + 0.5 * math.tanh((centre + side) / 2) for side in (-half, half))
    return low, high
