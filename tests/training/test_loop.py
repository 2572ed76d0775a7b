"""The loop: what it does to the loss, the learning rate, the weights and the log."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from augcompress.batch import Batch
from augcompress.errors import AugcompressError
from augcompress.training import (
    AdamW,
    Constant,
    Cosine,
    EarlyStopping,
    Engine,
    Learner,
    Score,
    Sgd,
    Training,
    fit,
    parameter_groups,
    resolve_precision,
)

CPU = torch.device("cpu")


class Line(Learner):
    """A linear classifier of two classes; `scores` are its validation scores, one an epoch."""

    def __init__(self, scores=()):
        super().__init__()
        torch.manual_seed(0)
        self.network, self.scores = nn.Linear(2, 2), list(scores)
        self.weights, self.rates, self.steps = [], [], []

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"labels": nn.functional.cross_entropy(self.network(batch.images()), batch.targets)}

    def score(self) -> Score:
        assert not self.training
        self.weights.append(self.network.weight.detach().clone())
        return Score(self.scores.pop(0) if self.scores else 0.0, n=200)

    def on_progress(self, progress):
        assert self.training
        self.steps.append((progress.epoch, progress.step, progress.fraction))


class Points:
    """`steps` batches an epoch of points above and below a line."""

    def __init__(self, steps=4):
        self.steps = steps

    def __len__(self):
        return self.steps

    def epoch(self, epoch, start_step=0):
        for step in range(start_step, self.steps):
            inputs = torch.randn(16, 2, generator=torch.Generator().manual_seed(step))
            targets = nn.functional.one_hot((inputs.sum(1) > 0).long(), 2).float()
            yield Batch(inputs, targets, torch.arange(16))


def engine(tmp_path, **settings):
    return Engine(CPU, where="distill", log=tmp_path / "log.jsonl", **settings)


def log(tmp_path):
    return [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("optimizer", [Sgd(lr=0.1), Sgd(lr=0.1, momentum=0), AdamW(lr=0.05)])
def test_loss_falls(tmp_path, optimizer):
    fit(Line(), Points(), Training(epochs=5, optimizer=optimizer), engine(tmp_path))
    losses = [line["losses"]["labels"] for line in log(tmp_path)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.8 * losses[0]


def test_best_epoch_is_restored(tmp_path):
    learner = Line([0.3, 0.8, 0.8, 0.5])
    result = fit(learner, Points(), Training(epochs=4), engine(tmp_path))
    assert (result.epochs, result.best_epoch, result.best_score) == (4, 2, 0.8)
    assert torch.equal(learner.network.weight, learner.weights[1])
    assert not torch.equal(learner.weights[1], learner.weights[3])
    assert [line["validation_top1"] for line in log(tmp_path)] == [0.3, 0.8, 0.8, 0.5]


class Loss(Line):
    """Scored by a measure of which less is better."""

    def score(self) -> Score:
        return replace(super().score(), better="lower", name="nll", n=None)


@pytest.mark.parametrize("patience, epochs", [(1, 3), (2, 4)])
def test_lower_may_be_better(patience, epochs, tmp_path):
    learner = Loss([0.5, 0.2, 0.4, 0.3])
    settings = Training(epochs=4, early_stopping=EarlyStopping(patience=patience))
    result = fit(learner, Points(), settings, engine(tmp_path))
    assert (result.epochs, result.best_epoch) == (epochs, 2)
    assert torch.equal(learner.network.weight, learner.weights[1])
    assert [line["validation_nll"] for line in log(tmp_path)][:3] == [0.5, 0.2, 0.4]


class Pair(Learner):
    """Two students that learn from each other; `scores` are theirs, a pair an epoch."""

    def __init__(self, scores):
        super().__init__()
        torch.manual_seed(0)
        self.students, self.scores = nn.ModuleList(nn.Linear(2, 2) for _ in range(2)), list(scores)
        self.weights = []

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        logits = [student(batch.images()) for student in self.students]
        labels = sum(nn.functional.cross_entropy(each, batch.targets) for each in logits)
        return {"labels": labels, "mutual": (logits[0] - logits[1]).square().mean()}

    def score(self) -> Score:
        self.weights.append([student.weight.detach().clone() for student in self.students])
        values = self.scores.pop(0)
        return Score(max(values), student=values.index(max(values)))


class Interrupted(Exception):
    """The end of a process."""


class Stopping(Points):
    """Ends the process in the third epoch."""

    def epoch(self, epoch, start_step=0):
        if epoch == 2:
            raise Interrupted
        return super().epoch(epoch, start_step)


def test_the_better_of_two_students_is_known_after_an_interruption(tmp_path):
    scores = [(0.3, 0.6), (0.5, 0.9), (0.2, 0.4), (0.8, 0.1)]
    first, again = Pair(scores), Pair(scores[2:])
    settings = Training(epochs=4)
    with pytest.raises(Interrupted, match=r"^$"):
        fit(first, Stopping(), settings, engine(tmp_path, state=tmp_path))
    result = fit(again, Points(), settings, engine(tmp_path, state=tmp_path))
    assert (result.best_epoch, result.best_student, result.best_score) == (2, 1, 0.9)
    for student, weight in zip(again.students, first.weights[1], strict=True):
        assert torch.equal(student.weight, weight)
    scores[3] = (0.95, 0.1)
    whole = Pair(scores)
    result = fit(whole, Points(), settings)
    assert (result.best_epoch, result.best_student) == (4, 0)
    for ended, interrupted in zip(whole.weights[3], again.weights[1], strict=True):
        assert torch.equal(ended, interrupted)


def test_log_tells_each_epoch(tmp_path):
    fit(Line(), Points(), Training(epochs=2), engine(tmp_path))
    assert [line["epoch"] for line in log(tmp_path)] == [1, 2]
    fields = {"epoch", "losses", "lr", "images_per_s", "seconds"}
    scores = {"validation_top1", "validation_low", "validation_high", "validation_n"}
    assert set(log(tmp_path)[0]) == fields | scores


def test_progress_counts_steps():
    learner = Line()
    fit(learner, Points(2), Training(epochs=2))
    assert learner.steps == [(0, 0, 0.0), (0, 1, 0.25), (1, 2, 0.5), (1, 3, 0.75)]


def test_schedule_is_read_in_the_middle_of_each_step(tmp_path):
    """Two steps: the rates are those at 1/4 and 3/4 of the training."""
    settings = Training(epochs=2, optimizer=Sgd(lr=0.4), schedule=Cosine(warmup=0.5))
    fit(Line(), Points(1), settings, engine(tmp_path))
    assert [line["lr"] for line in log(tmp_path)] == pytest.approx([0.2, 0.2])


def test_one_step_of_sgd_by_hand():
    learner = Line()
    before = learner.network.weight.detach().clone()
    batch = next(Points(1).epoch(0))
    learner(batch)["labels"].backward()
    gradient = learner.network.weight.grad.clone()
    learner.zero_grad()
    sgd = Sgd(lr=0.5, momentum=0, weight_decay=0.1)
    fit(learner, Points(1), Training(epochs=1, optimizer=sgd, schedule=Constant()))
    assert torch.allclose(learner.network.weight, before - 0.5 * (gradient + 0.1 * before))


def test_gradient_is_clipped():
    before, clip = Line().network.weight.detach(), 1e-3
    learner = Line()
    settings = Training(
        epochs=1,
        optimizer=Sgd(lr=1, momentum=0, weight_decay=0),
        schedule=Constant(),
        gradient_clip=clip,
    )
    fit(learner, Points(1), settings)
    moved = [
        *(learner.network.weight - before).flatten(),
        *(learner.network.bias - Line().network.bias),
    ]
    assert torch.stack(moved).norm().item() == pytest.approx(clip, rel=1e-3)


def test_norms_and_biases_do_not_decay():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    network[0].bias.requires_grad_(False)
    decayed, free = parameter_groups(network, 0.1)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert {id(p) for p in decayed["params"]} == {id(network[0].weight), id(network[3].weight)}
    assert {id(p) for p in free["params"]} == {
        id(network[1].weight),
        id(network[1].bias),
        id(network[3].bias),
    }


def test_data_smaller_than_a_batch():
    with pytest.raises(AugcompressError, match=r"training\.batch_size: 128 is more than"):
        fit(Line(), Points(0), Training())


class Broken(Line):
    """Its second loss is infinite from some step on."""

    def forward(self, batch):
        bad = math.inf if len(self.steps) > 30 else 0.0
        return {**super().forward(batch), "extra": self.network.weight.sum() * 0 + bad}


def test_loss_that_is_not_finite_names_stage_loss_and_epoch(tmp_path):
    with pytest.raises(
        AugcompressError, match=r"^distill: loss extra is not finite in epoch 2, by step 20; lower"
    ):
        fit(Broken(), Points(25), Training(epochs=3), engine(tmp_path))
    assert [line["epoch"] for line in log(tmp_path)] == [1]


def test_precision_is_resolved(monkeypatch):
    assert resolve_precision("fp32", CPU) == "fp32"
    assert resolve_precision("bf16", CPU) == "bf16"
    for has, wanted in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has)
        assert resolve_precision("auto", CPU) == wanted
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has=has, **_: has)
        assert resolve_precision("auto", torch.device("cuda")) == wanted


def test_bf16_computes_in_bf16(tmp_path):
    seen = []

    class Looking(Line):
        def forward(self, batch):
            seen.append(self.network(batch.images()).dtype)
            return super().forward(batch)

    fit(Looking(), Points(1), Training(epochs=1), engine(tmp_path, precision="bf16"))
    fit(Looking(), Points(1), Training(epochs=1), engine(tmp_path))
    assert seen == [torch.bfloat16, torch.float32]


def test_learner_says_what_it_lacks():
    with pytest.raises(TypeError, match="Learner has no forward"):
        Learner()(None)
    with pytest.raises(TypeError, match="Learner has no score"):
        Learner().score()
