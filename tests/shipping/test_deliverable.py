"""What export leaves for others: the file, its card, its scripts, its checksums."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from end_to_end import SHIPPED_FILES, TIMINGS, done, files, invoke, write_recipe
from onnx import numpy_helper
from PIL import Image

from augcompress import graphs
from augcompress.evidence.predictions import Predictions, load_arrays
from augcompress.evidence.records import read_layers, read_measurements
from augcompress.graphs import writing

RUN = Path("runs/tiny/export")
STANDALONE = ("onnxruntime", "numpy", "PIL", "flatbuffers", "google", "packaging")


def shipped(finished):
    return finished / RUN


def export_with(folder, **target):
    """The tiny recipe's export with other settings; what it measured, by name."""
    recipe = write_recipe(folder, lambda r: r["export"]["targets"][0].update(target))
    done("run", "-r", recipe, "--json")
    return {row.name: row for row in read_measurements(folder / RUN / "measurements.json")}


def test_every_measure_is_taken_of_the_shipped_file(finished):
    rows = read_measurements(shipped(finished) / "measurements.json")
    ours = {row.name for row in rows if row.role == "shipped"}
    assert ours >= {"top1", "top5", "macro_f1", "recall", "roc_auc", "nll", "ece", "nll_scaled"}
    assert ours >= {"ece_scaled", "agreement", "top1_difference", "size_bytes", "compressed_bytes"}
    assert ours >= TIMINGS - {"peak_memory_bytes"}
    for row in rows:
        if row.split == "test":
            assert row.n == 359 or row.name == "recall"
            assert None not in (row.low, row.high), row.name
    roles = {row.role for row in rows if row.name == "macs"}
    assert roles == {"teacher", "float"}


def test_differences_from_the_kept_predictions(finished):
    rows = read_measurements(shipped(finished) / "measurements.json")
    ours = Predictions.load(shipped(finished) / "predictions.npz")
    for role in ("teacher", "float"):
        theirs = Predictions.load(shipped(finished) / f"predictions-{role}.npz")
        found = next(r for r in rows if r.name == "top1_difference" and r.baseline == role)
        assert found.value == pytest.approx(ours.right.mean() - theirs.right.mean())
        assert (theirs.data, theirs.classes) == (ours.data, ours.classes)
    assert (ours.split, len(ours.classes)) == ("test", 10)


