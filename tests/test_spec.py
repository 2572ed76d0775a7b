"""The recipe: what it means, what it refuses, what of it makes a stage's key."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from end_to_end import TINY, write_recipe

from augcompress.component import key_of
from augcompress.errors import UsageError
from augcompress.spec import ORDER, find_recipe, load, override_value, validate


def recipe(**changes):
    return {**copy.deepcopy(TINY), **changes}


def test_stages_stand_in_their_own_order_without_a_pipeline():
    spec = validate(recipe())
    assert spec.stages() == tuple(s for s in ORDER if s not in ("pretrain", "evaluate"))
    assert validate(recipe(prune=None)).stages() == (
        "augment",
        "train_teacher",
        "distill",
        "quantize",
        "export",
    )


def test_pipeline_gives_another_order():
    order = ["train_teacher", "prune", "distill", "export"]
    assert validate(recipe(pipeline=order)).stages() == tuple(order)


@pytest.mark.parametrize(
    "pipeline, message",
    [
        (["prune", "prune"], "prune stands twice; each stage runs at most once"),
        (["quantize", "prune"], "prune trains a network and cannot follow quantize"),
        (["export", "distill"], "distill trains a network and cannot follow export"),
        (["trim"], "pipeline.0: input should be 'augment', 'pretrain'"),
    ],
)
def test_pipeline_that_cannot_be(pipeline, message):
    with pytest.raises(UsageError, match=message):
        validate(recipe(pipeline=pipeline))


@pytest.mark.parametrize(
    "limit, message",
    [
        ({"measure": "top1"}, r"limits\.0: give exactly one of at_least, at_most, at_most_worse"),
        ({"measure": "top1", "at_least": 0.5, "at_most": 1}, "exactly one"),
        ({"measure": "top1", "at_most_worse": 0.1}, "at_most_worse needs a baseline"),
    ],
)
def test_limit_that_says_nothing(limit, message):
    with pytest.raises(UsageError, match=message):
        validate(recipe(limits=[limit]))


def test_missing_fields_are_named():
    with pytest.raises(UsageError, match=r"^version: is missing; add it \| data: is missing"):
        validate({"name": "tiny"})


def test_more_than_three_mistakes_are_counted():
    with pytest.raises(UsageError, match=r"\(and 2 more\)$"):
        validate(recipe(a=1, b=1, c=1, d=1, e=1))


def test_component_without_kind():
    with pytest.raises(UsageError, match=r"^train_teacher\.model: needs a kind"):
        validate(recipe(train_teacher={"model": {"widths": [8]}}))


def test_wrong_item_of_a_list_is_the_only_mistake():
    with pytest.raises(
        UsageError, match=r"^prune\.steps\.0\.mac: unknown key; did you mean macs\?$"
    ):
        validate(recipe(prune={"steps": [{"kind": "channels", "mac": 0.5}]}))
    with pytest.raises(UsageError, match=r"^prune\.steps: .* at least 1 item"):
        validate(recipe(prune={"steps": []}))


def test_sections_are_frozen():
    spec = validate(recipe())
    with pytest.raises(ValueError, match="frozen"):
        spec.seed = 3


@pytest.mark.parametrize(
    "override, place, value",
    [
        ("seed=3", ("seed",), 3),
        ("prune.steps.0.macs=0.5", ("prune", "steps", 0, "macs"), 0.5),
        ("train_teacher.training.optimizer={kind: adamw}", None, None),
        ("distill.student=null", ("distill", "student"), None),
        ("data.subset=", ("data", "subset"), None),
        ("name=a=b", ("name",), "a=b"),
    ],
)
def test_override_puts_a_value_in_its_place(override, place, value):
    raw = recipe()
    override_value(raw, override)
    if place is None:
        place, value = ("train_teacher", "training", "optimizer"), {"kind": "adamw"}
    found = raw
    for part in place:
        found = found[part]
    assert found == value


def test_override_makes_sections_that_are_not_there(tmp_path):
    path = write_recipe(tmp_path)
    spec, text = load(path, ["evaluate.split=validation", "limits=[{measure: top1, at_least: 0}]"])
    assert spec.evaluate.split == "validation"
    assert spec.limits[0].at_least == 0
    assert text == path.read_text()


def test_paths_start_at_the_recipe_and_expand(tmp_path, monkeypatch):
    monkeypatch.setenv("WEIGHTS", "/somewhere")
    path = write_recipe(tmp_path)

    def weights(given):
        spec, _ = load(path, [f"train_teacher.weights={given}"])
        return spec.train_teacher.weights

    assert weights("teacher.pt") == str(tmp_path / "teacher.pt")
    assert weights("${WEIGHTS}/teacher.pt") == "/somewhere/teacher.pt"
    assert weights("~/teacher.pt") == str(Path.home() / "teacher.pt")


def test_key_leaves_paths_out_and_keeps_settings(tmp_path):
    def key(**section):
        return key_of(validate(recipe(train_teacher={**TINY["train_teacher"], **section})))

    assert key(weights="a.pt") == key(weights="b.pt")
    assert key(training={"epochs": 3}) != key(training={"epochs": 4})
    (tmp_path / "one.py").write_text("one")
    (tmp_path / "two.py").write_text("two")
    plugin = {"kind": "plugin", "target": f"{tmp_path}/one.py:Net"}
    other = {"kind": "plugin", "target": f"{tmp_path}/two.py:Net"}
    assert key(model=plugin) != key(model=other)
    (tmp_path / "two.py").write_text("one")
    assert key(model=plugin) == key(model=other)


def test_stage_has_its_own_augmentations_or_the_common_ones():
    flip = {"kind": "horizontal_flip"}
    spec = validate(recipe(distill={**TINY["distill"], "augment": [flip]}))
    assert [each.kind for each in spec.augmentations("distill")] == ["horizontal_flip"]
    assert [each.kind for each in spec.augmentations("train_teacher")] == ["affine"]


def test_smoke_shrinks_training_and_takes_a_name_of_its_own(tmp_path):
    spec, _ = load(write_recipe(tmp_path, lambda r: r.update(prune=None)), smoke=True)
    assert spec.name == "tiny-smoke"
    assert spec.train_teacher.training.epochs == spec.distill.training.epochs == 1
    assert spec.quantize.max_drop is None
    assert spec.prune is None


def test_shipped_recipe_by_name_with_and_without_ending():
    assert find_recipe("digits") == find_recipe("digits.yaml")
    with pytest.raises(UsageError, match=r"did you mean digits\.yaml\?"):
        find_recipe("digit")
