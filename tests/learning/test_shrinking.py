"""The shrink loop: what a prepared network is asked while it is trained, round by round."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from end_to_end import TINY, training

from augcompress import run
from augcompress.batch import Progress
from augcompress.compressions import Magnitude
from augcompress.compressions.magnitude import Masked
from augcompress.spec import validate


class Spy(Masked):
    """Counts what it is asked; holds the head still, and asks for small kernels."""

    seen: list[tuple[str, Any]]

    def zeros(self) -> int:
        kernels = [one for one in self.network.parameters() if one.ndim == 4]
        return sum(int((one == 0).sum()) for one in kernels)

    def on_progress(self, progress: Progress) -> None:
        self.seen.append(("on_progress", (progress.step, self.zeros())))

    def penalties(self) -> dict[str, torch.Tensor]:
        kernels = [one for one in self.network.parameters() if one.ndim == 4]
        return {"small": 0.5 * sum(one.square().sum() for one in kernels)}

    def after_backward(self) -> None:
        head = self.network.body.linear.weight
        assert head.grad is not None
        self.seen.append(("head", head.detach().clone()))
        head.grad.zero_()


@pytest.fixture
def spied(monkeypatch) -> list[tuple[str, Any]]:
    """Every magnitude step is watched; what was seen, in order."""
    seen: list[tuple[str, Any]] = []
    prepare = Magnitude.prepare

    def watched(self, *given, **named):
        prepared = prepare(self, *given, **named)
        spy = Spy(prepared.network, prepared.masks, prepared.sparsity)
        spy.seen = seen
        return spy

    monkeypatch.setattr(Magnitude, "prepare", watched)
    return seen


def pruned(folder: Path, *steps: dict, **changes) -> Path:
    """The folder of `prune` after these steps."""
    raw = copy.deepcopy(TINY) | {"pipeline": ["train_teacher", "prune"]}
    raw["train_teacher"]["training"] = training(1)
    tuning = training(2) | {"optimizer": {"kind": "sgd", "lr": 0.1, "weight_decay": 0}}
    raw["prune"] = {"steps": list(steps), "training": tuning, **changes}
    run(validate(raw), folder)
    return folder / "prune"


def test_every_hook_of_a_prepared_network_is_called_while_it_is_tuned(tmp_path, spied):
    folder = pruned(tmp_path, {"kind": "magnitude", "sparsity": 0.5})
    steps = [each for name, each in spied if name == "on_progress"]
    heads = [each for name, each in spied if name == "head"]
    assert [step for step, _ in steps] == list(range(len(heads)))
    assert len(heads) == 18
    assert all(torch.equal(head, heads[0]) for head in heads)  # without gradients nothing moves
    lines = (folder / "log.jsonl").read_text().splitlines()
    losses = [json.loads(line)["losses"] for line in lines]
    assert [set(each) for each in losses] == [{"labels", "small"}] * 2
    assert losses[1]["small"] < losses[0]["small"]


def test_zeros_stay_at_every_step_also_those_of_earlier_steps(tmp_path, spied):
    kernels = {"kind": "magnitude", "sparsity": 0.8, "layers": {"include": ["Conv2d"]}}
    head = {"kind": "magnitude", "sparsity": 0.5, "layers": {"include": ["Linear"]}}
    pruned(tmp_path, kernels, head)
    zeros = [count for name, each in spied if name == "on_progress" for count in each[1:]]
    assert len(zeros) == 36
    assert set(zeros) == {int(0.8 * (8 * 9 + 16 * 8 * 9) + 0.5)}
