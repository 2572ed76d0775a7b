"""How good a classifier's choices are, and how far its probabilities can be believed.

`probabilities` are `(n, classes)`, `labels` and `chosen` `(n,)` int classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from augcompress.evidence.statistics.intervals import (
    DRAWS_AT_ONCE,
    LEVEL,
    RESAMPLES,
    Interval,
    ends,
    percentiles,
    resampled,
    resampled_table,
)

BINS = 15
LEAST_PROBABILITY = 1e-12
"""Probabilities below it count as it."""
TEMPERATURES = (0.01, 100.0)
_MOST_STEPS = 60


def hits(probabilities: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """`(n,)` booleans: is the label among the k most probable classes?

    A tie with the label counts against it when the other class comes first.
    """
    row = np.arange(len(labels))
    own = probabilities[row, labels][:, None]
    earlier = np.arange(probabilities.shape[1])[None, :] < labels[:, None]
    ahead = (probabilities > own) | ((probabilities == own) & earlier)
    return (ahead.sum(axis=1) < k) & ~np.isnan(own[:, 0])


def confusion(labels: np.ndarray, chosen: np.ndarray, classes: int) -> np.ndarray:
    """`(classes, classes)` counts: rows are true classes, columns chosen ones."""
    cells = np.asarray(labels, np.int64) * classes + np.asarray(chosen, np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def macro_f1(confusion: np.ndarray) -> float:
    """Mean over classes of F1, the harmonic mean of precision and recall.

    As scikit-learn's `f1_score(average="macro", zero_division=0)`: a class that is never found
    scores 0, one that is neither true nor chosen anywhere is left out; without samples it is 0.
    """
    true, chosen = np.nonzero(confusion)
    counts = confusion[true, chosen]
    return float(f1_of_table(true, chosen)(counts[None, :])[0]) if len(counts) else 0.0


def macro_f1_interval(
    confusion: np.ndarray, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of `macro_f1`; see `intervals.bootstrap`.

    The confusion matrix is redrawn from its multinomial distribution, which is the same as
    redrawing the samples.  Covers too little where a class has few samples.
    """
    true, chosen = np.nonzero(confusion)
    if not len(true):
        return 0.0, 1.0
    statistic = f1_of_table(true, chosen)
    return ends(resampled_table(confusion[true, chosen], statistic, resamples, seed), level)


def joint_table(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows `(cells, columns)` of several `(n,)` int columns, and how often each is."""
    return np.unique(np.stack(columns, axis=1), axis=0, return_counts=True)


def f1_of_table(true: np.ndarray, chosen: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Macro-F1 as a function of `(draws, cells)` counts, for cells of the given true and chosen
    classes `(cells,)`.
    """
    classes = int(max(true.max(), chosen.max())) + 1
    right = np.flatnonzero(true == chosen)

    def statistic(counts: np.ndarray) -> np.ndarray:
        found = _by_class(counts[:, right], true[right], classes)
        either = _by_class(counts, true, classes) + _by_class(counts, chosen, classes)
        scores = 2 * found / np.maximum(either, 1)  # (draws, classes)
        return scores.sum(axis=1) / np.maximum((either > 0).sum(axis=1), 1)

    return statistic


def _by_class(counts: np.ndarray, cell_class: np.ndarray, classes: int) -> np.ndarray:
    sums = np.zeros((len(counts), classes), np.int64)
    if len(cell_class):
        order = np.argsort(cell_class, kind="stable")
        present, starts = np.unique(cell_class[order], return_index=True)
        sums[:, present] = np.add.reduceat(counts[:, order], starts, axis=1)
    return sums


def nll(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`(n,)` negative log-likelihood of the labels in nats; probabilities below 1e-12 count as
    1e-12, so that one sample adds at most 27.6.
    """
    own = np.asarray(probabilities, float)[np.arange(len(labels)), labels]
    return -np.log(np.maximum(own, LEAST_PROBABILITY))


@dataclass(frozen=True)
class Bin:
    """Samples whose highest probability lies in `(low, high]`."""

    low: float
    high: float
    confidence: float
    """Mean of their highest probabilities."""
    accuracy: float
    """Share of them that are right."""
    count: int


def reliability_bins(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> list[Bin]:
    """The bins of equal width that hold samples, in order: a reliability diagram's bars."""
    confidence, right = _confidence(probabilities, labels)
    place = _bin_of(confidence, bins)
    counts = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, values, bins) for values in (confidence, right)]
    means = [(total / np.maximum(counts, 1)).tolist() for total in sums]
    rows = zip(*means, counts.tolist(), strict=True)
    every = [Bin(place / bins, (place + 1) / bins, *row) for place, row in enumerate(rows)]
    return [one for one in every if one.count]


