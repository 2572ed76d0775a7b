"""The spine end to end: what a run leaves, what is done twice, what a change redoes."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from end_to_end import (
    ARTIFACTS,
    STAGE_FILES,
    STAGES,
    artifacts,
    done,
    entries,
    files,
    invoke,
    measured,
    training,
    write_recipe,
)
from onnx import numpy_helper
from safetensors.torch import load_file

from augcompress.datasets.base import DatasetSettings
from augcompress.errors import LimitError
from augcompress.networks import opening as opened
from augcompress.running.context import EVALUATION_BATCH, Context
from augcompress.spec import load
from augcompress.stages import quantize
from augcompress.storage.run_directory import RunDir

RUN = Path("runs/tiny")
CACHED = dict.fromkeys(STAGES, "cached")


def run_json(*arguments):
    return done("run", "-r", "tiny.yaml", "--json", *arguments)


def test_run_leaves_exactly_these_files(finished):
    wanted = {f"{stage}/{name}" for stage, names in STAGE_FILES.items() for name in names}
    assert files(finished / RUN) == wanted | {"recipe.yaml", "spec.json", "typed.json"}
    assert (finished / RUN / "recipe.yaml").read_text() == (finished / "tiny.yaml").read_text()
    store = finished / "runs" / ".store"
    assert [path.name.rpartition("-")[0] for path in entries(store)] == sorted(STAGES)
    assert not list(store.glob(".work-*"))
    for stage in STAGES:
        entry = entries(store, stage)[0]
        assert files(entry) == STAGE_FILES[stage]
        for name in STAGE_FILES[stage]:
            assert (entry / name).samefile(finished / RUN / stage / name)


def test_commands_one_by_one_give_the_same_bytes_as_run(finished, place):
    write_recipe(place)
    for stage in STAGES:
        answer = done(stage.replace("_", "-"), "-r", "tiny.yaml", "--run-dir", "else/where")
        assert stage in answer.out
    assert artifacts(place / "else" / "where") == artifacts(finished / RUN)
    assert measured(place / "else" / "where") == measured(finished / RUN)


@pytest.fixture
def forbidden(monkeypatch):
    """Spies: no network is built or run, no graph is opened, no data are decoded."""

    def refuse(*_, **__):
        raise AssertionError("this was done twice")

    monkeypatch.setattr(opened, "build_classifier", refuse)
    monkeypatch.setattr(DatasetSettings, "build", refuse)
    monkeypatch.setattr(torch.nn.Module, "__call__", refuse)
    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)


@pytest.mark.usefixtures("forbidden")
def test_second_run_does_nothing_twice(mine):
    before = artifacts(mine / RUN)
    assert run_json().stages == CACHED
    assert artifacts(mine / RUN) == before


@pytest.mark.usefixtures("forbidden")
def test_another_run_beside_it_finds_the_stages_in_the_store(mine):
    assert run_json("--run-dir", "runs/other").stages == CACHED
    assert artifacts(mine / "runs" / "other") == artifacts(mine / RUN)


def test_spies_see_a_run_that_is_not_finished(mine, forbidden):
    answer = invoke("run", "-r", "tiny.yaml", "--force")
    assert answer.code == 70
    assert "this was done twice" in answer.err


def test_changed_field_redoes_its_stage_and_later_ones_only(mine):
    before = artifacts(mine / RUN)
    changed = run_json("--set", "prune.training.epochs=3")
    assert changed.stages == CACHED | dict.fromkeys(("prune", "quantize", "export"), "done")
    assert artifacts(mine / RUN)["distill"] == before["distill"]
    assert artifacts(mine / RUN)["prune"] != before["prune"]
    assert run_json().stages == CACHED
    assert artifacts(mine / RUN) == before


def test_changed_limit_or_name_of_the_run_redoes_nothing(mine):
    limit = "limits=[{measure: top1, at_least: 0}]"
    assert run_json("--set", limit).stages == CACHED


def test_results_that_no_longer_belong_to_the_run_are_unlinked(mine):
    done("evaluate", "-r", "tiny.yaml")
    assert (mine / RUN / "evaluate" / "predictions.npz").is_file()
    change = ("--set", "distill.training.epochs=3")
    assert list(run_json("--until", "distill", *change).stages) == list(STAGES[:3])
    assert {path.name for path in (mine / RUN).iterdir() if path.is_dir()} == set(STAGES[:3])
    assert len(entries(mine / "runs" / ".store")) == len(STAGES) + 2


def test_another_order_unlinks_what_stands_later_in_it(place):
    def reorder(recipe):
        recipe["pipeline"] = ["train_teacher", "prune", "distill"]
        recipe["distill"]["student"] = None

    write_recipe(place, reorder)
    run_json()
    run_json("--until", "prune", "--set", "prune.training.epochs=1")
    assert {path.name for path in (place / RUN).iterdir() if path.is_dir()} == {
        "train_teacher",
        "prune",
    }


def test_evaluate_survives_a_run_that_changes_nothing(mine):
    done("evaluate", "-r", "tiny.yaml")
    run_json()
    assert (mine / RUN / "evaluate" / "measurements.json").is_file()


def test_redrawn_contact_sheet_unlinks_nothing(mine):
    done("augment", "-r", "tiny.yaml", "--set", "augment.columns=4")
    assert {path.name for path in (mine / RUN).iterdir() if path.is_dir()} == set(STAGES)


def test_offline_copies_are_a_data_set(mine):
    done("augment", "-r", "tiny.yaml", "--set", "augment.offline.copies=2")
    copies = mine / RUN / "augment" / "augmented.npz"
    with np.load(copies, allow_pickle=False) as found:
        assert found["x_train"].shape == (600, 1, 8, 8)
        assert found["soft_targets"].sum(1) == pytest.approx(np.ones(600))
    data = f"data={{kind: arrays, path: {copies}}}"
    answer = done(
        "train-teacher", "-r", "tiny.yaml", "--set", data, "--set", "name=copied", "--json"
    )
    assert answer.stages == {"train_teacher": "done"}


def test_until_stops_after_the_stage(place):
    write_recipe(place)
    assert list(run_json("--until", "train-teacher").stages) == ["augment", "train_teacher"]
    assert not (place / RUN / "distill").exists()
    answer = invoke("run", "-r", "tiny.yaml", "--until", "nowhere")
    assert (answer.code, answer.error) == (
        2,
        "error: --until nowhere: is no stage of the recipe; known: " + ", ".join(STAGES),
    )


def test_force_redoes_to_the_same_bytes(mine):
    before = artifacts(mine / RUN)
    written = (mine / RUN / "prune" / "model.safetensors").stat().st_mtime_ns
    answer = done("prune", "-r", "tiny.yaml", "--force", "--json")
    assert answer.stages == {"prune": "done"}
    assert (mine / RUN / "prune" / "model.safetensors").stat().st_mtime_ns > written
    assert artifacts(mine / RUN)["prune"] == before["prune"]
    assert set(run_json("--force").stages.values()) == {"done"}
    assert artifacts(mine / RUN) == before


def test_from_stage_starts_there(mine):
    before = artifacts(mine / RUN)
    done("quantize", "-r", "tiny.yaml", "--from", "train-teacher")
    after = artifacts(mine / RUN)
    assert after["quantize"] != before["quantize"]
    assert "export" not in after
    done("export", "-r", "tiny.yaml", "--from", "distill")
    kinds = {node.op_type for node in onnx.load(mine / RUN / "export" / "model.onnx").graph.node}
    assert "Conv" in kinds
    assert not {"QuantizeLinear", "DequantizeLinear", "QLinearConv"} & kinds


def test_from_file_starts_there(mine):
    shutil.copytree(mine / RUN / "train_teacher", mine / "elsewhere")
    here = "elsewhere/model.safetensors"
    done("quantize", "-r", "tiny.yaml", "--from", here, "--run-dir", "runs/file")
    done("quantize", "-r", "tiny.yaml", "--from", "train_teacher", "--run-dir", "runs/stage")
    by_file, by_stage = (artifacts(mine / "runs" / name)["quantize"] for name in ("file", "stage"))
    assert by_file == by_stage
    answer = done("evaluate", "-r", "tiny.yaml", "--from", RUN / "export" / "model.onnx", "--json")
    rows = json.loads(answer.out)["stages"][0]["measurements"]
    shipped = json.loads((mine / RUN / "export" / "measurements.json").read_text())["measurements"]
    assert rows[0]["value"] == shipped[0]["value"]
    assert rows[0]["n"] == 359


def test_pipeline_that_starts_from_a_file(mine):
    shutil.copytree(mine / RUN / "distill", mine / "given")
    order = ("--set", "pipeline=[prune, quantize]", "--run-dir", "runs/short")
    answer = run_json("--from", "given/model.safetensors", *order)
    assert answer.stages == {"prune": "cached", "quantize": "cached"}


@pytest.mark.parametrize(
    "command, given, message",
    [
        (
            "distill",
            "distill",
            "--from distill: does not come before distill in the pipeline; name one that does",
        ),
        (
            "prune",
            "quantize",
            "--from quantize: does not come before prune in the pipeline; name one that does",
        ),
        ("evaluate", "augment", "--from augment: leaves no network or graph; name another stage"),
        ("run", "prune", "--from: train_teacher starts from no network; leave it out"),
    ],
)
def test_from_a_stage_that_cannot_be_started_from(mine, command, given, message):
    answer = invoke(command, "-r", "tiny.yaml", "--from", given)
    assert answer.code == 2
    assert answer.error.startswith(f"error: {message}")


def test_teacher_from_a_file(mine):
    given = mine / "teacher" / "model.safetensors"
    shutil.copytree(mine / RUN / "train_teacher", given.parent)
    alone = ("--set", "train_teacher=null", "--set", "pipeline=[distill]", "--set", "name=alone")
    done("distill", "-r", "tiny.yaml", *alone, "--teacher", given)
    assert artifacts(mine / "runs" / "alone")["distill"] == artifacts(mine / RUN)["distill"]


def test_teacher_of_given_weights_needs_no_training(mine):
    weights = mine / RUN / "train_teacher" / "model.safetensors"
    given = ("--set", f"train_teacher.weights={weights}", "--set", "train_teacher.training=null")
    done("distill", "-r", "tiny.yaml", *given, "--run-dir", "runs/given")
    assert artifacts(mine / "runs" / "given")["distill"] == artifacts(mine / RUN)["distill"]


def zeros(path):
    """The places of zeros in a checkpoint's kernels."""
    state = load_file(path)
    return {name: value == 0 for name, value in state.items() if value.ndim > 1}


