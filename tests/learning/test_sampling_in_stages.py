"""What `sampling` asks for reaches the batches that a stage trains on."""

from __future__ import annotations

import torch
from end_to_end import done, write_recipe

from augcompress.learning.student import StudentLearner


def classes_shown(place, monkeypatch, **sampling) -> torch.Tensor:
    """How many samples of each class `distill` learns from, where one is rare."""
    seen, forward = [], StudentLearner.forward

    def spy(self, batch):
        seen.append(batch.targets.sum(0))
        return forward(self, batch)

    def change(recipe):
        recipe["data"] = {"kind": "digits", "keep": {"8": 0.1}}
        recipe["distill"]["objectives"] = [{"kind": "labels"}]
        recipe["distill"]["training"]["epochs"] = 1
        recipe["distill"]["sampling"] = sampling
        del recipe["train_teacher"]

    monkeypatch.setattr(StudentLearner, "forward", spy)
    write_recipe(place, change)
    done("distill", "-r", "tiny.yaml")
    return torch.stack(seen).sum(0)


def test_class_balance_reaches_the_training_batches(place, monkeypatch):
    assert classes_shown(place, monkeypatch)[8] < 20
    monkeypatch.undo()
    monkeypatch.chdir(place)
    shown = classes_shown(place, monkeypatch, class_balance={"kind": "balanced"})
    assert shown.max() - shown.min() < 20  # of about 120, the incomplete last batch is dropped
