"""Measurements of choices and probabilities: names, intervals, conditions, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss, roc_auc_score

from augcompress.errors import AugcompressError
from augcompress.evidence import MeasureName
from augcompress.evidence.predictions import Predictions
from augcompress.evidence.statistics import ece, fit_temperature, nll, rescale, wilson
from augcompress.measures import calibrated, quality

NAMES = ("Shirt", "Bag", "Boot", "Coat", "Dress", "Sandal")


def predictions(n=400, classes=6, split="test", seed=0, sharpness=1.0, names=NAMES):
    rng = np.random.default_rng(seed)
    raised = np.exp(rng.normal(0, 2, size=(n, classes)))
    truth = raised / raised.sum(axis=1, keepdims=True)
    labels = (truth.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    told = rescale(truth, 1 / sharpness)
    return Predictions(told, labels, np.arange(n), classes=names[:classes], split=split)


def by_name(measurements):
    return {one.name: one for one in measurements}


def test_every_measure_of_quality_is_taken():
    found = quality(predictions(), subject="export/model.onnx")
    plain = ["top1", "top5", "macro_f1", *["recall"] * 6, "roc_auc", "nll", "ece"]
    assert [one.name for one in found] == plain
    assert set(plain) <= set(MeasureName)
    for one in found:
        assert (one.split, one.subject) == ("test", "export/model.onnx")
        assert one.low <= one.value <= one.high
        assert one.low < one.high
        assert one.n == (400 if one.name != "recall" else one.n)


def test_values_and_methods():
    given = predictions()
    found = by_name(quality(given, subject="m"))
    chosen = given.probabilities.argmax(axis=1)
    wanted = f1_score(given.labels, chosen, average="macro")
    assert found["macro_f1"].value == pytest.approx(wanted)
    area = roc_auc_score(given.labels, given.probabilities, multi_class="ovr")
    assert found["roc_auc"].value == pytest.approx(area)
    assert found["nll"].value == pytest.approx(log_loss(given.labels, given.probabilities))
    assert found["ece"].value == ece(given.probabilities, given.labels)
    methods = {name: found[name].method for name in ("top1", "macro_f1", "roc_auc", "nll", "ece")}
    assert methods == {
        "top1": "wilson",
        "macro_f1": "bootstrap",
        "roc_auc": "delong",
        "nll": "bootstrap",
        "ece": "bootstrap",
    }
    better = {one.better for one in (found["nll"], found["ece"])}
    assert better == {"lower"}
    assert found["nll"].unit == "nats"


def test_recall_has_a_row_for_each_class_with_samples():
    given = predictions()
    some = given.labels != 2
    given = Predictions(
        given.probabilities[some], given.labels[some], given.index[some], classes=NAMES
    )
    rows = [one for one in quality(given, subject="m") if one.name == "recall"]
    assert [one.conditions["class"] for one in rows] == [n for n in NAMES if n != "Boot"]
    of_bags = given.labels == 1
    right = int((given.right & of_bags).sum())
    bags = rows[1]
    assert (bags.n, bags.value) == (int(of_bags.sum()), right / of_bags.sum())
    assert (bags.low, bags.high) == wilson(right, int(of_bags.sum()))


def test_conditions_say_how():
    found = by_name(quality(predictions(), subject="m"))
    assert found["ece"].conditions == {"bins": 15, "bias": "estimated too high on few samples"}
    assert found["nll"].conditions == {"clipped_at": 1e-12}
    assert found["roc_auc"].conditions == {"average": "one-vs-rest, macro", "classes": 6}


def test_without_names_or_split_classes_are_numbers():
    found = quality(predictions(names=(), split=""), subject=None)
    recalls = [one.conditions["class"] for one in found if one.name == "recall"]
    assert recalls == ["0", "1", "2", "3", "4", "5"]
    assert {one.split for one in found} == {None}


def test_few_classes_have_no_top5():
    found = by_name(quality(predictions(classes=5), subject="m"))
    assert "top5" not in found
    assert "top1" in found


def test_one_class_has_no_area():
    given = predictions()
    one = given.labels == 0
    alone = Predictions(given.probabilities[one], given.labels[one], given.index[one])
    assert "roc_auc" not in by_name(quality(alone, subject="m"))


@pytest.mark.parametrize("sharpness", [1, 60])
def test_a_perfect_model_of_one_image_a_class_is_measured(sharpness):
    given = Predictions(rescale(np.eye(3) * 0.9 + 0.03, 1 / sharpness), np.arange(3), np.arange(3))
    for one in quality(given, subject="m"):
        assert one.low <= one.value <= one.high


def test_scaling_uses_the_temperature_of_validation():
    validation = predictions(3000, split="validation", seed=1, sharpness=2.5)
    test = predictions(3000, sharpness=2.5)
    found = by_name(calibrated(validation, test, subject="m"))
    temperature = fit_temperature(validation.probabilities, validation.labels)
    assert temperature == pytest.approx(2.5, rel=0.1)
    scaled = rescale(test.probabilities, temperature)
    assert set(found) == {"nll_scaled", "ece_scaled"}
    assert found["nll_scaled"].value == nll(scaled, test.labels).mean()
    for one in found.values():
        assert one.conditions["temperature"] == temperature
        assert one.conditions["fitted_on"] == "validation"
        assert (one.split, one.n, one.subject, one.better) == ("test", 3000, "m", "lower")
    before = by_name(quality(test, subject="m"))
    assert found["ece_scaled"].high < before["ece"].low
    assert found["nll_scaled"].high < before["nll"].value


def test_other_classes_are_refused():
    with pytest.raises(AugcompressError, match="m: a temperature of 5 classes does not fit"):
        calibrated(predictions(classes=5), predictions(), subject="m")


def test_no_samples_are_refused():
    nothing = Predictions(np.zeros((0, 3)), np.zeros(0), np.zeros(0))
    with pytest.raises(AugcompressError, match=r"model\.onnx: there are no samples to measure"):
        quality(nothing, subject="model.onnx")
    with pytest.raises(AugcompressError, match="there are no samples"):
        calibrated(nothing, predictions(), subject="m")


def test_outputs_that_are_no_numbers_are_refused():
    given = predictions()
    broken = given.probabilities.copy()
    broken[[3, 5], 1] = np.nan
    broken[7, 0] = np.inf
    given = Predictions(broken, given.labels, given.index)
    with pytest.raises(AugcompressError, match="m: the outputs for 3 of 400 images are no numbers"):
        quality(given, subject="m")