def test_distilling_a_pruned_network_keeps_its_zeros_and_channels(place):
    def reorder(recipe):
        recipe["pipeline"] = ["train_teacher", "prune", "distill", "quantize", "export"]
        recipe["distill"]["student"] = None
        recipe["prune"]["steps"] = [
            {"kind": "channels", "macs": 0.6},
            {"kind": "magnitude", "sparsity": 0.5},
        ]

    write_recipe(place, reorder)
    stages = list(run_json().stages)
    assert stages == ["train_teacher", "prune", "distill", "quantize", "export"]
    before = zeros(place / RUN / "prune" / "model.safetensors")
    after = zeros(place / RUN / "distill" / "model.safetensors")
    teacher = zeros(place / RUN / "train_teacher" / "model.safetensors")
    assert {n: m.shape for n, m in after.items()} == {n: m.shape for n, m in before.items()}
    assert sum(m.numel() for m in after.values()) < sum(m.numel() for m in teacher.values())
    assert sum(int(m.sum()) for m in before.values()) > 100
    assert all(bool(after[name][mask].all()) for name, mask in before.items())
    assert artifacts(place / RUN)["prune"] != artifacts(place / RUN)["distill"]


def test_zeros_of_magnitude_pruning_are_in_the_shipped_file(place):
    def sparse(recipe):
        recipe["pipeline"] = ["train_teacher", "prune", "export"]
        recipe["prune"]["steps"] = [{"kind": "magnitude", "sparsity": 0.7}]

    write_recipe(place, sparse)
    run_json()
    masks = [m for m in zeros(place / RUN / "prune" / "model.safetensors").values() if m.any()]
    wanted = sorted((tuple(mask.shape), int(mask.sum())) for mask in masks)
    graph = onnx.load(place / RUN / "export" / "model.onnx").graph
    arrays = [numpy_helper.to_array(one) for one in graph.initializer]
    kernels = [array for array in arrays if array.ndim > 1 and (array == 0).any()]
    found = sorted((array.shape, int((array == 0).sum())) for array in kernels)
    assert sum(count for _, count in found) == sum(count for _, count in wanted)
    share = sum(count for _, count in found) / sum(array.size for array in kernels)
    assert share == pytest.approx(0.7, abs=0.01)


