"""evaluate.robustness: accuracy under disturbances and attacks, paired with the clean answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from end_to_end import done, invoke

from augcompress.evidence import robustness
from augcompress.evidence.predictions import Predictions

RUN = Path("runs/tiny")


def evaluated(told: str, *given: str) -> list[dict]:
    setting = f"evaluate.robustness={told}"
    answer = done("evaluate", "-r", "tiny.yaml", "--set", setting, *given, "--json")
    return json.loads(answer.out)["stages"][0]["measurements"]


def named(rows: list[dict], name: str) -> list[dict]:
    return [row for row in rows if row["name"] == name]


def refused(told: str, *given: str) -> str:
    answer = invoke("evaluate", "-r", "tiny.yaml", "--set", f"evaluate.robustness={told}", *given)
    assert answer.code == 1
    return answer.error


def test_an_attack_costs_accuracy_and_a_stronger_one_costs_more(mine):
    told = "[{kind: pgd, epsilon: 0.02}, {kind: pgd, epsilon: 0.3}, {kind: fgsm, epsilon: 0.3}]"
    rows = evaluated(told, "--from", "train-teacher")
    (clean,) = named(rows, "top1")
    weak, strong, single = named(rows, "robust_top1")
    assert clean["value"] >= weak["value"] > strong["value"]
    assert strong["value"] < clean["value"] - 0.2
    assert single["value"] >= strong["value"]
    assert weak["conditions"]["under"] == "pgd"
    assert (weak["conditions"]["epsilon"], weak["conditions"]["steps"]) == (0.02, 7)
    assert weak["low"] < weak["value"] < weak["high"]


def test_the_drop_is_paired_with_the_clean_answers(mine):
    rows = evaluated("[{kind: pgd, epsilon: 0.1}]", "--from", "distill")
    (clean,), (robust,) = named(rows, "top1"), named(rows, "robust_top1")
    (drop,) = named(rows, "robust_drop")
    assert drop["value"] == pytest.approx(clean["value"] - robust["value"])
    assert drop["low"] <= drop["value"] <= drop["high"]
    assert (drop["better"], drop["method"], drop["n"]) == ("lower", "tango", clean["n"])


def test_noise_can_be_measured_on_a_graph(mine):
    rows = evaluated("[{kind: affine, degrees: 60}, {kind: affine, probability: 0}]")
    clean = named(rows, "top1")[0]["value"]
    turned, same = named(rows, "robust_top1")
    assert turned["value"] < clean
    assert same["value"] == clean
    assert [row["value"] for row in named(rows, "robust_drop")][1] == 0


def test_the_same_disturbance_is_drawn_again(mine):
    told = "[{kind: pgd, epsilon: 0.1}, {kind: affine, degrees: 40}]"
    first = named(evaluated(told, "--from", "distill"), "robust_top1")
    again = named(evaluated(told, "--from", "distill", "--force"), "robust_top1")
    assert first == again


def test_what_is_shipped_is_measured_as_before(mine):
    plain = evaluated("[]")
    rows = evaluated("[{kind: affine, degrees: 10}]")
    assert [row for row in rows if not row["name"].startswith("robust_")] == plain


def test_an_attack_on_a_graph_names_the_stage_to_evaluate(mine):
    message = refused("[{kind: affine}, {kind: pgd}]")
    assert "evaluate.robustness.1: pgd needs the gradients of a network" in message
    assert "model.onnx is a graph without; evaluate the network: --from prune" in message


def test_what_mixes_labels_cannot_be_measured(mine):
    message = refused("[{kind: mixup, alpha: 1}]")
    assert "evaluate.robustness.0: mixup changes labels" in message


def test_views_of_an_image_cannot_be_attacks(mine):
    views = "evaluate.test_time_augmentation={pipeline: [{kind: fgsm}], views: 2}"
    answer = invoke("evaluate", "-r", "tiny.yaml", "--from", "prune", "--set", views)
    assert answer.code == 1
    where = "evaluate.test_time_augmentation.pipeline.0: fgsm climbs the loss of a network"
    assert where in answer.error


def test_drop_by_hand():
    labels, index = np.array([0, 0, 1, 1]), np.arange(4)
    sides = [np.array(rows) for rows in ([0, 0, 1, 0], [0, 1, 0, 1])]  # classes chosen
    clean, under = (Predictions(np.eye(2)[chosen], labels, index, split="test") for chosen in sides)
    top1, drop = robustness(clean, under, subject="file", conditions={"under": "fog"})
    assert (top1.name, top1.value, top1.n) == ("robust_top1", 0.5, 4)
    assert (drop.name, drop.value) == ("robust_drop", 0.25)
    assert drop.conditions == {"under": "fog"}
