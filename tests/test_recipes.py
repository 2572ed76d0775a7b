"""Every shipped recipe is valid and says what it is; the shortest one is run."""

from __future__ import annotations

import json

import pytest
from end_to_end import STAGES, done, write_recipe

from augcompress.raw import recipe_summary, shipped_recipes
from augcompress.spec import load

RECIPES = shipped_recipes()


def test_there_are_recipes():
    assert RECIPES.keys() >= {"digits.yaml", "fashion-mnist.yaml", "mnist.yaml"}


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_valid(name):
    spec, text = load(RECIPES[name])
    assert spec.name == name.removesuffix(".yaml")
    assert text.startswith("# ")
    assert 20 < len(recipe_summary(RECIPES[name])) <= 100
    assert f"augcompress run --recipe {name}" in text
    assert {"train_teacher", "export"} <= set(spec.stages())
    assert spec.limits


@pytest.mark.parametrize("name", RECIPES)
def test_smoke_form_of_recipe_is_valid(name):
    spec, _ = load(RECIPES[name], smoke=True)
    assert spec.name == f"{name.removesuffix('.yaml')}-smoke"


def test_digits_end_to_end(place):
    told = json.loads(done("run", "--recipe", "digits.yaml", "--smoke", "--json").out)
    assert [stage["name"] for stage in told["stages"]] == list(STAGES)
    assert told["run_dir"] == "runs/digits-smoke"
    assert (place / "runs" / "digits-smoke" / "export" / "model.onnx").is_file()
    names = {row["name"] for row in told["stages"][-1]["measurements"]}
    assert {"top1", "size_bytes", "latency_ms", "speedup", "agreement"} <= names


def test_smoke_run_of_less_data_than_a_smoke_run_takes(place):
    def change(recipe):
        recipe["data"] |= {"subset": 200}

    write_recipe(place, change)
    answer = done("train-teacher", "-r", "tiny.yaml", "--smoke")
    assert "200 train" in answer.err
    answer = done("train-teacher", "-r", "tiny.yaml", "--smoke", "--set", "data.subset=null")
    assert "320 train" in answer.err