def test_json_is_one_object_with_these_keys(mine):
    told = json.loads(run_json().out)
    assert set(told) == {"version", "run_dir", "stages"}
    assert (told["version"], told["run_dir"]) == (1, "runs/tiny")
    for stage in told["stages"]:
        assert set(stage) == {"name", "status", "seconds", "artifact", "measurements"}
        for row in stage["measurements"]:
            assert set(row) == {
                *("name", "value", "unit", "better", "n", "low", "high", "level", "method"),
                *("split", "subject", "baseline", "conditions"),
            }
    shipped = [row for row in told["stages"][-1]["measurements"] if row["name"] == "top1"]
    assert {row["conditions"]["role"] for row in shipped} == {"shipped", "teacher", "float"}
    assert all(row["split"] == "test" and row["n"] == 359 for row in shipped)


def test_measured_only_on_validation_before_export(finished):
    rows = measured(finished / RUN)
    splits = {stage: {row["split"] for row in found} - {None} for stage, found in rows.items()}
    assert splits.pop("export") >= {"test"}
    assert set().union(*splits.values()) == {"validation"}


def test_quiet_prints_the_artefacts_only(mine):
    answer = done("run", "-r", "tiny.yaml", "-q")
    lines = [f"runs/tiny/{stage}/{name}\n" for stage, name in ARTIFACTS.items()]
    assert answer == type(answer)(0, "".join(lines), "")
    for stage, name in ARTIFACTS.items():
        told = done(stage.replace("_", "-"), "-r", "tiny.yaml", "--quiet")
        assert told.out == f"runs/tiny/{stage}/{name}\n"