def ece(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599): the mean
    distance between confidence and accuracy, over bins of equal width weighted by their samples.

    Biased upwards, the more the fewer samples: chance alone moves a bin's accuracy away from its
    confidence, and distances do not cancel.  A perfectly calibrated model whose confidences fill
    the bins measures about 0.04 at n = 1,000 and 0.01 at n = 10,000.
    """
    parts = ece_parts(probabilities, labels, bins)
    return float(ece_of_parts(parts[None])[0]) if len(parts) else 0.0


def ece_interval(
    probabilities: np.ndarray,
    labels: np.ndarray,
    bins: int = BINS,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of `ece`, corrected for its bias; holds the estimate.

    Resampling adds to the estimate about as much bias as is in it.  So the upper end is the
    percentile less that bias, the lower end the percentile reflected at the estimate; it is 0
    where a perfectly calibrated model with these confidences would measure as much by chance.
    Assumes independent samples.  Covers the true error (of these bins) 90 to 98 % of the time at a
    level of 95 %, less where the error is small beside its bias.
    """
    parts = ece_parts(probabilities, labels, bins)
    if not len(parts):
        return 0.0, 1.0
    found = float(ece_of_parts(parts[None])[0])
    drawn = resampled(len(parts), lambda rows: ece_of_parts(parts[rows]), resamples, seed)
    _, top = percentiles(drawn, level)
    by_chance = percentiles(_calibrated(probabilities, bins, resamples, seed), level)[1]
    low = 0.0 if found <= by_chance else max(0.0, min(found, 2 * found - top))
    return float(low), float(max(found, top - (drawn.mean() - found)))


def _calibrated(probabilities: np.ndarray, bins: int, resamples: int, seed: int) -> np.ndarray:
    """`(resamples,)` errors of a model that is right as often as it says."""
    sure = np.asarray(probabilities, float).max(axis=1)
    place = _bin_of(sure, bins)
    rng = np.random.default_rng([seed, 1])
    at_once = max(1, DRAWS_AT_ONCE // len(sure))
    found = []
    for start in range(0, resamples, at_once):
        gaps = sure - (rng.random((min(at_once, resamples - start), len(sure))) < sure)
        found.append(_error(np.broadcast_to(place, gaps.shape), gaps))
    return np.concatenate(found)


def ece_parts(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> np.ndarray:
    """`(n, 2)` each sample's bin, and its confidence minus whether it is right: what `ece` needs.

    `paired.paired_bootstrap(ece_parts(…), ece_parts(…), ece_of_parts)` compares two models.
    """
    confidence, right = _confidence(probabilities, labels)
    return np.stack([_bin_of(confidence, bins), confidence - right], axis=1)


def ece_of_parts(parts: np.ndarray) -> np.ndarray:
    """`(draws,)` expected calibration errors of `(draws, n, 2)` samples."""
    return _error(parts[..., 0].astype(np.int64), parts[..., 1])


def _error(place: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    draws, n = gaps.shape
    bins = int(place.max()) + 1
    cells = place + bins * np.arange(draws)[:, None]  # (draws, n)
    sums = np.bincount(cells.ravel(), gaps.ravel(), draws * bins).reshape(draws, bins)
    return np.abs(sums).sum(axis=1) / n


def _confidence(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities = np.asarray(probabilities, float)
    right = probabilities.argmax(axis=1) == labels
    return probabilities.max(axis=1), right.astype(float)


def _bin_of(confidence: np.ndarray, bins: int) -> np.ndarray:
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that, applied by `rescale`, makes the labels most likely (temperature
    scaling; Guo et al. 2017, https://arxiv.org/abs/1706.04599); between 0.01 and 100.

    The mean loss is convex in 1/T: Newton's steps on its slope, halvings where one leaves the
    bracket.
    """
    logits = np.log(np.maximum(np.asarray(probabilities, float), LEAST_PROBABILITY))
    own = logits[np.arange(len(labels)), labels].mean()
    (low, high), inverse = (1 / TEMPERATURES[1], 1 / TEMPERATURES[0]), 1.0
    for _ in range(_MOST_STEPS):
        slope, curvature = _slope_of_loss(logits, own, inverse)
        if abs(slope) < 1e-13:
            break
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        inverse -= slope / max(curvature, 1e-300)
        inverse = inverse if low < inverse < high else math.sqrt(low * high)
    return 1 / inverse


def _slope_of_loss(logits: np.ndarray, own: float, inverse: float) -> tuple[float, float]:
    """First and second derivative of the mean loss after the inverse temperature."""
    weights = _softmax(logits * inverse)
    means = np.einsum("ij,ij->i", weights, logits)
    squares = np.einsum("ij,ij,ij->i", weights, logits, logits)
    return float(means.mean() - own), float((squares - means**2).mean())


def rescale(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """`(n, classes)` softmax of the log-probabilities (logits, up to a constant) divided by a
    temperature; probabilities below 1e-12 count as 1e-12.
    """
    logits = np.log(np.maximum(np.asarray(probabilities, float), LEAST_PROBABILITY))
    return _softmax(logits / temperature)


def _softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
