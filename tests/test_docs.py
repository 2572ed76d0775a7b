"""The pages say what is so: generated ones are up to date, commands exist, links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from fences import FENCE, PAGES, SHELLS, fences, named, read
from reference import ROOT, pages
from ruamel.yaml import YAML

from augcompress.cli import app
from augcompress.raw import shipped_recipes

INLINE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"(?<![\w./-])(?:\.venv/bin/)?augcompress[ \t]+([^\n|;&)`#]+)")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
SHARED = shlex.split("--recipe --set --run-dir --device --smoke --force --json -q")


def commands(text: str) -> Iterator[list[str]]:
    """The words after `augcompress` of every command line in a page."""
    shells = [fence.body for fence in fences(text) if fence.kind in SHELLS]
    inline = INLINE.findall(FENCE.sub("", text))
    for code in [*shells, *inline]:
        for line in COMMAND.findall(code.replace("\\\n", " ")):
            yield shlex.split(line)


def problem(words: list[str]) -> str | None:
    """What is wrong with a command line; None: nothing."""
    command = typer.main.get_command(app)
    words = list(words)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0)
        if name not in command.commands:
            return f"no command {name}"
        command = command.commands[name]
    known = {option: p for p in command.params for option in p.opts + p.secondary_opts}
    for word in words:
        if word.startswith("-") and word.partition("=")[0] not in {*known, "--help"}:
            return f"{command.name} has no option {word}"
    return None


def anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    titles = re.findall(r"^#+ +(.+)$", read(page), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(page: Path, link: str) -> bool:
    """Does a link lead nowhere?  Links to other sites are not followed."""
    if re.match(r"[a-z]+:", link):
        return False
    place, _, anchor = link.partition("#")
    target = page.parent / place if place else page
    if not target.exists():
        return True
    return bool(anchor) and target.suffix == ".md" and anchor not in anchors(target)


@pytest.mark.parametrize("page", pages(), ids=named)
def test_generated_page_is_up_to_date(page):
    expected = pages()[page]
    assert read(page) == expected, "run: python -m tests.reference"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_command_lines_name_commands_and_options_that_exist(page):
    lines = list(commands(read(page)))
    wrong = [(words, found) for words in lines if (found := problem(words)) is not None]
    assert wrong == []


def test_command_lines_in_recipe_headers_exist():
    headers = {path.name: path.read_text(encoding="utf-8") for path in shipped_recipes().values()}
    lines = {
        name: [shlex.split(line) for line in COMMAND.findall(text.replace("\\\n#", ""))]
        for name, text in headers.items()
    }
    assert {name for name, found in lines.items() if not found} == set()
    assert [problem(words) for found in lines.values() for words in found if problem(words)] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_resolve(page):
    links = LINK.findall(FENCE.sub("", read(page)))
    assert [link for link in links if broken(page, link)] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_yaml_examples_are_yaml(page):
    for fence in fences(read(page)):
        if fence.kind == "yaml":
            assert isinstance(YAML(typ="safe", pure=True).load(fence.body), dict)


@pytest.mark.parametrize("line", ["run --recpe x", "trian", "runs lst", "explain a --json"])
def test_a_wrong_command_line_is_noticed(line):
    assert problem(shlex.split(line)) is not None


@pytest.mark.parametrize("stage", ["run", "augment", "train-teacher", "distill", "prune", "export"])
def test_a_right_command_line_passes(stage):
    assert problem([stage, *SHARED]) is None


def test_a_link_to_nowhere_is_noticed():
    readme = ROOT / "README.md"
    assert broken(readme, "docs/absent.md")
    assert broken(readme, "docs/tutorial.md#no-such-heading")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_places_in_the_code_are_there(page):
    for file, name in re.findall(r"`([\w/]+\.py)::(\w+)`", read(page)):
        source = (ROOT / "augcompress" / file).read_text(encoding="utf-8")
        assert re.search(rf"^ *(?:def|class) {name}\b", source, re.M), f"{file} has no {name}"


CONTRIBUTING = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
SETTING = """
import copy, math
from pathlib import Path
from typing import ClassVar, Literal
import numpy as np, onnx, torch
from pydantic import Field
from torch import Tensor, nn
from augcompress.augmentations.base import PixelAugmentation
from augcompress.augmentations.draws import Draws
from augcompress.batch import ImageInput
from augcompress.compressions import History, NetworkCompression, Prepared, Probe
from augcompress.errors import AugcompressError, LimitError
from augcompress.evidence import Measurement
from augcompress.exporters import Exporter, LoadedModel
from augcompress.models import ModelFacts, ModelSettings
from augcompress.modules import in_evaluation
from augcompress.objectives import ObjectiveFacts, ObjectiveSettings, View
"""
USE = """
images = torch.rand(2, 1, 8, 8)
assert torch.equal(Darken().change(images, None), images / 2)
network = Mlp().build(ModelFacts(3, ImageInput(1, (8, 8))))
assert network(images).shape == (2, 3)
zeros = torch.zeros(2, 3)
view = View(zeros + 2, [zeros], None, torch.arange(2))
assert LogitDistance().build(ObjectiveFacts(samples=2, classes=3))(view) == 4
step = Round(step=0.5)
rounded, history = step.prepare(network, None).convert()
assert step.check(step.replay(rounded, history), history) == []
try:
    step.check(network, history)
    raise AssertionError("the unrounded network passed")
except LimitError:
    pass
target = TorchScript()
opened = target.open(target.write(network, Path("."), images))
assert torch.allclose(torch.from_numpy(opened(images)), network(images), atol=1e-5)
"""


def test_examples_of_components_work(tmp_path):
    examples = re.findall(r"^```python\n(.*?)^```", CONTRIBUTING, re.M | re.S)
    (tmp_path / "examples.py").write_text("\n".join([SETTING, *examples, USE]))
    command = [sys.executable, "examples.py"]
    path = {"PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, cwd=tmp_path, env=os.environ | path, capture_output=True)
    assert found.returncode == 0, found.stderr.decode()