def test_missed_limit_ends_with_3_and_keeps_the_files(mine):
    before = artifacts(mine / RUN)
    limit = "limits=[{measure: top1, at_least: 0.999999}]"
    answer = invoke("run", "-r", "tiny.yaml", "--set", limit)
    assert answer.code == 3
    missed = "error: limits not reached: top1 on test at least 99.9999 %; see: augcompress report"
    assert answer.error == f"{missed} {RUN}"
    assert "MISSED" in answer.out
    assert artifacts(mine / RUN) == before
    assert run_json().stages == CACHED


def test_reached_limit_ends_with_0(mine):
    limit = "limits=[{measure: top1, at_least: 0}, {measure: size_bytes, at_most: 100000}]"
    assert done("run", "-r", "tiny.yaml", "--set", limit).out.count("reached") == 2


def test_smoke_run_has_a_name_of_its_own(mine):
    done("train-teacher", "-r", "tiny.yaml", "--smoke")
    assert (mine / "runs" / "tiny-smoke" / "train_teacher" / "model.safetensors").is_file()


def test_prune_rounds_log_every_round(mine):
    rounds = ("--set", "prune.steps.0.rounds=2", "--run-dir", "runs/rounds")
    done("prune", "-r", "tiny.yaml", *rounds)
    log = (mine / "runs" / "rounds" / "prune" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in log] == [1, 2, 1, 2]
    scores = {"validation_top1", "validation_low", "validation_high", "validation_n"}
    fields = {"epoch", "losses", "lr", "images_per_s", "seconds"}
    assert set(json.loads(log[0])) == fields | scores


def test_stage_folder_with_foreign_files_is_left_alone(place):
    write_recipe(place)
    (place / RUN / "train_teacher").mkdir(parents=True)
    note = place / RUN / "train_teacher" / "note.txt"
    note.write_text("mine")
    answer = invoke("train-teacher", "-r", "tiny.yaml")
    assert answer.code == 1
    assert "holds files that augcompress did not write" in answer.error
    assert note.read_text() == "mine"


def test_seed_changes_results(mine):
    before = artifacts(mine / RUN)
    with contextlib.chdir(mine):
        done("train-teacher", "-r", "tiny.yaml", "--set", "seed=1")
    assert artifacts(mine / RUN)["train_teacher"] != before["train_teacher"]


def test_every_training_stage_uses_its_own_augmentations(mine):
    change = ("--set", "distill.augment=[]", "--set", f"distill.training={training(2)}")
    stages = run_json("--until", "distill", *change).stages
    assert stages == {"augment": "cached", "train_teacher": "cached", "distill": "done"}


def test_objectives_of_one_kind_all_count(mine):
    halves = "distill.objectives=[{kind: labels, weight: 0.5}, {kind: labels, weight: 0.25}]"
    done("distill", "-r", "tiny.yaml", "--set", halves)
    losses = json.loads((mine / RUN / "distill" / "log.jsonl").read_text().splitlines()[0])
    assert losses["losses"]["labels_0"] == pytest.approx(2 * losses["losses"]["labels_1"])


def test_zeros_of_an_earlier_step_are_held_while_a_later_one_is_tuned(place):
    steps = [
        {"kind": "magnitude", "sparsity": 0.8, "layers": {"include": ["Conv2d"]}},
        {"kind": "magnitude", "sparsity": 0.5, "layers": {"include": ["Linear"]}},
    ]
    write_recipe(place, lambda recipe: recipe["prune"].update(steps=steps))
    done("run", "-r", "tiny.yaml", "--until", "prune")
    state = load_file(place / RUN / "prune" / "model.safetensors")
    kernels = [value for value in state.values() if value.ndim == 4]
    zeros = sum(int((value == 0).sum()) for value in kernels)
    assert zeros / sum(value.numel() for value in kernels) >= 0.79
    found = [row for row in measured(place / RUN)["prune"] if row["name"] == "sparsity"]
    assert len(found) == 2


