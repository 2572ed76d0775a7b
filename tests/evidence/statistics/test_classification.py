"""Choices and probabilities: by hand, against scikit-learn, and what chance does to them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import confusion_matrix, f1_score, log_loss

from augcompress.evidence.statistics import (
    confusion,
    ece,
    ece_interval,
    fit_temperature,
    hits,
    macro_f1,
    macro_f1_interval,
    nll,
    reliability_bins,
    rescale,
)

LABELS = np.array([0, 0, 0, 1, 1, 3])
CHOSEN = np.array([0, 0, 1, 1, 1, 0])


def sample(n, classes=5, seed=0):
    """(n, classes) probabilities that tell the truth, and labels drawn from them."""
    rng = np.random.default_rng(seed)
    raised = np.exp(rng.normal(0, 2, size=(n, classes)))
    probabilities = raised / raised.sum(axis=1, keepdims=True)
    labels = (probabilities.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return probabilities, labels


def test_hits_by_hand():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.4, 0.4, 0.2]])
    labels = np.array([1, 0, 1])
    assert hits(probabilities, labels, 1).tolist() == [False, True, False]  # the first of a tie
    assert hits(probabilities, labels, 2).all()


def test_confusion_has_true_classes_as_rows():
    table = confusion(LABELS, CHOSEN, 4)
    assert table.tolist() == [[2, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    np.testing.assert_array_equal(table, confusion_matrix(LABELS, CHOSEN, labels=range(4)))


def test_macro_f1_by_hand_and_by_scikit_learn():
    # F1 of 0: 2*2/(3+3); of 1: 2*2/(2+3); 2 is nowhere and left out; 3 is never found
    found = macro_f1(confusion(LABELS, CHOSEN, 4))
    assert found == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)
    assert found == pytest.approx(f1_score(LABELS, CHOSEN, average="macro", zero_division=0))
    assert macro_f1(np.zeros((3, 3), int)) == 0.0


def test_macro_f1_of_many():
    probabilities, labels = sample(500)
    chosen = probabilities.argmax(axis=1)
    table = confusion(labels, chosen, 5)
    assert macro_f1(table) == pytest.approx(f1_score(labels, chosen, average="macro"))


def test_macro_f1_interval_is_that_of_redrawn_samples():
    probabilities, labels = sample(300)
    chosen = probabilities.argmax(axis=1)
    rng = np.random.default_rng(0)
    drawn = [
        macro_f1(confusion(labels[rows], chosen[rows], 5))
        for rows in rng.integers(0, 300, size=(4000, 300))
    ]
    expected = tuple(np.quantile(drawn, [0.025, 0.975]))
    table = confusion(labels, chosen, 5)
    assert macro_f1_interval(table, resamples=4000) == pytest.approx(expected, abs=0.006)
    assert macro_f1_interval(np.zeros((3, 3), int)) == (0.0, 1.0)


def test_macro_f1_interval_covers():
    cells = np.array([[0.30, 0.03, 0.02], [0.04, 0.26, 0.05], [0.01, 0.04, 0.25]])
    truth = np.mean(2 * np.diag(cells) / (cells.sum(axis=0) + cells.sum(axis=1)))
    tables = np.random.default_rng(0).multinomial(400, cells.ravel(), size=1000).reshape(-1, 3, 3)
    ends = [macro_f1_interval(table, resamples=500, seed=s) for s, table in enumerate(tables)]
    covered = np.mean([low <= truth <= high for low, high in ends])
    assert covered == pytest.approx(0.945, abs=4 * math.sqrt(0.95 * 0.05 / 1000))


def test_nll_is_scikit_learns_and_is_clipped():
    probabilities, labels = sample(200)
    assert nll(probabilities, labels).mean() == pytest.approx(log_loss(labels, probabilities))
    assert nll(np.array([[0.0, 1.0]]), np.array([0])) == pytest.approx([12 * math.log(10)])


SURE = np.array([[0.95, 0.05], [0.96, 0.04], [0.4, 0.6], [0.3, 0.7], [0.35, 0.65]])
TRUE = np.array([0, 1, 1, 1, 0])


def test_reliability_by_hand():
    found = reliability_bins(SURE, TRUE, bins=5)  # (0.4, 0.6], (0.6, 0.8], (0.8, 1]
    assert [one.count for one in found] == [1, 2, 2]
    assert [one.low for one in found] == pytest.approx([0.4, 0.6, 0.8])
    assert [one.high for one in found] == pytest.approx([0.6, 0.8, 1.0])
    assert [one.confidence for one in found] == pytest.approx([0.6, 0.675, 0.955])
    assert [one.accuracy for one in found] == pytest.approx([1.0, 0.5, 0.5])


def test_ece_by_hand():
    by_hand = (1 * 0.4 + 2 * 0.175 + 2 * 0.455) / 5
    assert ece(SURE, TRUE, bins=5) == pytest.approx(by_hand)
    assert ece(np.eye(3), np.arange(3)) == 0.0
    bars = reliability_bins(SURE, TRUE)
    weighed = sum(one.count * abs(one.confidence - one.accuracy) for one in bars) / 5
    assert ece(SURE, TRUE) == pytest.approx(weighed)


@pytest.mark.parametrize("n, about", [(200, 0.08), (1000, 0.036), (10_000, 0.011)])
def test_ece_of_a_perfectly_calibrated_model_is_too_high_on_few_samples(n, about):
    found = np.mean([ece(*sample(n, seed=seed)) for seed in range(40)])
    assert found == pytest.approx(about, rel=0.15)  # the truth is 0


def test_ece_interval_of_a_perfectly_calibrated_model_reaches_zero():
    low = [ece_interval(*sample(500, seed=seed), resamples=300)[0] for seed in range(200)]
    assert np.mean(np.array(low) == 0) > 0.93


@pytest.mark.parametrize("excess", [0.03, 0.1])
def test_ece_interval_covers_and_holds_the_estimate(excess):
    rng = np.random.default_rng(0)
    covered = []
    for seed in range(250):
        sure = 0.5 + 0.5 * rng.beta(4, 1, size=1000)
        labels = (rng.random(1000) > sure - excess).astype(int)
        probabilities = np.stack([sure, 1 - sure], axis=1)
        low, high = ece_interval(probabilities, labels, resamples=200, seed=seed)
        assert low <= ece(probabilities, labels) <= high
        covered.append(low <= excess <= high)
    assert np.mean(covered) > 0.9


def test_nothing_measured_has_the_widest_interval():
    nothing = np.zeros((0, 3)), np.zeros(0, int)
    assert (ece(*nothing), ece_interval(*nothing)) == (0.0, (0.0, 1.0))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_temperature_is_recovered(temperature):
    probabilities, labels = sample(20_000)
    distorted = rescale(probabilities, 1 / temperature)
    assert fit_temperature(distorted, labels) == pytest.approx(temperature, rel=0.03)
    assert rescale(distorted, temperature) == pytest.approx(probabilities, abs=1e-4)  # clipped


def test_temperature_minimises_the_loss():
    probabilities, labels = sample(300)
    sharp = rescale(probabilities, 0.5).astype(np.float32)
    best = minimize_scalar(
        lambda log: nll(rescale(sharp, math.exp(log)), labels).mean(), bounds=(-3, 3)
    )
    assert fit_temperature(sharp, labels) == pytest.approx(math.exp(best.x), rel=1e-3)


def test_temperature_without_a_best_stays_within_bounds():
    uniform, labels = np.full((6, 3), 1 / 3), np.array([0, 1, 2, 0, 1, 2])
    wrong = np.eye(3)[[0, 1, 2]]
    assert fit_temperature(uniform, labels) == 1.0
    assert fit_temperature(wrong, np.array([1, 2, 0])) == pytest.approx(100, rel=1e-6)
    assert 0.01 <= fit_temperature(np.eye(3) * 0.8 + 0.1, np.arange(3)) < 0.2
