"""Where files come from: promises that stand, weights outside a graph, classes, baselines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from end_to_end import done, invoke, training, write_recipe
from onnx import TensorProto, helper, numpy_helper

from augcompress import measures
from augcompress.evidence import value_text
from augcompress.evidence.records import read_measurements
from augcompress.graphs import adopt
from augcompress.graphs.reading import content_digest
from augcompress.stages import export

RUN = Path("runs/tiny")


@pytest.mark.parametrize(
    "steps",
    [
        [{"kind": "channels", "macs": 0.6, "rounds": 2}],
        [{"kind": "magnitude", "sparsity": 0.7}, {"kind": "channels", "macs": 0.7}],
    ],
    ids=["rounds", "sparse, then narrow"],
)
def test_only_promises_that_stand_are_asked_of_the_file(place, steps):
    def change(recipe):
        recipe["prune"] = {"steps": steps, "training": training(1)}
        recipe["distill"]["training"] = recipe["train_teacher"]["training"] = training(1)
        del recipe["quantize"]

    done("run", "-r", write_recipe(place, change))
    assert (place / RUN / "export/model.onnx").is_file()


def outside(folder: Path, weight: float) -> Path:
    """A graph whose weight lies in a file beside it."""
    folder.mkdir()
    tensor = numpy_helper.from_array(np.full((64, 10), weight, np.float32), "w")
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], "y")]
    made = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])]
    given = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])]
    graph = helper.make_graph(nodes, "g", made, given, [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(
        model, folder / "c.onnx", save_as_external_data=True, location="c.data", size_threshold=0
    )
    return folder / "c.onnx"


def test_weights_outside_a_graph_are_part_of_what_it_is(tmp_path):
    first, second = outside(tmp_path / "a", 1.0), outside(tmp_path / "b", 2.0)
    assert first.read_bytes() == second.read_bytes()
    assert content_digest(first) != content_digest(second)
    (tmp_path / "b" / "c.data").write_bytes((tmp_path / "a" / "c.data").read_bytes())
    assert content_digest(first) == content_digest(second)


@pytest.mark.parametrize("command", ["evaluate", "export", "compare"])
def test_file_of_ours_with_other_classes_is_refused(mine, command):
    graph = onnx.load(RUN / "export/model.onnx")
    for one in graph.metadata_props:
        if one.key == "labels":
            one.value = json.dumps(["zebra", *map(str, range(1, 10))])
    onnx.save(graph, "zebra.onnx")
    given = ("-r", "tiny.yaml", "--from", "zebra.onnx")
    if command == "compare":
        given = (str(RUN), "zebra.onnx", "-r", "tiny.yaml")
    answer = invoke(command, *given)
    assert answer.code == 1
    assert "zebra.onnx: knows the classes zebra, 1, 2, 3 … and the data has 0, 1" in answer.error


def test_softmax_that_was_quantised_still_gives_probabilities():
    made = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])]
    given = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])]
    weight = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    stored = [
        numpy_helper.from_array(weight, "w"),
        numpy_helper.from_array(np.float32(1 / 256), "s"),
        numpy_helper.from_array(np.uint8(0), "z"),
    ]
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["a"]),
        helper.make_node("Softmax", ["a"], ["p"]),
        helper.make_node("QuantizeLinear", ["p", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", made, given, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    assert [one.name for one in adopt(model).graph.output] == ["probabilities"]


def test_checkpoint_that_enters_at_quantize_is_the_float_baseline(mine):
    recipe = write_recipe(mine, lambda r: r.update(name="late", pipeline=["quantize", "export"]))
    done("run", "-r", recipe, "--from", str(RUN / "prune/model.safetensors"))
    rows = read_measurements(Path("runs/late/export/measurements.json"))
    assert {row.name for row in rows if row.baseline == "float"} >= {"agreement", "speedup"}


def test_kept_baseline_that_is_not_its_network_is_caught(mine, monkeypatch):
    from augcompress.shipping import origins as delivery

    whole = delivery.save

    def other(graph, path):
        changed = onnx.ModelProto()
        changed.CopyFrom(graph)
        weight = next(one for one in changed.graph.initializer if len(one.dims) > 1)
        array = numpy_helper.to_array(weight) + 1
        weight.CopyFrom(numpy_helper.from_array(array, weight.name))
        whole(changed, path)

    monkeypatch.setattr(delivery, "save", other)
    answer = invoke("export", "-r", "tiny.yaml", "--set", "export.keep_baselines=true")
    assert answer.code == 3
    assert "teacher.onnx: differs from the network" in answer.error
    assert not list((mine / RUN / "export").glob("teacher.onnx"))


def test_the_card_has_the_name_of_its_own_run(mine):
    done("run", "-r", "tiny.yaml", "--set", "name=other")
    assert Path("runs/other/export/MODEL_CARD.md").read_text().startswith("# other\n")
    assert (RUN / "export/MODEL_CARD.md").read_text().startswith("# tiny\n")


def test_what_is_the_same_is_measured_once_and_never_timed_against_itself(mine, monkeypatch):
    times, predicted = [], []
    timed, measured = measures.time_file, export.measure_baseline

    def time_file(file, **settings):
        times.append((Path(file).name, settings["baseline"] and settings["baseline"].name))
        return timed(file, **settings)

    def measure_baseline(context, baseline):
        predicted.append(baseline.role)
        return measured(context, baseline)

    monkeypatch.setattr(measures, "time_file", time_file)
    monkeypatch.setattr(export, "measure_baseline", measure_baseline)
    monkeypatch.setattr(export, "gained_nothing", lambda rows: f"{len(list(rows))} rows seen")
    pipeline = ["train_teacher", "export"]
    recipe = write_recipe(mine, lambda r: r.update(name="a", pipeline=pipeline, limits=[]))
    done("run", "-r", recipe)
    assert (times, predicted) == ([("model.onnx", None)], ["teacher"])
    rows = read_measurements(Path("runs/a/export/measurements.json"))
    record = json.loads(Path("runs/a/export/stage.json").read_text())
    assert record["notes"][0] == f"{sum(r.name != 'weights_licence' for r in rows)} rows seen"
    for role in ("teacher", "float"):
        (speedup,) = [one for one in rows if (one.name, one.baseline) == ("speedup", role)]
        assert (speedup.value, speedup.n) == (1, None)
        (ours, theirs) = (
            next(one for one in rows if (one.name, one.role) == ("latency_ms", which))
            for which in ("shipped", role)
        )
        assert (ours.value, theirs.subject) == (theirs.value, f"{role}.onnx")
        assert {"top1", "size_bytes", "macs"} <= {one.name for one in rows if one.role == role}


def test_the_share_of_time_in_integer_kernels_is_measured(finished):
    rows = read_measurements(finished / RUN / "export/measurements.json")
    (found,) = [one for one in rows if one.name == "int8_time"]
    assert (found.subject, found.role) == ("model.onnx", "shipped")
    assert 0 < found.value < 1


def test_timings_are_of_the_file_that_they_name(finished):
    rows = read_measurements(finished / RUN / "export/measurements.json")
    timed = {(one.subject, one.role) for one in rows if one.name == "latency_ms"}
    expected = {"model.onnx": "shipped", "teacher.onnx": "teacher", "float.onnx": "float"}
    assert timed == set(expected.items())


def test_the_cards_costs_are_of_the_network_that_ships(finished):
    rows = read_measurements(finished / RUN / "export/measurements.json")
    parameters = {one.role: one for one in rows if one.name == "parameters"}
    lines = (finished / RUN / "export/MODEL_CARD.md").read_text(encoding="utf-8").splitlines()
    told = [line for line in lines if line.startswith("| Parameters |")]
    assert told == [f"| Parameters | {value_text(parameters['float'])} |"]
    assert parameters["teacher"].value != parameters["float"].value
