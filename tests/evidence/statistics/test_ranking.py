"""Areas under ROC curves: scikit-learn's values, DeLong's variance, coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from augcompress.evidence.statistics import clopper_pearson, delong


def area_of(probabilities, labels):
    return delong(probabilities, labels)[0]


def test_area_by_hand():
    scores = np.array([0.1, 0.4, 0.4, 0.8])
    labels = np.array([0, 1, 0, 1])
    by_hand = (1 + 0.5 + 1 + 1) / 4
    assert area_of(np.stack([-scores, scores], axis=1), labels) == pytest.approx(by_hand)


def multiclass(rng, n, separation=1.0, classes=4):
    labels = rng.integers(0, classes, n)
    raised = np.exp(rng.normal(size=(n, classes)) + separation * np.eye(classes)[labels])
    return raised / raised.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("digits", [1, 16])
def test_area_is_scikit_learns_with_and_without_ties(digits):
    probabilities, labels = multiclass(np.random.default_rng(0), 400)
    tied = np.round(probabilities, digits)
    areas = [roc_auc_score(labels == k, tied[:, k]) for k in range(4)]
    assert area_of(tied, labels) == pytest.approx(np.mean(areas), abs=1e-12)


def test_area_is_of_the_classes_present():
    probabilities, labels = multiclass(np.random.default_rng(0), 400)
    some = labels != 2
    areas = [roc_auc_score(labels[some] == k, probabilities[some, k]) for k in (0, 1, 3)]
    assert area_of(probabilities[some], labels[some]) == pytest.approx(np.mean(areas))
    assert np.isnan(delong(probabilities, np.zeros(400, int))).all()


def test_two_classes_have_delongs_variance():
    rng = np.random.default_rng(0)
    labels = (rng.random(60) < 0.4).astype(int)
    scores = rng.normal(size=60) + labels
    inside, outside = scores[labels == 1], scores[labels == 0]
    wins = (inside[:, None] > outside[None, :]).astype(float)
    variance = wins.mean(axis=1).var(ddof=1) / len(inside)
    variance += wins.mean(axis=0).var(ddof=1) / len(outside)
    area = wins.mean()
    half = 1.959964 * math.sqrt(variance) / (area * (1 - area))
    ends = [1 / (1 + math.exp(-(math.log(area / (1 - area)) + side))) for side in (-half, half)]
    found = delong(np.stack([-scores, scores], axis=1), labels)
    assert found == pytest.approx((area, *ends), abs=1e-7)


@pytest.mark.parametrize(
    "shift, n, nominal", [(1.0, 100, 0.95), (2.0, 200, 0.95), (3.0, 60, 0.975)]
)
def test_interval_of_two_classes_covers(shift, n, nominal):
    rng, truth, covered = np.random.default_rng(1), norm.cdf(shift / math.sqrt(2)), []
    for _ in range(1500):
        labels = (np.arange(n) < n // 3).astype(int)
        scores = rng.normal(size=n) + shift * labels
        _, low, high = delong(np.stack([-scores, scores], axis=1), labels)
        covered.append(low <= truth <= high)
    # close to perfect separation the intervals are too wide
    assert np.mean(covered) == pytest.approx(nominal, abs=4 * math.sqrt(0.95 * 0.05 / 1500))


def test_interval_of_a_macro_area_covers():
    rng = np.random.default_rng(2)
    truth = area_of(*multiclass(rng, 200_000))
    found = [delong(*multiclass(rng, 200)) for _ in range(1000)]
    covered = np.mean([low <= truth <= high for _, low, high in found])
    assert covered == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 1000))


def test_perfect_separation_is_as_sure_as_its_rarest_class_is_large():
    labels = np.array([0] * 30 + [1] * 12 + [2] * 20)
    area, low, high = delong(np.eye(3)[labels], labels)
    assert (area, high) == (1.0, 1.0)
    assert low == clopper_pearson(12, 12)[0] == pytest.approx(0.025 ** (1 / 12))


def test_scores_that_never_differ_are_not_sure_of_one_half():
    labels = np.array([0] * 30 + [1] * 12)
    area, low, high = delong(np.full((42, 2), 0.5), labels)
    assert area == 0.5
    assert low < 0.25
    assert high > 0.75
