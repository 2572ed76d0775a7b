"""evaluate: every measure, test-time augmentation, temperature scaling."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from end_to_end import done, invoke

from augcompress.datasets import DataFacts
from augcompress.datasets.digits import Digits
from augcompress.evidence.predictions import Predictions
from augcompress.scoring import accuracy

RUN = Path("runs/tiny")
FLIP = "{kind: horizontal_flip, probability: %s}"


def evaluated(*given: str) -> tuple[Predictions, dict]:
    answer = done("evaluate", "-r", "tiny.yaml", *given, "--json")
    rows = json.loads(answer.out)["stages"][0]["measurements"]
    return Predictions.load(RUN / "evaluate/predictions.npz"), {row["name"]: row for row in rows}


def views(probability: float, count: int) -> tuple[str, str]:
    told = f"{{pipeline: [{FLIP % probability}], views: {count}}}"
    return "--set", f"evaluate.test_time_augmentation={told}"


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_views_are_averaged_over_the_clean_image_and_its_flip(mine):
    found, _ = evaluated(*views(1, 2))
    images = Digits(validation=0.1, subset=300).build(DataFacts(seed=0)).test
    pixels = images.fetch(np.arange(len(images))).numpy().astype(np.float32) / 255
    session = onnxruntime.InferenceSession(RUN / "export/model.onnx")
    seen = [softmax(session.run(None, {"input": x})[0]) for x in (pixels, pixels[..., ::-1].copy())]
    np.testing.assert_allclose(found.probabilities, np.mean(seen, axis=0), atol=1e-5)


def test_views_that_change_nothing_change_no_answer(mine):
    plain, _ = evaluated()
    same, _ = evaluated(*views(0, 3))
    np.testing.assert_allclose(same.probabilities, plain.probabilities, atol=1e-6)


def test_views_are_drawn_alike_each_time_and_several_differ(mine):
    first, _ = evaluated(*views(0.5, 4))
    again, _ = evaluated(*views(0.5, 4), "--force")
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    plain, _ = evaluated()
    assert np.abs(first.probabilities - plain.probabilities).max() > 1e-4


def test_measures_of_a_network_with_and_without_temperature(mine):
    _, rows = evaluated("--from", "distill")
    assert {"top1", "macro_f1", "recall", "roc_auc", "nll", "ece", "macs"} <= set(rows)
    assert rows["ece_scaled"]["conditions"]["fitted_on"] == "validation"
    assert rows["ece"]["conditions"]["bins"] == 15
    _, rows = evaluated("--from", "distill", "--set", "evaluate.temperature_scaling=false")
    assert "ece_scaled" not in rows
    _, rows = evaluated("--from", "distill", "--set", "evaluate.split=validation")
    assert {row["split"] for row in rows.values() if row["split"]} == {"validation"}


def test_one_view_is_no_augmentation(mine):
    answer = invoke("evaluate", "-r", "tiny.yaml", *views(1, 1))
    assert answer.code == 2
    assert "evaluate.test_time_augmentation.views" in answer.error


def test_views_that_mix_test_images_are_refused(mine):
    told = "{pipeline: [{kind: mixup}], views: 2}"
    answer = invoke(
        "evaluate", "-r", "tiny.yaml", "--set", f"evaluate.test_time_augmentation={told}"
    )
    assert answer.code == 2
    assert "mixup blends test images with each other" in answer.error


@pytest.mark.parametrize(("classes", "names"), [(5, ["top1"]), (6, ["top1", "top5"])])
def test_top5_is_of_more_than_five_classes(classes, names):
    labels = np.arange(12) % classes
    found = Predictions(np.eye(classes, dtype=np.float32)[labels], labels, np.arange(12))
    assert [one.name for one in accuracy(found, "model.safetensors")] == names
