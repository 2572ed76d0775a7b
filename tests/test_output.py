"""Standard output carries results alone; with --json one object, whatever happens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import typer
from end_to_end import ARTIFACTS, done, invoke, write_recipe

from augcompress import raw
from augcompress.cli import app

RUN = Path("runs/tiny")


def commands(group=None, path: tuple[str, ...] = ()):
    """Every command, by its name."""
    group = typer.main.get_command(app) if group is None else group
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def with_json() -> dict[str, list[str]]:
    """Those that have --json, and what each must be given: files that are not there."""
    found = {}
    for name, command in commands():
        if any("--json" in one.opts for one in command.params):
            needed = [one for one in command.params if one.required]
            options = [[one.opts[0]] if one.param_type_name == "option" else [] for one in needed]
            found[name] = [word for one in options for word in (*one, "absent")]
    return found


WITH_JSON = with_json()


def failed(answer, code: int, words: str) -> dict:
    """What the one object of a command that failed says beside that."""
    assert answer.code == code, answer.err
    told = json.loads(answer.out)
    assert words in told.pop("error")
    assert (told.pop("version"), told.pop("status"), told.pop("exit_code")) == (1, "failed", code)
    assert words in answer.err
    return told


def test_most_commands_have_it():
    assert {"run", "augment", "export", "compare", "check", "search", "predict"} <= set(WITH_JSON)


@pytest.mark.parametrize("name", WITH_JSON)
def test_an_object_also_of_a_wrong_command_line(name, place):
    words = name.split()
    assert failed(invoke(*words, "--json", "--nonsense"), 2, "there is no option --nonsense") == {}
    if WITH_JSON[name]:
        answer = invoke(*words, *WITH_JSON[name], "--json")
        assert failed(answer, answer.code, "absent") == {}
        assert answer.code in (1, 2)
        assert invoke(*words, *WITH_JSON[name]).out == ""


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on from here"),
        (RuntimeError("no idea"), 70, "this is a bug in augcompress"),
        (MemoryError(), 1, "out of memory"),
        (OSError(28, "No space left on device", "x"), 1, "x: No space left on device"),
    ],
)
def test_an_object_of_everything_else_that_ends_a_command(place, error, code, words):
    with mock.patch.object(raw, "read_raw", side_effect=error):
        failed(invoke("check", "x", "-r", "y", "--json"), code, words)


def test_what_was_found_stands_beside_what_failed(mine):
    limit = "limits=[{measure: top1, at_least: 1.0}]"
    answer = invoke("check", RUN, "-r", "tiny.yaml", "--set", limit, "--json")
    told = failed(answer, 3, f"check {RUN}: not kept: top1")
    assert [row["reached"] for row in told["limits"] if "top1" in row["limit"]] == [False]
    answer = invoke("export", "-r", "tiny.yaml", "--set", limit, "--json")
    told = failed(answer, 3, "limits not reached")
    assert [stage["status"] for stage in told["stages"]] == ["cached"]
    assert "status" not in json.loads(done("export", "-r", "tiny.yaml", "--json").out)


def test_each_artefact_has_its_line(mine):
    told = done("run", "-r", "tiny.yaml", "-q").out.splitlines()
    assert told == [str(RUN / stage / name) for stage, name in ARTIFACTS.items()]
    assert done("augment", "-r", "tiny.yaml", "-q").out == ""
    assert done("export", "-r", "tiny.yaml", "-q").out == f"{RUN / 'export/model.onnx'}\n"


NOISY = """
import torch
from torch import nn
print("a plug-in")
class Net(nn.Sequential):
    def __init__(self):
        print("is noisy")
        super().__init__(nn.Flatten(), nn.Linear(64, 10))
"""


def test_what_plugins_print_is_no_result(place):
    (place / "noisy.py").write_text(NOISY)

    def change(recipe):
        recipe["train_teacher"]["model"] = {"kind": "plugin", "target": "noisy.py:Net"}
        recipe["train_teacher"]["training"]["epochs"] = 1

    command = ("train-teacher", "-r", write_recipe(place, change), "--allow-plugins")
    answer = done(*command, "--json")
    assert json.loads(answer.out)["stages"][0]["status"] == "done"
    lines = answer.err.splitlines()
    assert lines.index("a plug-in") < lines.index("is noisy")
    answer = done(*command, "--force", "-q")
    assert answer.out == f"{RUN / 'train_teacher/model.safetensors'}\n"


def test_a_stopped_process_leaves_one_object(place):
    write_recipe(place)
    script = (
        "import os, signal; from augcompress import cli, raw\n"
        "raw.read_raw = lambda *a: os.kill(os.getpid(), signal.SIGTERM)\n"
        "cli.main()"
    )
    command = [sys.executable, "-c", script, "check", "x", "-r", "tiny.yaml", "--json"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert (ran.returncode, json.loads(ran.stdout)["exit_code"]) == (130, 130)
