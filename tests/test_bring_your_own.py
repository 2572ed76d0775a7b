"""What users bring: an ONNX file that plain torch code made, and a plug-in network with weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from end_to_end import done, invoke, training, write_recipe
from onnx import TensorProto, helper
from sklearn.datasets import load_digits
from torch import nn

from augcompress.evidence.predictions import Predictions
from augcompress.evidence.records import read_measurements

MEAN, STD = 0.3, 0.38
RUN = Path("runs/foreign")


def plain_network() -> nn.Module:
    """A few seconds of plain torch on digits, normalised outside the network."""
    torch.manual_seed(0)
    found = load_digits()
    images = torch.from_numpy(found.images / 16).float()[:, None]
    labels = torch.from_numpy(found.target)
    inputs = (images - MEAN) / STD
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(12):
        for rows in torch.randperm(1200).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs[rows]), labels[rows]).backward()
            optimizer.step()
    return network.eval()


@pytest.fixture(scope="module")
def foreign_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("foreign") / "theirs.onnx"
    torch.onnx.export(
        plain_network(),
        (torch.zeros(2, 1, 8, 8),),
        path,
        input_names=["x"],
        output_names=["scores"],
        opset_version=18,
        dynamo=True,
        external_data=False,
        dynamic_shapes=({0: torch.export.Dim("n")},),
        verbose=False,
    )
    return path


def foreign_recipe(folder: Path, file: Path, **changes) -> Path:
    recipe = {
        "version": 1,
        "name": "foreign",
        "data": {"kind": "digits", "validation": 0.2},
        "foreign": {"file": str(file), "mean": [MEAN], "std": [STD]},
        "quantize": {"steps": [{"kind": "static_int8"}]},
        "export": {"timing": {"rounds": 2}},
        "limits": [
            {"measure": "top1", "at_least": 0.8},
            {"measure": "top1", "baseline": "float", "at_most_worse": 0.02},
        ],
        **changes,
    }
    path = folder / "foreign.yaml"
    path.write_text(json.dumps(recipe))
    return path


@pytest.fixture(scope="module")
def run(foreign_file, tmp_path_factory):
    """A folder in which the foreign file has been quantised and exported."""
    import contextlib

    folder = tmp_path_factory.mktemp("foreign-run")
    recipe = foreign_recipe(folder, foreign_file)
    with contextlib.chdir(folder):
        done("run", "-r", recipe)
        done("evaluate", "-r", recipe, "--from", foreign_file)
    return folder


def test_evaluate_answers_as_the_runtime_does(run, foreign_file):
    found = Predictions.load(run / RUN / "evaluate/predictions.npz")
    pixels = (load_digits().images * (255 / 16)).round().astype(np.uint8)[found.index]
    inputs = ((pixels[:, None] / np.float32(255) - MEAN) / STD).astype(np.float32)
    scores = onnxruntime.InferenceSession(foreign_file).run(None, {"x": inputs})[0]
    np.testing.assert_array_equal(found.chosen, scores.argmax(axis=1))
    assert found.right.mean() > 0.8


def test_quantised_foreign_file_is_ours_and_compared_with_what_it_was(run):
    graph = onnx.load(run / RUN / "export/model.onnx")
    assert [one.name for one in graph.graph.input] == ["input"]
    assert [one.name for one in graph.graph.output] == ["logits"]
    assert any(node.op_type == "DequantizeLinear" for node in graph.graph.node)
    rows = read_measurements(run / RUN / "export/measurements.json")
    against = {row.name for row in rows if row.baseline == "float"}
    assert {"agreement", "top1_difference", "speedup"} <= against
    agreed = next(row for row in rows if row.name == "agreement" and row.split == "test")
    assert agreed.value > 0.95


def test_compare_takes_the_foreign_file_and_the_run(run, foreign_file, monkeypatch):
    monkeypatch.chdir(run)
    answer = done("compare", foreign_file, RUN, "-r", "foreign.yaml", "--json")
    pair = json.loads(answer.out)["pairs"][0]
    rows = read_measurements(RUN / "export/measurements.json")
    wanted = next(row for row in rows if row.name == "top1_difference" and row.baseline == "float")
    assert pair["differences"][0]["value"] == pytest.approx(wanted.value)


def test_check_passes_and_fails_with_3_when_tightened(run, monkeypatch):
    monkeypatch.chdir(run)
    assert done("check", RUN, "-r", "foreign.yaml").code == 0
    answer = invoke("check", RUN, "-r", "foreign.yaml", "--set", "limits.0.at_least=0.9999")
    assert answer.code == 3
    assert "top1 on test at least 99.99 %" in answer.error


def test_foreign_float_file_is_exported_as_it_is(run, foreign_file, monkeypatch):
    monkeypatch.chdir(run)
    done("export", "-r", "foreign.yaml", "--from", foreign_file, "--run-dir", "runs/float")
    rows = read_measurements(Path("runs/float/export/measurements.json"))
    differs = next(row for row in rows if row.name == "max_abs_difference")
    assert differs.value < 1e-4
    assert (run / "runs/float/export/predict.py").is_file()


def graph_with(inputs: dict[str, list], output: list) -> onnx.ModelProto:
    made = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()]
    first = next(iter(inputs))
    nodes = [helper.make_node("ReduceMean", [first], ["y"], keepdims=1)]
    nodes += [helper.make_node("Identity", [n], [f"{n}_"]) for n in inputs]
    given = [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)]
    graph = helper.make_graph(nodes, "g", made, given)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize(
    "inputs, said",
    [
        ({"x": ["n", 1, 8, 8], "mask": ["n", 8]}, "inputs"),
        ({"x": ["n", 8, 8, 1]}, "NHWC"),
        ({"x": ["n", 64]}, "64"),
    ],
)
def test_files_of_another_kind_say_what_they_are_and_what_is_needed(place, inputs, said):
    onnx.save(graph_with(inputs, [1, 1, 1, 1]), "theirs.onnx")
    recipe = foreign_recipe(place, place / "theirs.onnx", foreign={})
    answer = invoke("evaluate", "-r", recipe, "--from", "theirs.onnx")
    assert answer.code == 1
    assert "theirs.onnx" in answer.error
    assert said in answer.error


def test_mean_of_another_channel_count_is_said(run, foreign_file, monkeypatch):
    monkeypatch.chdir(run)
    given = ("--from", foreign_file, "--set", "foreign.mean=[0.1,0.2]")
    answer = invoke("evaluate", "-r", "foreign.yaml", *given)
    assert answer.code == 1
    assert "mean" in answer.error


NETWORK = """
from torch import nn


