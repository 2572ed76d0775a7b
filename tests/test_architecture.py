"""Imports go down the layers."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_imports_go_down():
    command = Path(sys.executable).with_name("lint-imports")
    if not command.exists():
        pytest.skip("import-linter is not installed; pip install 'augcompress[dev]'")
    found = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


PACKAGE = ROOT / "augcompress"
TREES = {p.relative_to(PACKAGE): ast.parse(p.read_text("utf-8")) for p in PACKAGE.rglob("*.py")}
EVERYWHERE = {"inputs", "body", "reads", "main", "run"}
"""What every stage's file has; and `run`, of the stages and, for notebooks, of the package."""
ALONE = {Path("measures/bench.py")}
"""A script for the target device, which can import nothing of ours."""


def room(module: str) -> str:
    """The room that a module belongs to: `augcompress.evidence.statistics` is one of its own."""
    parts = module.split(".")
    return ".".join(parts[: 3 if parts[1:3] == ["evidence", "statistics"] else 2])


def test_what_another_room_needs_comes_through_its_door():
    past = []
    for path, tree in TREES.items():
        own = room("augcompress." + ".".join(path.with_suffix("").parts))
        for node in ast.walk(tree):
            module = (isinstance(node, ast.ImportFrom) and node.module) or ""
            if module.startswith("augcompress.") and room(module) not in (own, module):
                past.append(f"{path}: {module}")
    assert past == []


def defined(tree: ast.Module) -> set[str]:
    """The public functions and classes of a module."""
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return {name for name in found if not name.startswith("_")}


def test_no_public_name_stands_for_two_things():
    places = defaultdict(list)
    for path, tree in TREES.items():
        for name in defined(tree) - EVERYWHERE if path not in ALONE else ():
            places[name].append(path.as_posix())
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
