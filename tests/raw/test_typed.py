"""Whether a run was made with a recipe: certain, or not told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from augcompress.raw import TYPED_FILE, is_made_with, typed_text

RAW = {
    "version": 1,
    "name": "a",
    "data": {"kind": "image_folder", "root": "./pictures"},
    "distill": {"student": {"kind": "small_cnn", "widths": [8, 16]}},
    "limits": [{"measure": "top1", "at_least": 0.5}],
}


def made(run: Path, raw=RAW) -> Path:
    """A run's two records of its recipe."""
    (run / "spec.json").write_text(json.dumps({**raw, "seed": 0, "prune": None}))
    (run / TYPED_FILE).write_text(typed_text(raw, run))
    return run


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"limits": []}, True),
        ({"limits": "what is wrong here is told by whoever reads them"}, True),
        ({"seed": 0}, False),  # a default, which nobody knows here
        ({"name": "b"}, False),
        ({"distill": {"student": {"kind": "small_cnn", "widths": [8, 17]}}}, False),
        ({"distil": {}}, False),
    ],
)
def test_all_but_the_limits_must_be_the_same(tmp_path, changes, same):
    assert is_made_with(made(tmp_path), {**RAW, **changes}) is same


def test_a_section_that_was_left_out_is_another_recipe(tmp_path):
    assert not is_made_with(made(tmp_path), {n: v for n, v in RAW.items() if n != "distill"})


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "plugin", "target": "./net.py:Net"},
        {"kind": "plugin", "target": "nets:Net"},
        {"kind": "hugging_face", "path": "~folder"},
        {"kind": "hugging_face", "path": "$FOLDER"},
        {"kind": "hugging_face", "path": "C:\\\\nets"},
    ],
)
def test_what_files_say_may_be_other_than_it_was(tmp_path, model):
    raw = {**RAW, "distill": {"student": model}}
    assert not is_made_with(made(tmp_path, raw), raw)
    assert is_made_with(tmp_path, json.loads((tmp_path / "spec.json").read_text()))


def test_records_that_do_not_belong_together_tell_nothing(tmp_path):
    run = made(tmp_path)
    (run / "spec.json").write_text(json.dumps({**RAW, "seed": 1}))  # by hand, or by another recipe
    assert not is_made_with(run, RAW)


@pytest.mark.parametrize("name", ["spec.json", TYPED_FILE])
@pytest.mark.parametrize("content", [None, "{", "[]", '{"spec": 1, "recipe": []}'])
def test_what_cannot_be_read_tells_nothing(tmp_path, name, content):
    path = made(tmp_path) / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert not is_made_with(tmp_path, RAW)
