"""A user's own network and loss, from a file beside the recipe, through every stage."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from end_to_end import STAGES, artifacts, done, invoke, write_recipe

from augcompress.component import ALLOW_PLUGINS

RUN = Path("runs/tiny")
SOURCE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes, channels, hidden=8):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, hidden, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden, 2 * hidden, 3, stride=2, padding=1)
        self.head = nn.Linear(2 * hidden, classes)

    def forward(self, images):
        features = torch.relu(self.conv2(torch.relu(self.conv1(images))))
        return self.head(features.mean((2, 3)))


class Square(nn.Module):
    def forward(self, view):
        return ((view.student_logits.softmax(1) - view.targets) ** 2).sum(1).mean()
"""


@pytest.fixture
def own(place):
    """A recipe with the user's own network and loss everywhere; the working directory."""
    net = {"kind": "plugin", "target": "./mine.py:Net", "options": {"hidden": 16}}
    loss = {"kind": "plugin", "target": "./mine.py:Square"}

    def change(recipe):
        recipe["train_teacher"] |= {"model": net, "objectives": [loss]}
        recipe["distill"]["student"] = {**net, "options": {"hidden": 8}}
        recipe["distill"]["objectives"] = [loss, {"kind": "soft_targets"}]
        recipe["prune"]["objectives"] = [loss]

    write_recipe(place, change)
    (place / "mine.py").write_text(SOURCE)
    return place


def run(*arguments):
    return invoke("run", "-r", "tiny.yaml", "--json", *arguments)


def test_own_network_and_loss_through_every_stage(own, monkeypatch):
    answer = run("--allow-plugins")
    assert answer.code == 0, answer.err
    assert answer.stages == dict.fromkeys(STAGES, "done")
    log = (own / RUN / "train_teacher" / "log.jsonl").read_text().splitlines()
    assert set(json.loads(log[0])["losses"]) == {"plugin"}
    before = artifacts(own / RUN)

    monkeypatch.setenv(ALLOW_PLUGINS, "")
    checkpoint = RUN / "train_teacher" / "model.safetensors"
    reopened = invoke("evaluate", "-r", "tiny.yaml", "--from", checkpoint)
    assert reopened.code == 1
    assert "runs code from a file; if you trust it, add --allow-plugins" in reopened.error
    done("evaluate", "-r", "tiny.yaml", "--from", checkpoint, "--allow-plugins")
    monkeypatch.setenv(ALLOW_PLUGINS, "1")
    assert run().stages == dict.fromkeys(STAGES, "cached")

    (own / "mine.py").write_text(SOURCE.replace("relu(self.conv2", "tanh(self.conv2"))
    changed = run("--until", "distill")
    assert changed.stages == {"augment": "cached", "train_teacher": "done", "distill": "done"}
    assert artifacts(own / RUN)["train_teacher"] != before["train_teacher"]
    (own / "mine.py").write_text(SOURCE)
    assert run().stages == dict.fromkeys(STAGES, "cached")
    assert artifacts(own / RUN) == before


def test_plugin_moved_with_its_recipe_is_the_same(own, monkeypatch):
    assert run("--until", "train-teacher", "--allow-plugins").code == 0
    shutil.copytree(own, own / "moved")
    monkeypatch.chdir(own / "moved")
    answer = run("--until", "train-teacher")
    assert answer.stages == dict.fromkeys(STAGES[:2], "cached")


@pytest.mark.parametrize(
    "source, message",
    [
        ("class Other: pass", "the module has no class Net"),
        ("class Net: pass", "is no subclass of Module"),
        ("def broken(:\n", "cannot be imported: SyntaxError"),
        ("raise LookupError('no luck')", "cannot be imported: LookupError: no luck"),
        ("import nowhere_at_all", "cannot be imported: ModuleNotFoundError"),
        (SOURCE.replace("hidden=8", "width=8"), "mend its options"),
        (SOURCE.replace("return self.head(", "return (1, "), "gives tuple for one image"),
    ],
)
def test_plugin_that_does_not_work(own, source, message):
    (own / "mine.py").write_text(source)
    answer = run("--allow-plugins", "--until", "train-teacher")
    assert answer.code == 1
    assert message in answer.error


