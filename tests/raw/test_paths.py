"""Where relative paths start: those of `--set`, of a recipe, and of one that comes along."""

from __future__ import annotations

import json
import shutil

import pytest
from end_to_end import write_recipe

from augcompress.raw import (
    TYPED_FILE,
    is_made_with,
    read_raw,
    set_value,
    shipped_recipes,
    typed_text,
)
from augcompress.search.strategies import proposed, strategy_of
from augcompress.search.variants import Template, check_sections
from augcompress.spec import load

PLUGIN = {"kind": "plugin", "target": "./GIVEN.py:Net"}
FIELDS = {
    "data": {"kind": "image_folder", "manifest": "GIVEN.csv", "size": 8},
    "data.root": "GIVEN",
    "data.path": "GIVEN",
    "train_teacher.weights": "GIVEN",
    "distill.weights": "GIVEN",
    "distill.student": PLUGIN,
    "distill.student.target": "GIVEN.py:Net",
    "distill.objectives": [{"kind": "labels"}, PLUGIN],
    "distill.teachers": [{"file": "GIVEN.onnx"}, {"file": "GIVEN.pt", "model": PLUGIN}],
    "prune.steps.0": PLUGIN,
    "foreign.file": "GIVEN",
    "pretrain": {"unlabelled": "GIVEN"},
    "augment.pipeline": [PLUGIN],
}
"""Every way in which a field can name a file, alone and within what else is set."""
KINDS = {"data.root": {"kind": "mnist"}, "data.path": {"kind": "arrays"}}


def resolved(spec):
    """The texts of a recipe with GIVEN in them."""
    found = spec.model_dump_json().split('"')
    return {text for text in found if "GIVEN" in text}


def expected(value, folder):
    """The texts of a value, as paths in a folder."""
    texts = [text for text in json.dumps(value).split('"') if "GIVEN" in text]
    return {f"{folder}/{text.removeprefix('./')}" for text in texts}


@pytest.mark.parametrize("field", FIELDS)
def test_a_path_starts_where_it_was_typed(field, tmp_path, monkeypatch):
    (here := tmp_path / "here").mkdir()
    (there := tmp_path / "there").mkdir()
    monkeypatch.chdir(here)

    def fitting(recipe):
        recipe["data"] = KINDS.get(field, recipe["data"])
        recipe["distill"] |= {"objectives": [{"kind": "labels"}]}
        if field == "distill.student.target":
            recipe["distill"]["student"] = {"kind": "plugin"}

    def typed(recipe):
        fitting(recipe)
        set_value(recipe, field, FIELDS[field])

    set_there, _ = load(write_recipe(there, fitting), [f"{field}={json.dumps(FIELDS[field])}"])
    assert resolved(set_there) == expected(FIELDS[field], here)
    written_there, _ = load(write_recipe(there, typed))
    assert resolved(written_there) == expected(FIELDS[field], there)
    again, _ = load("../there/tiny.yaml", [f"{field}={json.dumps(FIELDS[field])}"])
    assert again == set_there


@pytest.mark.parametrize(
    ("field", "component", "file", "text"),
    [
        (
            "augment.pipeline.0",
            {"kind": "auto_augment", "policy": "mine.yaml"},
            "mine.yaml",
            "[[[Rotate, 0.5, {}]]]",
        ),
        (
            "distill.student",
            {"kind": "hugging_face", "path": "net"},
            "net/config.json",
            '{{"model_type": "resnet", "depths": [{}]}}',
        ),
    ],
)
def test_files_that_are_read_with_the_recipe_start_there_too(
    field, component, file, text, tmp_path, monkeypatch
):
    for place, number in (("here", 4), ("there", 7)):
        (path := tmp_path / place / file).parent.mkdir(parents=True)
        path.write_text(text.format(number))

    def read(folder, written, *overrides):
        monkeypatch.chdir(tmp_path / folder)
        recipe = write_recipe(
            tmp_path / "there", lambda r: written and set_value(r, field, written)
        )
        return load(recipe, overrides)[0]

    override = f"{field}={json.dumps(component)}"
    assert read("here", component) == read("there", component) == read("there", None, override)
    assert read("here", None, override) != read("there", None, override)


def test_recipes_that_come_along_start_at_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, path in shipped_recipes().items():
        assert read_raw(name)[2] == read_raw(path)[2] == str(tmp_path)
    spec, _ = load("resnet50-to-mobilenet.yaml", ["train_teacher.weights=r.pth"])
    assert (spec.data.root, spec.train_teacher.weights) == (
        str(tmp_path / "my-images"),
        str(tmp_path / "r.pth"),
    )
    shutil.copy(shipped_recipes()["resnet50-to-mobilenet.yaml"], tmp_path / "mine.yaml")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert load("../mine.yaml")[0].data.root == str(tmp_path / "my-images")


def test_variants_of_a_study_start_there_too(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    recipe = write_recipe(tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    raw, _, base = read_raw(recipe, ["search.vary={train_teacher.weights: [a.pt, b.pt]}"])
    section = check_sections(raw, base)
    assert [level.label for level in section.vary[0].levels] == ["a.pt", "b.pt"]
    template = Template({k: v for k, v in raw.items() if k != "search"}, base, section)
    made = [template.variant(one).spec.train_teacher for one in proposed(strategy_of(section))]
    assert [one.weights for one in made] == [str(tmp_path / "a.pt"), str(tmp_path / "b.pt")]


@pytest.mark.parametrize("kind", ["plain", "of --set", "typed"])
def test_a_folder_without_a_dot_in_its_name_may_be_another_one(kind, tmp_path, monkeypatch):
    """`check` takes texts that are the same for the same recipe, unless they may be files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / ("here/net" if kind == "of --set" else "there/net")).mkdir(parents=True)
    design = {"kind": "hugging_face", "path": "net"}

    def change(recipe):
        recipe["distill"] |= {"student": design} if kind == "typed" else {}

    recipe = write_recipe(tmp_path / "there", change)
    monkeypatch.chdir(tmp_path / ("here" if kind == "of --set" else "."))
    setting = f"distill.student={json.dumps(design)}"
    raw, _, base = read_raw(recipe, [setting] if kind == "of --set" else [])
    (tmp_path / "spec.json").write_text("{}")
    (tmp_path / TYPED_FILE).write_text(typed_text(raw, tmp_path))
    assert is_made_with(tmp_path, raw, base) is (kind == "plain")