def test_limit_on_an_earlier_stage_is_judged_the_same_by_run_and_by_a_command(mine):
    limit = ("--set", "limits=[{measure: macs_kept, at_most: 0.9}]")
    assert invoke("run", "-r", "tiny.yaml", *limit).code == 0
    assert invoke("export", "-r", "tiny.yaml", *limit).code == 0
    tight = ("--set", "limits=[{measure: macs_kept, at_most: 0.01}]")
    assert invoke("export", "-r", "tiny.yaml", *tight).code == 3


def test_force_that_fails_keeps_the_old_result(mine, monkeypatch):
    before = artifacts(mine / RUN)

    def broken(*given, **more):
        raise LimitError("quantize: broken on purpose")

    with monkeypatch.context() as patched:
        patched.setattr(quantize, "check_parity", broken)
        answer = invoke("quantize", "-r", "tiny.yaml", "--force")
    assert (answer.code, answer.error) == (3, "error: quantize: broken on purpose")
    assert done("quantize", "-r", "tiny.yaml", "--json").stages == {"quantize": "cached"}
    assert artifacts(mine / RUN) == before


def test_recipe_hash_in_the_file_is_of_today(mine):
    def told():
        graph = onnx.load(mine / RUN / "export" / "model.onnx")
        return {one.key: one.value for one in graph.metadata_props}["recipe"]

    before = told()
    done("run", "-r", "tiny.yaml", "--set", "limits=[{measure: top1, at_least: 0}]")
    assert told() == before
    done("run", "-r", "tiny.yaml", "--set", "prune.training.epochs=1")
    assert told() != before


def test_parity_and_smoke_look_at_every_class(mine):
    spec, _ = load("tiny.yaml")
    for smoke, limit in ((False, 40), (True, None)):
        context = Context(spec, RunDir(mine / RUN), smoke=smoke)
        by_class = np.argsort(context.data.test.labels, kind="stable")  # as in a folder
        context.data = replace(context.data, test=context.data.test.take(by_class))
        shown = next(context.evaluation_batches("test", limit))
        assert len(shown) == (limit or EVALUATION_BATCH)
        assert set(shown.targets.argmax(1).tolist()) == set(range(10))


def test_student_of_labels_alone_needs_no_teacher(place):
    write_recipe(place)
    done("distill", "-r", "tiny.yaml", "--set", "distill.objectives=[{kind: labels}]")
    assert not (place / RUN / "train_teacher").exists()


def test_a_network_that_only_guesses_stops_the_chain(place):
    write_recipe(place, lambda recipe: recipe["train_teacher"]["training"].update(epochs=1))
    stopped = invoke("run", "-r", "tiny.yaml", "--set", "limits=[]", chance=False)
    assert stopped.code == 3
    assert stopped.error.startswith("error: train_teacher: top-1 of ")
    assert "is no better than guessing: the largest class alone is" in stopped.error
    assert "--allow-chance" in stopped.error
    assert (RUN / "train_teacher" / "stage.json").is_file()
    assert not (RUN / "distill").exists()
    assert invoke("train-teacher", "-r", "tiny.yaml", chance=False).code == 3  # cached, and as bad
    done("train-teacher", "-r", "tiny.yaml")
    done("distill", "-r", "tiny.yaml", "--set", "distill.training.epochs=1")


@pytest.mark.parametrize(
    "change",
    [
        ["prune.steps=[{kind: channels, macs: 0.05}]"],
        ["prune.steps=[{kind: magnitude, sparsity: 0.5}, {kind: channels, macs: 0.05}]"],
        ["prune.steps=[{kind: channels, macs: 0.5, round_to: 16}]"],
        ["distill.student={kind: cifar_resnet, depth: 8}", "prune.steps.0.macs=0.01"],
    ],
)
def test_a_target_out_of_reach_is_refused_before_anything_trains(place, change):
    write_recipe(place)
    told = [word for each in change for word in ("--set", each)]
    answer = invoke("run", "-r", "tiny.yaml", *told)
    assert answer.code == 2, answer.error
    assert ".macs: 0." in answer.error
    assert " cannot be reached, " in answer.error
    assert not (place / "runs/tiny/train_teacher").exists()