class Net(nn.Sequential):
    def __init__(self, classes: int, width: int = 8):
        super().__init__(
            nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1, bias=False), nn.BatchNorm2d(2 * width),
            nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, classes),
        )
"""


def test_plugin_network_with_weights_teaches_learns_and_is_pruned(place, monkeypatch):
    (place / "net.py").write_text(NETWORK)
    scope: dict = {}
    exec(NETWORK, scope)
    torch.manual_seed(5)
    torch.save(scope["Net"](10).state_dict(), "net.pth")
    plugin = {"kind": "plugin", "target": "./net.py:Net"}

    def change(recipe):
        recipe["train_teacher"] = {"model": plugin, "weights": "net.pth", "training": training(2)}
        recipe["distill"] = {"student": plugin, "weights": "net.pth", "training": training(2)}

    recipe = write_recipe(place, change)
    refused = invoke("run", "-r", recipe)
    assert (refused.code, "--allow-plugins" in refused.error) == (1, True)
    found = json.loads(done("run", "-r", recipe, "--allow-plugins", "--json").out)
    macs = {
        stage["name"]: row["value"]
        for stage in found["stages"]
        for row in stage["measurements"]
        if row["name"] == "macs" and stage["name"] in ("distill", "prune")
    }
    assert macs["prune"] < 0.75 * macs["distill"]
    assert (place / "runs/tiny/export/model.onnx").is_file()
