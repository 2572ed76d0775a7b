"""What decides a stage's key: each part of a recipe changes the keys of the stages that read it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from end_to_end import TINY

from augcompress.raw import override_value
from augcompress.running import Context, Sources
from augcompress.running import stage as stages_of_running
from augcompress.spec import validate
from augcompress.stages import STAGES
from augcompress.storage import RunDir

ALL = set(STAGES)
TRAINING = {"train_teacher", "distill", "prune"}
WITH_RECIPE = {"export"}
"""Its file and card quote the digest of the recipe, and its name."""


@pytest.fixture
def weights(tmp_path):
    """A checkpoint to start from; nothing opens it."""
    for name in ("model.safetensors", "model.json"):
        (tmp_path / name).write_text("x")
    return str(tmp_path / "model.safetensors")


def keys(folder, weights: str, *overrides: str) -> dict[str, str]:
    """The key of every stage, each started from the same weights."""
    raw: dict[str, Any] = copy.deepcopy(TINY)
    raw |= {"pretrain": {"training": {"epochs": 1, "batch_size": 32}}}
    raw["distill"]["objectives"] = raw["prune"]["objectives"] = [{"kind": "labels"}]
    for override in overrides:
        override_value(raw, override)
    found = {}
    for name in STAGES:
        fresh = STAGES[name].starts_fresh
        train_teacher_alone = raw if name != "train_teacher" else {**raw, "pretrain": None}
        context = Context(
            validate(copy.deepcopy(train_teacher_alone)),
            RunDir(folder / "run"),
            source=None if fresh else weights,
            teacher=weights,
        )
        sources = Sources(context, STAGES, name, perform=lambda name: pytest.fail(name))
        found[name] = sources.entry(name)[0].key
    return found


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("seed=1", ALL),
        ("data.subset=0.5", ALL),
        ("augment.sampling={repeat: 2}", {"augment"} | TRAINING | WITH_RECIPE),
        ("augment.pipeline=[{kind: invert}]", {"augment"} | TRAINING | WITH_RECIPE),
        ("augment.columns=3", {"augment"}),
        ("distill.sampling={class_balance: {kind: balanced}}", {"distill"} | WITH_RECIPE),
        ("prune.augment=[{kind: invert}]", {"prune"} | WITH_RECIPE),
        ("train_teacher.training.epochs=9", {"train_teacher"} | WITH_RECIPE),
        ("train_teacher.model.widths=[8, 12]", {"train_teacher", "pretrain"} | WITH_RECIPE),
        ("export.targets=[{kind: onnx, input: uint8}]", {"quantize"} | WITH_RECIPE),
        ("export.keep_baselines=true", WITH_RECIPE),
        ("evaluate.split=validation", {"evaluate"}),
        ("name=other", WITH_RECIPE),
        ("limits=[]", set()),
        ("foreign.mean=[0.5]", set()),
    ],
)
def test_a_change_of_the_recipe_changes_the_keys_of_the_stages_that_read_it(
    tmp_path, weights, override, changed
):
    before, after = keys(tmp_path, weights), keys(tmp_path, weights, override)
    assert {name for name in STAGES if before[name] != after[name]} == changed


def test_the_precision_that_auto_stands_for_is_in_the_key_of_what_trains(
    tmp_path, weights, monkeypatch
):
    found = []
    for precision in ("bf16", "fp32"):
        monkeypatch.setattr(stages_of_running, "resolve_precision", lambda *_, p=precision: p)
        found.append(keys(tmp_path, weights))
    assert {n for n in STAGES if found[0][n] != found[1][n]} == TRAINING | {"pretrain"}


def test_the_content_of_what_a_stage_reads_is_in_its_key_and_its_path_is_not(tmp_path, weights):
    before = keys(tmp_path, weights)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("model.safetensors", "model.json"):
        (moved / name).write_text("x")
    assert keys(tmp_path, str(moved / "model.safetensors")) == before
    (moved / "model.json").write_text("y")
    after = keys(tmp_path, str(moved / "model.safetensors"))
    assert {n for n in STAGES if before[n] != after[n]} == ALL - {
        "augment",
        "pretrain",
        "train_teacher",
    }


def test_how_a_foreign_graph_is_read_is_in_the_key_of_what_starts_from_one(tmp_path):
    graph = tmp_path / "theirs.onnx"
    graph.write_bytes(b"no graph: nothing opens it")
    found = []
    for mean in (0.4, 0.5):
        raw = copy.deepcopy(TINY) | {"foreign": {"mean": [mean]}}
        context = Context(validate(raw), RunDir(tmp_path / "run"), source=str(graph))
        sources = Sources(context, STAGES, "quantize", perform=pytest.fail)
        found.append(sources.entry("quantize")[0].key)
    assert found[0] != found[1]


def test_torchs_stream_begins_elsewhere_for_every_seed_and_word(tmp_path):
    found = set()
    for seed in (0, 1):
        context = Context(validate(copy.deepcopy(TINY) | {"seed": seed}), RunDir(tmp_path))
        for words in (("prune", 0, 1), ("prune", 1, 0), ("prune", "01"), ("distill",), ("prune",)):
            context.seed_everything(*words)
            found.add(float(torch.rand(1, dtype=torch.float64)))
    assert len(found) == 10
