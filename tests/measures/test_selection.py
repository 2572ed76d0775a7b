"""Measures that choose an epoch: the values of the full measures, the right way round."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from augcompress.errors import AugcompressError
from augcompress.evidence import Predictions
from augcompress.measures import SelectBy, quality, select_by


@pytest.fixture
def predictions() -> Predictions:
    draw = np.random.default_rng(0)
    labels = draw.choice(6, 60, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.05])
    probabilities = draw.dirichlet(np.ones(6), 60) + 0.3 * np.eye(6)[labels]
    probabilities /= probabilities.sum(1, keepdims=True)
    return Predictions(probabilities.astype(np.float32), labels, np.arange(60))


def test_values_are_those_of_the_measures(predictions):
    full = {row.name: row for row in quality(predictions, subject=None)}
    for name in set(get_args(SelectBy)) - {"balanced_accuracy"}:
        found = select_by(name, predictions.probabilities, predictions.labels)
        assert found.value == pytest.approx(full[name].value)
        assert found.better == full[name].better
    recalls = [row.value for row in quality(predictions, subject=None) if row.name == "recall"]
    balanced = select_by("balanced_accuracy", predictions.probabilities, predictions.labels)
    assert (balanced.value, balanced.better) == (pytest.approx(np.mean(recalls)), "higher")


def test_what_is_no_number_chooses_nothing():
    with pytest.raises(AugcompressError, match="roc_auc of the validation images is nan"):
        select_by("roc_auc", np.full((4, 3), 1 / 3), np.zeros(4, int))
