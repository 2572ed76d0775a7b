"""How files from elsewhere want their images: the usual way that fits is found."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from end_to_end import invoke
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits

from augcompress import measures
from augcompress.errors import AugcompressError
from augcompress.evidence import Measurement
from augcompress.scoring.preparing import AS_IT_IS, COLOUR, GREY, prepare_images
from augcompress.storage import RunDir

LEVELS = (40, 80, 120, 160, 200)
"""Brightness of each class's images."""
SIDE = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Grey noise around each class's brightness."""
    place, draw = tmp_path_factory.mktemp("levels"), np.random.default_rng(0)
    for level in LEVELS:
        (place / f"{level:03d}").mkdir()
        for number in range(40):
            noise = draw.integers(-5, 6, (SIDE, SIDE, 3))
            image = Image.fromarray((level + noise).astype(np.uint8))
            image.save(place / f"{level:03d}/{number}.png")
    return place


def file_for(path, way, *, channels=3, last=False, kind=TensorProto.FLOAT, spoilt=0.0):
    """An ONNX file that tells the brightness of images that are prepared in this way only: minus
    the squared distance to what the way makes of each class."""
    levels = np.full((len(LEVELS), channels, 1, 1), 1.0) * np.reshape(LEVELS, (-1, 1, 1, 1)) / 255
    centres = way.of(levels)[:, :, 0, 0]  # (classes,C)
    weights = {
        "weight": (2 * centres.T).astype(np.float32),
        "bias": (-(centres**2).sum(1) + spoilt * np.eye(len(LEVELS))[0]).astype(np.float32),
        "axes": np.array([1, 2] if last else [2, 3]),
    }
    nodes = [
        helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["y", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "weight", "bias"], ["scores"]),
    ]
    shape = ["n", SIDE, SIDE, channels] if last else ["n", channels, SIDE, SIDE]
    graph = helper.make_graph(
        nodes,
        "levels",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", len(LEVELS)])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def found(file, folder, tmp_path, *overrides, like=None):
    return prepare_images(file, folder, overrides, RunDir(tmp_path / "run"), like)


@pytest.mark.parametrize("way", [*COLOUR, *GREY], ids=lambda way: way.name)
def test_the_way_that_fits_is_found(way, folder, tmp_path):
    grey = way in GREY
    for last in (False, True):
        file = file_for(tmp_path / "f.onnx", way, channels=1 if grey else 3, last=last)
        prepared = found(file, folder, tmp_path)
        assert prepared.way == way
        foreign = prepared.context.spec.foreign
        assert (foreign.scale, foreign.mean, foreign.std) == (way.scale, way.mean, way.std)
        assert foreign.layout == ("NHWC" if last else "NCHW")
        assert f"{way.name}: right on 40 of 40 images that are not compared; the next, " in (
            prepared.told
        )


def test_what_is_told_is_not_tried(folder, tmp_path):
    file = file_for(tmp_path / "f.onnx", AS_IT_IS)
    prepared = found(file, folder, tmp_path, "foreign.mean=[0.1,0.2,0.3]")
    assert (prepared.way, prepared.told) == (None, "as --set says")
    assert prepared.context.spec.foreign.mean == (0.1, 0.2, 0.3)
    integers = file_for(tmp_path / "i.onnx", COLOUR[3], kind=TensorProto.UINT8)
    assert found(integers, folder, tmp_path).told == "0 to 255, as the file takes them"


def test_images_that_ways_are_tried_on_are_not_compared(folder, tmp_path):
    data = found(file_for(tmp_path / "f.onnx", AS_IT_IS), folder, tmp_path).context.data
    assert len(data.test) == 150
    assert not {*data.validation.index} & {*data.test.index}


def test_the_way_of_the_file_before_holds_unless_another_is_better_beyond_chance(folder, tmp_path):
    """ImageNet's mean and std are nearly those of -1 to 1: by a class alone."""
    first = found(file_for(tmp_path / "a.onnx", AS_IT_IS), folder, tmp_path)
    useless = file_for(tmp_path / "b.onnx", AS_IT_IS, spoilt=1e6)  # always says the first class
    again = found(useless, folder, tmp_path, like=first)
    assert again.way == AS_IT_IS
    assert "is no better than guessing" in again.told
    other = found(file_for(tmp_path / "c.onnx", COLOUR[0]), folder, tmp_path, like=first)
    assert other.way == COLOUR[0]


def test_a_file_of_ours_that_does_not_say_how_to_resize_is_refused(folder, tmp_path):
    file = file_for(tmp_path / "f.onnx", AS_IT_IS)
    graph = onnx.load(file)
    graph.producer_name = "augcompress"
    onnx.save(graph, file)
    with pytest.raises(AugcompressError, match=r"f\.onnx: does not say how to resize"):
        found(file, folder, tmp_path)


def timed(file, *, baseline, subject, baseline_name):
    told = {"batch": 1, "threads": 1, "cpu": "a CPU"}
    names = (("speedup", subject), ("latency_ms", subject), ("latency_ms", baseline.name))
    return [
        Measurement(name=name, value=2, subject=of, baseline=baseline_name, conditions=told)
        if name == "speedup"
        else Measurement(name=name, value=2, unit="ms", subject=of, conditions=told)
        for name, of in names
    ]


def test_a_pair_from_elsewhere_is_compared_without_a_recipe(folder, place, monkeypatch):
    monkeypatch.setattr(measures, "time_file", timed)
    way = COLOUR[0]
    file_for(place / "float.onnx", way)
    file_for(place / "int8.onnx", way, spoilt=2)
    given = ("compare", "float.onnx", "int8.onnx", "--data", folder)
    answer = invoke(*given, "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    (pair,) = told["pairs"]
    assert (told["n"], pair["test"]) == (150, "mcnemar_exact")
    assert pair["top1"][0]["value"] == 1 > pair["top1"][1]["value"] == pair["agreement"]["value"]
    assert pair["p_value"] < 0.001
    assert {*told["prepared"]} == {"float.onnx", "int8.onnx"}
    assert all(words.startswith(way.name) for words in told["prepared"].values())
    named = [(row["name"], row["subject"]) for row in told["timings"]]
    assert named[1:] == [("latency_ms", "int8.onnx"), ("latency_ms", "float.onnx")]
    text = " ".join(invoke(*given).out.split())
    assert f"Images of float.onnx: {way.name}: right on 40 of 40" in text
    assert "Latency, 1 image a call, 1 thread, a CPU" in text
    assert "int8.onnx 2 times as fast as float.onnx" in text
    assert sorted(path.name for path in place.iterdir()) == ["float.onnx", "int8.onnx"]


def test_models_of_ours_say_themselves_how_and_answer_anew(mine, monkeypatch):
    """A run's file and a checkpoint, on other images than those that the run has answered."""
    found = load_digits()
    for place, (pixels, label) in enumerate(zip(found.images, found.target, strict=True)):
        if place < 400:
            (mine / f"digits/{label}").mkdir(parents=True, exist_ok=True)
            image = Image.fromarray((pixels * 255 / 16).astype(np.uint8))
            image.save(mine / f"digits/{label}/{place}.png")
    answer = invoke("compare", "runs/tiny", "runs/tiny/distill", "--data", "digits", "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert (told["n"], told["timings"]) == (300, [])
    assert set(told["prepared"].values()) == {"as the file says"}
    assert told["pairs"][0]["top1"][0]["value"] > 0.2  # of ten classes; it was trained briefly


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--data", ".", "-r", "digits.yaml"), 2, "--data and --recipe both name images"),
        (("--data", "nowhere"), 1, "nowhere: no such folder"),
        ((), 2, "give a folder of images with --data"),
    ],
)
def test_images_are_named_once_and_are_there(place, more, code, words):
    file_for(place / "a.onnx", AS_IT_IS)
    answer = invoke("compare", "a.onnx", "a.onnx", *more)
    assert (answer.code, words in answer.error) == (code, True)
