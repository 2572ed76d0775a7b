"""Several targets, each with its own file, parity and measurements; what parity is against."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from end_to_end import SHIPPED_FILES, done, files, invoke
from onnx import numpy_helper
from PIL import Image

from augcompress.compressions import StaticInt8
from augcompress.evidence import Predictions, read_measurements
from augcompress.spec import load
from augcompress.stages import quantize

RUN = Path("runs/tiny")
TOY = Path(__file__).parents[1] / "exporters" / "zipped_graph.py"
NEW = "--run-dir", "runs/new"


@pytest.fixture
def toy(mine):
    """Arguments that add a target of the user's own, with these options."""
    shutil.copy(TOY, mine / "toy.py")

    def arguments(**options):
        plugin = {"kind": "plugin", "target": "./toy.py:ZippedGraph", "options": options}
        targets = [{"kind": "onnx", "agreement": 0.7}, plugin]
        return (
            "-r",
            "tiny.yaml",
            "--allow-plugins",
            "--set",
            f"export.targets={json.dumps(targets)}",
        )

    return arguments


def rows_of(run=RUN):
    return read_measurements(run / "export/measurements.json")


def test_a_second_target_has_its_own_file_parity_and_measurements(toy, mine):
    before = {
        (one.name, one.label, one.baseline): one for one in rows_of() if one.role == "shipped"
    }
    done("export", *toy(agreement=0.7))
    assert files(mine / RUN / "export") == SHIPPED_FILES | {"model.zip"}
    assert "model.zip" in (mine / RUN / "export/SHA256SUMS").read_text()
    second = [one for one in rows_of() if one.role == "target"]
    assert {one.subject for one in second} == {"model.zip"}
    found = {(one.name, one.label, one.baseline): one for one in second}
    own = {(name, None, None) for name in ("peak_memory_bytes", "int8_time")}  # not of every file
    assert set(found) >= set(before) - own
    parity = next(o for o in second if (o.name, o.baseline) == ("agreement", "float"))
    assert (parity.split, parity.n) == ("validation", 144)
    assert abs(found["top1", None, None].value - before["top1", None, None].value) < 0.01


@pytest.mark.parametrize(
    "source, options, message",
    [
        ("quantize", {"spoil": 80}, "model.zip chooses its float network's class on 0 %"),
        ("distill", {"spoil": 80}, "model.zip: differs from the network by 80"),
        ("quantize", {"refuse": True}, "model.zip: refused by its own check"),
    ],
)
def test_a_second_target_that_is_wrong_ships_nothing(toy, source, options, message):
    answer = invoke("export", *toy(**options), "--from", source, *NEW)
    assert answer.code == 3
    assert message in answer.error
    assert not list(Path("runs/new").glob("export/*"))


@pytest.mark.parametrize(
    "targets, message",
    [
        ("[{kind: onnx}, {kind: onnx, batch: 1}]", "onnx, onnx name one file twice"),
        ("[{kind: plugin, target: 'toy.py:Toy'}]", "the first must be onnx"),
    ],
)
def test_targets_that_cannot_stand_together_are_refused(mine, targets, message):
    answer = invoke("export", "-r", "tiny.yaml", "--set", f"export.targets={targets}")
    assert answer.code == 2
    assert message in answer.error


def test_parity_and_its_split_are_of_validation_images(finished):
    rows = [row for row in rows_of(finished / RUN) if row.split == "validation"]
    parity = [row for row in rows if row.name in ("agreement", "max_abs_difference")]
    assert [(row.split, row.n, row.baseline) for row in parity] == [("validation", 144, "float")]


def test_baselines_are_those_of_their_stages(finished):
    """The teacher's cost is the teacher's, and float is the network that was quantised."""
    shipped = {row.role: row.value for row in rows_of(finished / RUN) if row.name == "macs"}
    for role, stage in (("teacher", "train_teacher"), ("float", "prune")):
        rows = read_measurements(finished / RUN / stage / "measurements.json")
        assert shipped[role] == next(row.value for row in rows if row.name == "macs")


def spoil(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A quantised graph that prefers one class: not what its float network does."""
    gemm = next(node for node in graph.graph.node if node.op_type == "Gemm")
    last = gemm.output[0]
    gemm.output[0] = "inner"
    raised = ((np.arange(10) == 3) * 80).astype(np.float32)
    graph.graph.initializer.append(numpy_helper.from_array(raised, "raised"))
    graph.graph.node.append(onnx.helper.make_node("Add", ["inner", "raised"], [last]))
    return graph


@pytest.mark.parametrize("stage", ["quantize", "export"])
def test_int8_is_compared_with_the_float_network(mine, monkeypatch, stage):
    """A graph that differs is caught by quantize; where that does not look, by export."""
    pack = StaticInt8.pack

    def spoiled(*given):
        graph, decisions = pack(*given)
        return spoil(graph), decisions

    monkeypatch.setattr(StaticInt8, "pack", spoiled)
    if stage == "export":
        monkeypatch.setattr(quantize, "check_parity", lambda *_, **__: [])
    done("run", "-r", "tiny.yaml", "--until", "prune", *NEW)
    if stage == "export":
        done("quantize", "-r", "tiny.yaml", *NEW, "--force")
    answer = invoke(stage, "-r", "tiny.yaml", *NEW, "--force")
    assert answer.code == 3
    assert "model.onnx chooses its float network's class on 0 %" in answer.error


def test_metadata_name_the_recipe_of_the_run(finished, monkeypatch):
    monkeypatch.chdir(finished)
    spec, _ = load("tiny.yaml")
    graph = onnx.load(RUN / "export/model.onnx")
    assert {one.key: one.value for one in graph.metadata_props}["recipe"] == spec.digest()


def test_files_that_prepare_images_themselves(mine):
    whole = (
        "-r",
        "tiny.yaml",
        "--set",
        "export.input=image",
        "--set",
        "export.keep_baselines=true",
    )
    folder = mine / RUN / "export"
    before = Predictions.load(folder / "predictions.npz").probabilities
    done("run", *whole)
    after = Predictions.load(folder / "predictions.npz").probabilities
    np.testing.assert_allclose(after, before, atol=1e-5)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8))
    image.save(mine / "photo.png")
    for name in ("model.onnx", "float.onnx", "teacher.onnx"):
        session = onnxruntime.InferenceSession(folder / name)
        assert session.get_inputs()[0].shape == ["height", "width", 1]
        scores = session.run(None, {"input": np.atleast_3d(np.asarray(image))})[0]
        assert scores.shape == (1, 10)
    said = done("predict", str(folder / "model.onnx"), "photo.png", "--json").out
    card = (folder / "MODEL_CARD.md").read_text()
    assert "uint8, one image of any size (height, width, 1)" in card
    assert "The file prepares an image itself" in card
    script = subprocess.run(
        [sys.executable, folder / "predict.py", "photo.png", "--csv"],
        capture_output=True,
        text=True,
    )
    assert script.stdout.splitlines()[-1].split(",")[1] == re.search(r'"label": "(\d)"', said)[1]
    done("evaluate", *whole, "--from", str(folder / "model.onnx"))
    done("check", str(RUN), *whole)
