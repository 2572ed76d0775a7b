"""What `long.py` does to every stage, done to one; and what it would notice."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest
from forked import Moment
from killing import killed
from scenes import RECIPE, Scene, carried_out

from augcompress.storage import run_directory, store

AUGMENT = {
    "version": 1,
    "name": "tiny",
    "pipeline": ["augment"],
    "data": {"kind": "digits", "subset": 60},
    "augment": {"pipeline": [{"kind": "rotate", "degrees": 5}], "columns": 1},
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    """One short stage."""
    place = tmp_path_factory.mktemp("kills")
    start = place / "start" / "work"
    start.mkdir(parents=True)
    (start / RECIPE).write_text(json.dumps(AUGMENT))
    return carried_out("augment", ("augment", "-r", RECIPE), start, place / "augment")


def faults(scene: Scene, place: Path, number=SIGKILL, step: int = 2) -> Iterator[str]:
    """What is wrong after a kill before every `step`-th operation on a file, the last first."""
    for operation in range(scene.ended.operations, 0, -step):
        yield from killed(scene, place, [Moment(number, operation=operation)])[1]


@pytest.mark.parametrize("number, step", [(SIGKILL, 17), (SIGTERM, 36)])
def test_a_stage_is_whole_or_not_there_whenever_it_is_killed(scene, number, step, tmp_path):
    assert scene.ended.operations > 10
    assert list(faults(scene, tmp_path, number, step)) == []


def copied_over(new: Path, folder: Path) -> None:
    shutil.copytree(new, folder, dirs_exist_ok=True)
    shutil.rmtree(new)


@contextlib.contextmanager
def never_removed(path: Path) -> Iterator[Path]:
    yield path.with_name(f".aside-{path.name}")
    shutil.copy(path.with_name(f".aside-{path.name}"), path)


PLANTED = {
    "a folder filled in place": (store, "swap", copied_over, "has no record|is missing"),
    "files left": (run_directory, "write_aside", never_removed, r"\.aside-"),
}


@pytest.mark.parametrize("module, name, fault, found", PLANTED.values(), ids=list(PLANTED))
def test_a_fault_is_found(module, name, fault, found, scene, tmp_path, monkeypatch):
    monkeypatch.setattr(module, name, fault)
    assert any(re.search(found, told) for told in faults(scene, tmp_path))


def test_other_bytes_are_found(scene, tmp_path):
    other = replace(scene, after={**scene.after, "tiny/spec.json": "", "tiny/lost": ""})
    assert [line.split(": ")[-1] for line in killed(other, tmp_path, [])[1]] == [
        "tiny/lost is in one of them only",
        "tiny/spec.json differs",
    ]
