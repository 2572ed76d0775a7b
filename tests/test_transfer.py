"""A small network for some of the classes that a large one knows, through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from end_to_end import done, invoke, training, write_recipe
from safetensors.torch import load_file

from augcompress.datasets import DataFacts
from augcompress.datasets.digits import Digits
from augcompress.evidence.predictions import Predictions
from augcompress.graphs import metadata_of
from augcompress.networks.checkpoint import load_network

FEW = ["8", "1", "3"]
RUN = Path("runs/few")
SMALL = {"kind": "small_cnn", "widths": [8, 16]}


@pytest.fixture(scope="module")
def teacher(finished, tmp_path_factory) -> Path:
    """A checkpoint that knows all digits."""
    folder = tmp_path_factory.mktemp("teacher")
    for name in ("model.safetensors", "model.json"):
        shutil.copy(finished / "runs/tiny/train_teacher" / name, folder)
    return folder / "model.safetensors"


def few(recipe: dict) -> None:
    """The tiny recipe for three digits, without a teacher of its own."""
    recipe |= {"name": "few", "data": {"kind": "digits", "classes": [8, 1, 3], "validation": 0.2}}
    recipe["distill"]["training"] = training(8)
    del recipe["train_teacher"], recipe["prune"]


def among_few(teacher: Path) -> np.ndarray:
    """Probabilities `(N,3)` of the three digits' test images: all ten logits, of which three
    count."""
    test = Digits(classes=tuple(FEW), validation=0.2).build(DataFacts(seed=0)).test
    network = load_network(teacher).module
    with torch.no_grad():
        logits = network(test.fetch(np.arange(len(test))) / 255)
    return logits[:, [8, 1, 3]].softmax(1).numpy()


def test_student_of_a_teacher_that_knows_more_is_shipped_with_its_own_labels(place, teacher):
    answer = done("run", "-r", write_recipe(place, few), "--teacher", teacher, "--json")
    said = "distill.teacher: model.safetensors knows 10 classes; its head is cut to 8, 1, 3"
    assert said in answer.err
    assert "3 of 10 classes" in answer.err
    file = place / RUN / "export/model.onnx"
    assert json.loads(metadata_of(onnx.load(file))["labels"]) == FEW
    session = onnxruntime.InferenceSession(file)
    assert session.run(None, {"input": np.zeros((2, 1, 8, 8), np.float32)})[0].shape == (2, 3)
    found = Predictions.load(place / RUN / "export/predictions-teacher.npz")
    assert found.classes == tuple(FEW)
    np.testing.assert_allclose(found.probabilities, among_few(teacher), atol=1e-5)


def test_network_from_elsewhere_in_the_pipeline_is_cut_and_pruned(place, teacher):
    def change(recipe):
        few(recipe)
        recipe["prune"] = {"steps": [{"kind": "channels", "macs": 0.7}], "training": training(2)}

    recipe = write_recipe(place, change)
    answer = done("prune", "-r", recipe, "--from", teacher)
    assert "prune: model.safetensors knows 10 classes" in answer.err
    told = json.loads((place / RUN / "prune/model.json").read_text())
    assert (told["classes"], told["facts"]["classes"]) == (FEW, 3)
    pruned = place / RUN / "prune/model.safetensors"
    done("evaluate", "-r", recipe, "--from", pruned)
    assert Predictions.load(place / RUN / "evaluate/predictions.npz").probabilities.shape[1] == 3


def test_foreign_weights_for_all_classes_become_the_teacher_as_they_are(place, teacher):
    state = load_file(teacher)
    body = {n.removeprefix("body."): v for n, v in state.items() if n.startswith("body.")}
    torch.save(body, place / "foreign.pth")

    def change(recipe):
        few(recipe)
        section = {"model": SMALL, "weights": "foreign.pth", "training": None}
        recipe["train_teacher"] = section

    done("train-teacher", "-r", write_recipe(place, change))
    kept = load_file(place / RUN / "train_teacher/model.safetensors")
    assert torch.equal(kept["body.linear.weight"], body["linear.weight"][[8, 1, 3]])
    assert json.loads((place / RUN / "train_teacher/model.json").read_text())["classes"] == FEW


@pytest.mark.parametrize(
    "classes, code, message",
    [
        ("[8, 11]", 1, "data.classes: '11' is no class of these data; did you mean '1'?"),
        ("[8, 8]", 2, "data.classes: class '8' is named twice"),
        ("[8]", 2, "data.classes: "),
    ],
)
def test_classes_that_cannot_be_chosen_are_one_line(classes, code, message, place, teacher):
    told = ("--teacher", teacher, "--set", f"data.classes={classes}")
    answer = invoke("distill", "-r", write_recipe(place, few), *told)
    assert answer.code == code
    assert message in answer.error


def test_graph_that_knows_more_classes_is_refused(finished, place, teacher):
    graph = finished / "runs/tiny/export/model.onnx"
    answer = invoke("evaluate", "-r", write_recipe(place, few), "--from", graph)
    assert answer.code == 1
    assert "3 classes; give another file" in answer.error


def test_class_that_the_subset_loses_is_named(place, teacher):
    recipe = write_recipe(place, few)
    told = ("--teacher", teacher, "--set", "data.subset=2")
    answer = invoke("distill", "-r", recipe, *told)
    assert answer.code == 1
    assert "data.subset: 2 leaves no training image of class" in answer.error