def test_checksums_are_those_of_the_files(finished):
    lines = (shipped(finished) / "SHA256SUMS").read_text().splitlines()
    sums = dict(reversed(line.split("  ")) for line in lines)
    assert set(sums) == {"model.onnx", "predict.py", "bench.py"}
    for name, digest in sums.items():
        content = (shipped(finished) / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest


def test_shipped_files_are_the_same_bytes_again(finished, mine):
    done("export", "-r", "tiny.yaml", "--force", "-q")
    for name in ("model.onnx", "predict.py", "bench.py", "SHA256SUMS", "layers.json"):
        assert (mine / RUN / name).read_bytes() == (shipped(finished) / name).read_bytes()


def test_metadata_tell_labels_metrics_and_opset_and_no_path(finished):
    graph = onnx.load(shipped(finished) / "model.onnx")
    told = {one.key: one.value for one in graph.metadata_props}
    top1 = next(
        row
        for row in read_measurements(shipped(finished) / "measurements.json")
        if row.name == "top1" and row.role == "shipped"
    )
    assert json.loads(told["labels"]) == [str(digit) for digit in range(10)]
    assert json.loads(told["metrics"])["top1"]["value"] == top1.value
    assert set(json.loads(told["metrics"])) == {"top1", "top5", "macro_f1", "nll", "ece"}
    assert int(told["opset"]) == next(o.version for o in graph.opset_import if o.domain == "")
    assert told["quantized"] == "true"
    content = (shipped(finished) / "model.onnx").read_bytes()
    for secret in (str(finished), str(Path.home()), ".py", "site-packages"):
        assert secret.encode() not in content, secret


def test_card_tells_data_metrics_limits_and_licence(mine):
    given = "export.card={license: MIT, contact: 'a|b', intended_use: sorting post}"
    done("export", "-r", "tiny.yaml", "--set", given)
    card = (mine / RUN / "MODEL_CARD.md").read_text()
    assert "| Licence of the model | MIT |" in card
    assert "| Licence of the training data | not stated |" in card
    assert "a\\|b" in card
    assert "**Intended use.** sorting post" in card
    assert re.search(r"\| Top-1 accuracy \| [\d.]+ % \([\d.]+–[\d.]+, n=359\) \|", card)
    assert card.count("| recall |") == 1
    assert "300 train, 144 validation, 359 test images" in card
    assert "Quantize: static_int8" in card
    assert str(mine) not in card
    assert "{{" not in card
    assert "None" not in card


def test_layers_tell_cost_precision_and_sensitivity(finished):
    found = read_layers(shipped(finished) / "layers.json")
    rows = read_measurements(shipped(finished) / "measurements.json")
    macs = next(row.value for row in rows if row.name == "macs" and row.role == "float")
    assert sum(layer.macs for layer in found) == macs
    assert {layer.precision for layer in found} == {"int8"}
    assert all(layer.sensitivity_db is not None and layer.sensitivity_db > 10 for layer in found)
    assert {layer.type for layer in found} == {"Conv2d", "Linear"}


def test_examples_are_test_images_that_were_lost_or_won_or_wrong(finished):
    found = load_arrays(shipped(finished) / "examples.npz", "examples")
    ours = Predictions.load(shipped(finished) / "predictions.npz")
    teacher = Predictions.load(shipped(finished) / "predictions-teacher.npz")
    assert found["images"].shape[1:] == (8, 8, 1)
    assert found["images"].dtype == np.uint8
    places = [int(np.flatnonzero(ours.index == one)[0]) for one in found["index"]]
    assert all(not ours.right[p] or not teacher.right[p] for p in places)
    lost = [p for p in places if teacher.right[p] and not ours.right[p]]
    won = [p for p in places if ours.right[p] and not teacher.right[p]]
    assert len(lost) >= min(24, (teacher.right & ~ours.right).sum())
    assert len(won) == min(16, (ours.right & ~teacher.right).sum())


@pytest.fixture
def alone(tmp_path):
    """Python with no other packages in reach than those that the scripts name."""
    reach = tmp_path / "packages"
    reach.mkdir()
    for name in STANDALONE:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            (reach / name).symlink_to(next(iter(spec.submodule_search_locations)))
    for found in Path(np.__file__).parents[1].glob("*.libs"):
        (reach / found.name).symlink_to(found)
    environment = {**os.environ, "PYTHONPATH": str(reach), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*arguments):
        command = [sys.executable, "-S", *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=tmp_path
        )

    assert run("-c", "import torch").returncode != 0
    return run


def test_predict_script_labels_as_predict_does_without_the_package(finished, tmp_path, alone):
    """Files and folders, an image that is none among them."""
    script, images = shipped(finished) / "predict.py", tmp_path / "images"
    (images / "inside/.hidden").mkdir(parents=True)
    arrays = load_arrays(shipped(finished) / "examples.npz", "examples")
    ours = Predictions.load(shipped(finished) / "predictions.npz")
    for number, pixels in enumerate(arrays["images"][:6]):
        place = (images / f"{number}.png", images / f"inside/{number}.PNG")[number % 2]
        Image.fromarray(pixels[:, :, 0]).save(place)
    shutil.copy(images / "0.png", images / "inside/.hidden/0.png")
    (images / "inside/notes.txt").write_text("no image")
    (tmp_path / "bad.png").write_bytes(b"no image")
    given = ("bad.png", images, images / "0.png", "--csv", "--top", "3")
    found = alone(script, *given)
    with contextlib.chdir(tmp_path):
        wanted = invoke("predict", shipped(finished) / "model.onnx", *given)
    assert (found.returncode, wanted.code) == (1, 1)
    assert found.stdout == wanted.out
    assert [line.split("(")[0] for line in found.stderr.splitlines()] == [
        "bad.png: not a readable image "
    ]
    rows = list(csv.DictReader(found.stdout.splitlines()))
    assert len(rows) == 3 * 7
    place = np.flatnonzero(ours.index == arrays["index"][0])[0]
    label, share = ours.classes[ours.chosen[place]], ours.probabilities[place].max()
    plain = alone(script, images / "0.png")
    assert plain.stdout == f"{images}/0.png: {label} {share:.1%}\n"
    assert (plain.returncode, plain.stderr) == (0, "")


@pytest.mark.parametrize("script", ["predict.py", "bench.py"])
def test_scripts_explain_themselves_and_say_in_a_line_what_is_wrong(
    finished, tmp_path, alone, script
):
    source, empty = shipped(finished) / script, tmp_path / "empty"
    empty.mkdir()
    told = alone(source, "--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert "--top" in told.stdout or "--json" in told.stdout
    shutil.copy(source, empty / script)
    (tmp_path / "no.onnx").write_bytes(b"no model")
    for lacking in (alone(empty / script, "no.onnx"), alone(source, empty)):
        assert lacking.returncode == 1
        assert (lacking.stdout, len(lacking.stderr.splitlines())) == ("", 1)
        assert "Traceback" not in lacking.stderr


def test_probabilities_uint8_input_and_ort_format(place):
    export_with(place, input="uint8", output="probabilities", ort_format=True)
    assert files(place / RUN) == SHIPPED_FILES | {"model.ort"}
    image = np.zeros((3, 1, 8, 8), np.uint8)
    answers = []
    for name in ("model.onnx", "model.ort"):
        session = onnxruntime.InferenceSession(str(place / RUN / name))
        assert session.get_inputs()[0].type == "tensor(uint8)"
        answers.append(session.run(["probabilities"], {"input": image})[0])
    np.testing.assert_allclose(answers[0].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)
    assert "model.ort" in (place / RUN / "SHA256SUMS").read_text()


def test_fixed_batch(place):
    rows = export_with(place, batch=4)
    session = onnxruntime.InferenceSession(str(place / RUN / "model.onnx"))
    assert session.get_inputs()[0].shape == [4, 1, 8, 8]
    assert rows["top1"].n == 359


def test_baselines_are_kept_when_asked(mine):
    done("export", "-r", "tiny.yaml", "--set", "export.keep_baselines=true")
    assert files(mine / RUN) == SHIPPED_FILES | {"float.onnx", "teacher.onnx"}
    assert onnx.load(mine / RUN / "teacher.onnx").graph.input[0].name == "input"


def change_one_weight(path: Path) -> None:
    graph = onnx.load(path)
    weight = next(one for one in graph.graph.initializer if len(one.dims) > 1)
    changed = numpy_helper.to_array(weight).copy()
    changed.flat[0] += 1 if changed.dtype.kind == "f" else 16
    weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
    onnx.save(graph, path)


@pytest.mark.parametrize("given", [("--force",), ("--from", "prune")], ids=["int8", "float"])
def test_file_with_one_weight_changed_is_caught_and_never_gets_its_name(mine, monkeypatch, given):
    """Changed between writing and reopening."""
    whole = writing.save

    def save_and_change(graph, path):
        whole(graph, path)
        change_one_weight(path)

    monkeypatch.setattr(writing, "save", save_and_change)
    before = set(Path("runs/.store").glob("export-*"))
    answer = invoke("export", "-r", "tiny.yaml", *given, "--run-dir", "runs/other")
    assert answer.code == 3
    assert "holds another graph than was written" in answer.error
    assert not list(Path("runs/other").glob("export/*"))
    assert set(Path("runs/.store").glob("export-*")) == before


def test_float_file_that_does_something_else_is_caught_by_parity(mine, monkeypatch):
    """The same break, with the comparison of graphs taken away: numbers find it, too."""
    whole = writing.save

    def save_and_change(graph, path):
        whole(graph, path)
        change_one_weight(path)

    monkeypatch.setattr(graphs, "save_verified", save_and_change)
    answer = invoke("export", "-r", "tiny.yaml", "--from", "prune", "--run-dir", "runs/other")
    assert answer.code == 3
    assert re.search(r"model\.onnx: differs from the .* by", answer.error)
    assert not list(Path("runs/other").glob("export/*"))


def test_artifact_that_was_changed_since_is_refused(mine):
    path = next(Path("runs/.store").glob("quantize-*/model.onnx"))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"body", b"bodY", 1))  # as many bytes as before
    answer = invoke("export", "-r", "tiny.yaml", "--force")
    assert answer.code == 1
    assert "is damaged (" in answer.error
    assert "model.onnx has changed since it was written" in answer.error


def test_quantised_file_is_not_quantised_again(mine):
    answer = invoke("quantize", "-r", "tiny.yaml", "--from", str(RUN / "model.onnx"))
    assert answer.code == 1
    assert "is quantised already; give its float file" in answer.error
