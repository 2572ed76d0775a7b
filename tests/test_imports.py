"""What each command loads: looked at in `sys.modules` of a new process."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from end_to_end import TINY
from PIL import Image

from augcompress.cli import app

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
LIGHT = {"typer", "rich", "pydantic", "ruamel.yaml", "numpy", "filelock", "jinja2", "pillow",
         "safetensors"}  # fmt: skip
"""Of the distributions that the project asks for, those that any command may load."""
NAMES = {"scikit-learn": "sklearn", "torch-pruning": "torch_pruning"}
"""Of distributions that are imported by another name."""
BASE, MODEL = ("-r", "tiny.yaml", "--run-dir", "runs/tiny"), "runs/tiny/export/model.onnx"
STAGE = ((*BASE, "--dry-run"), {"torch", "onnx", "onnxruntime"})
MAY_LOAD: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "": (("--help",), set()),
    "recipes": ((), set()),
    "init": (("digits.yaml",), set()),
    "explain": (("distill",), {"torch"}),
    "schema": ((), {"torch"}),
    "doctor": ((), {"torch", "onnx", "onnxruntime"}),
    "predict": ((MODEL, "0.png"), {"onnxruntime"}),
    "check": (("runs/tiny", "-r", "tiny.yaml"), set()),
    "compare": (("runs/tiny", "runs/tiny/export"), {"scipy"}),
    "report": (("runs/tiny", "--to", "page.html"), {"scipy", "matplotlib"}),
    "runs": (("--help",), set()),
    "runs list": ((), set()),
    "runs show": (("runs/tiny",), set()),
    "runs clean": (("--dry-run",), set()),
    "run": (BASE, {"torch", "onnx", "onnxruntime"}),
    "search": (("-r", "study.yaml", "--dry-run"), {"torch", "onnx", "onnxruntime"}),
    **dict.fromkeys(
        ("augment", "pretrain", "train-teacher", "distill", "prune", "quantize"), STAGE
    ),
    **dict.fromkeys(("export", "evaluate"), STAGE),
}
"""Arguments, and what the command may load of WATCHED beside nothing."""
SPY = """
import sys
from augcompress import cli
watched = sys.argv.pop(1).split()
try:
    cli.main()
except SystemExit as end:
    assert not end.code, end.code
print("loaded", *[name for name in watched if name in sys.modules], file=sys.stderr)
"""


def asked_for() -> set[str]:
    """The names under which what the project asks for is imported, but for the light ones; what
    `pyproject.toml` lists as slow to load; and what these bring that is slow."""
    listed = [*PROJECT["project"]["dependencies"]]
    for name, extra in PROJECT["project"]["optional-dependencies"].items():
        listed += extra if name != "dev" else []
    found = {re.split(r"[<>=\[]", one)[0] for one in listed} - LIGHT
    slow = PROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-module-level-imports"]
    ours = {name for name in slow if not name.startswith("augcompress")} - {"ruamel"}
    return {NAMES.get(name, name) for name in found} | ours | {"torch._dynamo", "triton", "pandas"}


WATCHED = sorted(asked_for())


def commands(group=None, path: tuple[str, ...] = ()) -> set[str]:
    """The names of all commands, groups included."""
    group = typer.main.get_command(app) if group is None else group
    inner = getattr(group, "commands", {}).items()
    return {" ".join(path)}.union(*(commands(child, (*path, name)) for name, child in inner))


def test_each_command_stands_in_the_table():
    assert set(MAY_LOAD) == commands()


@pytest.fixture(scope="module")
def opened(finished, tmp_path_factory) -> Path:
    """The finished run, an image and a study."""
    folder = tmp_path_factory.mktemp("loading") / "mine"
    shutil.copytree(finished, folder)
    Image.new("L", (8, 8)).save(folder / "0.png")
    search = {"vary": {"distill.training.epochs": [1, 2]}, "seeds": [0]}
    (folder / "study.yaml").write_text(json.dumps({**TINY, "search": search}))
    return folder


@pytest.mark.parametrize("name", MAY_LOAD)
def test_a_command_loads_only_what_it_may(opened, name):
    arguments, may = MAY_LOAD[name]
    ran = subprocess.run(
        [sys.executable, "-c", SPY, " ".join(WATCHED), *name.split(), *arguments],
        cwd=opened,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    assert set(ran.stderr.splitlines()[-1].split()[1:]) <= may