CHANGED = """
def changed(self, features):
    made = features.sigmoid()
    twice = made * 2
    made += 1
    return twice + made

Net.changed = changed
"""
FIRST = "features ="
FAILING = {
    "forward": (
        SOURCE.replace(FIRST, "{}[self.training]\n        features ="),
        r"a plug-in has failed: KeyError: False \(mine.py, line \d+, in forward\)",
    ),
    "forward, in training": (
        SOURCE.replace(
            "        features =", "        {False: 1}[self.training]\n        features ="
        ),
        r"a plug-in has failed: KeyError: True \(mine.py, line \d+, in forward\)",
    ),
    "a module beside it": (
        SOURCE.replace("nn.Linear(", "__import__('beside').Linear("),
        r"a plug-in has failed: ZeroDivisionError: .* \(beside.py, line 6, in forward\)",
    ),
    "shapes that do not fit": (
        SOURCE.replace("features.mean((2, 3))", "features.flatten(1)"),
        r"^error: model plugin: cannot take images of 1 x 8 x 8 \(a plug-in has failed:"
        r" RuntimeError: mat1 and mat2 .* \(mine.py, line \d+, in forward\)\); resize the images",
    ),
    "no more than one image": (
        SOURCE.replace("features.mean((2, 3))", "features.mean((2, 3)).view(1, -1)"),
        r"model plugin: takes one image but not 2 at once \(a plug-in .* in forward\)\); leave",
    ),
    "the program ends in forward": (
        SOURCE.replace(FIRST, "raise SystemExit('enough')\n        features ="),
        r"a plug-in has failed: SystemExit: enough \(mine.py, line \d+, in forward\)",
    ),
    "an end of iteration": (
        SOURCE.replace(FIRST, "next(iter([]))\n        features ="),
        r"a plug-in has failed: StopIteration: StopIteration \(mine.py, line \d+, in forward\)",
    ),
    "nothing learns": (
        SOURCE.replace("self.head =", "self.requires_grad_(False); self.head =").replace(
            "classes)", "classes).requires_grad_(False)"
        ),
        "train_teacher: no parameter learns: .* requires_grad is false for all; let some",
    ),
    "constructor": (
        SOURCE.replace("super().__init__()", "super().__init__(); raise NameError('who')"),
        r"a plug-in has failed: NameError: who \(mine.py, line \d+, in __init__\)",
    ),
    "objective": (
        SOURCE.replace("((view.student", "(view.nothing + (view.student"),
        r"a plug-in has failed: AttributeError: .*nothing.* \(mine.py, line \d+, in forward\)",
    ),
    "no scalar": (
        SOURCE.replace(".sum(1).mean()", ".sum(1)"),
        r"train_teacher.objectives: plugin gives \(\d+,\) and must give a scalar",
    ),
    "no gradient": (
        SOURCE.replace("features.mean((2, 3)))", "features.mean((2, 3))).detach()"),
        "train_teacher: the losses have no gradient: element 0 of tensors does not require grad",
    ),
    "changed in place": (
        SOURCE.replace("features.mean((2, 3)))", "self.changed(features).mean((2, 3)))") + CHANGED,
        "train_teacher: the losses have no gradient: one of the variables .* an inplace operation",
    ),
    "two outputs in training": (
        SOURCE.replace("return self.head(", "return (1, 1) if self.training else self.head("),
        r"train_teacher: the network: gives tuple for \d+ images, not logits",
    ),
    "end of the program": ("raise SystemExit(3)", "cannot be imported: SystemExit"),
}
BESIDE = """
from torch import nn

class Linear(nn.Linear):
    def forward(self, features):
        return 1 / 0
"""


@pytest.mark.parametrize("source, message", FAILING.values(), ids=list(FAILING))
def test_code_of_the_users_own_that_fails_is_named_in_one_line(own, source, message, monkeypatch):
    monkeypatch.syspath_prepend(str(own))
    (own / "mine.py").write_text(source)
    (own / "beside.py").write_text(BESIDE)
    for sources in ([], ["-v"]):
        answer = run("--allow-plugins", "--until", "train-teacher", *sources)
        assert answer.code == 1, answer.err
        assert re.search(message, answer.error), answer.error
        assert "Traceback" not in answer.error
    assert "Traceback" in answer.err or message[:5] == "train"


def test_own_code_beside_the_network_is_remembered_and_what_is_unused_named(own):
    (own / "mine.py").write_text(SOURCE.replace("self.head =", "self.spare = self.head ="))
    assert "no part in the logits" not in run("--allow-plugins", "--until", "train-teacher").err
    spare = "self.spare = nn.Linear(3, 3)\n        self.head ="
    (own / "mine.py").write_text(SOURCE.replace("self.head =", spare))
    answer = run("--until", "train-teacher")
    named = "2 parameters have no part in the logits (body.spare.weight, body.spare.bias)"
    assert f"train_teacher: {named}" in answer.err
    again = invoke("run", "-r", "tiny.yaml", "--until", "train-teacher")
    assert named in " ".join(again.err.split())  # a note of the stage, also where it is cached


def test_network_with_a_view_goes_through_every_stage_without_channels_last(own):
    flat = "self.head(features.view(images.size(0), -1))"
    source = SOURCE.replace("self.head(features.mean((2, 3)))", flat)
    (own / "mine.py").write_text(source.replace("nn.Linear(2 * hidden,", "nn.Linear(32 * hidden,"))
    answer = run("--allow-plugins")
    assert answer.code == 0, answer.err
    assert "train_teacher: trained without channels-last memory" in answer.err
    assert "write x.flatten(1) or x.reshape in place of x.view" in answer.err


def test_mended_plugin_is_read_again(own):
    (own / "mine.py").write_text("raise RuntimeError")
    assert run("--allow-plugins", "--until", "train-teacher").code == 1
    (own / "mine.py").write_text(SOURCE)
    assert run("--until", "train-teacher").code == 0


def test_plugin_file_that_is_not_there(own):
    (own / "mine.py").unlink()
    answer = run("--allow-plugins")
    assert answer.code == 1
    assert "No such file or directory" in answer.error


def test_plugin_of_a_package_needs_permission_before_it_is_imported(own, monkeypatch):
    (own / "own_package_of_a_test.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(own))
    target = ("--set", "train_teacher.model.target=own_package_of_a_test:Net")
    answer = run(*target, "--until", "train-teacher")
    assert answer.code == 1
    assert "own_package_of_a_test:Net: runs code from a file" in answer.error
    assert "own_package_of_a_test" not in sys.modules
    assert run(*target, "--until", "train-teacher", "--allow-plugins").code == 0


def test_checkpoint_of_other_code_is_refused(own, monkeypatch):
    monkeypatch.setenv(ALLOW_PLUGINS, "1")
    assert run("--until", "train-teacher").code == 0
    copy = own / "kept"
    shutil.copytree(own / RUN / "train_teacher", copy)
    (own / "mine.py").write_text(SOURCE.replace("relu(self.conv2", "tanh(self.conv2"))
    answer = invoke("evaluate", "-r", "tiny.yaml", "--from", copy / "model.safetensors")
    assert answer.code == 1
    assert "its plug-ins' code has changed since it was written" in answer.error
