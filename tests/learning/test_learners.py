"""What a student is shown: attacks on itself, other sizes, more of some; what stays untouched."""

from __future__ import annotations

import contextlib
import copy
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from end_to_end import TINY, artifacts, done, write_recipe
from given_model import Given
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from augcompress.batch import Batch, Progress
from augcompress.datasets import Batches
from augcompress.errors import AugcompressError, UsageError
from augcompress.learning.fitting import batches_for, engine_for, train
from augcompress.learning.resolution import share_at, shrunk
from augcompress.learning.student import StudentLearner, TrainingSetup
from augcompress.measures import quality
from augcompress.networks import NetworkTeacher, new_network
from augcompress.objectives import Hint, Labels
from augcompress.running.context import Context
from augcompress.scoring import predict, predict_with_network
from augcompress.scoring.scores import loss_of
from augcompress.spec import validate
from augcompress.spec.sections import Resolution
from augcompress.storage.run_directory import RunDir
from augcompress.training import (
    Constant,
    CosineRestarts,
    Ema,
    Engine,
    Freeze,
    Score,
    Sgd,
    Training,
    fit,
)
from augcompress.training.logs import TIMINGS
from augcompress.training.processes import Processes

SMALL_FIRST = [{"until": 0.4, "size": 0.5}, {"until": 0.8, "size": 0.75}]
RARE = {"class_balance": {"kind": "rare_strength"}}


def context_of(folder: Path, **augment) -> Context:
    recipe = {**copy.deepcopy(TINY), "augment": augment}
    return Context(validate(recipe), RunDir(folder))


def learner_of(context: Context, model=None, stage: str = "train_teacher") -> StudentLearner:
    network = new_network(context, model or context.spec.train_teacher.model, None, stage)
    return learner_for(context, network.module, stage=stage)


def learner_for(
    context: Context, network: nn.Module, teachers=(), stage: str = "train_teacher"
) -> StudentLearner:
    spec = context.spec
    augmentations, sampling = spec.augmentations(stage), spec.sampling(stage)
    setup = TrainingSetup(stage, (Labels(),), augmentations, teachers, sampling=sampling)
    return StudentLearner(network, setup, context, lambda network: Score(0.0))


def test_losses_of_inner_layers_alone_do_not_reach_the_head(tmp_path):
    """Which several processes must know before they wait for each other's gradients."""
    context = Context(validate(copy.deepcopy(TINY)), RunDir(tmp_path))
    network = new_network(context, context.spec.train_teacher.model, None, "distill").module
    inner = Hint(student_layer="body.blocks.0", teacher_layer="body.blocks.0")
    for objectives, reaches_all in (((inner,), False), ((inner, Labels()), True)):
        setup = TrainingSetup("distill", objectives, (), [NetworkTeacher(copy.deepcopy(network))])
        learner = StudentLearner(network, setup, context, lambda network: Score(0.0))
        assert learner.reaches_all is reaches_all
        sum(learner(first_batch(context)).values()).backward()
        reached = {n for n, p in learner.student.named_parameters() if p.grad is not None}
        assert (len(reached) == len(list(learner.student.parameters()))) is reaches_all
        learner.zero_grad()


def test_networks_whose_layers_are_read_are_not_compiled(tmp_path):
    context = Context(validate(copy.deepcopy(TINY)), RunDir(tmp_path))
    network = new_network(context, context.spec.train_teacher.model, None, "distill").module
    inner = Hint(student_layer="body.blocks.0", teacher_layer="body.blocks.0")
    setup = TrainingSetup("distill", (Labels(), inner), (), [NetworkTeacher(network)])
    learner = StudentLearner(network, setup, context, lambda network: Score(0.0))
    with pytest.raises(AugcompressError, match=r"distill\.training\.compile: objective hint reads"):
        learner.networks()


def first_batch(context: Context, size: int = 32) -> Batch:
    sampling = context.spec.sampling("train_teacher")
    return next(context.training_batches(size, sampling=sampling).epoch(0))


@pytest.fixture
def sizes(monkeypatch):
    """Height and width of every batch that a learner's network is shown."""
    seen = []

    def watch(learner: StudentLearner) -> list:
        learner.student.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[2:]))
        return seen

    return watch


def test_a_student_is_attacked_in_evaluation_mode_and_keeps_its_state(tmp_path):
    context = context_of(tmp_path, pipeline=[{"kind": "pgd", "epsilon": 0.1}])
    learner = learner_of(context).train()
    modes, marks = [], [torch.ones_like(p) for p in learner.student.parameters()]
    for parameter, mark in zip(learner.student.parameters(), marks, strict=True):
        parameter.grad = mark.clone()
    before = copy.deepcopy(learner.student.state_dict())
    learner.student.register_forward_pre_hook(lambda net, _: modes.append(net.training))
    with torch.no_grad():
        seen = learner.augmented(first_batch(context).scaled())
    assert modes == [False] * 9
    assert all(module.training for module in learner.student.modules())
    for name, value in learner.student.state_dict().items():
        assert torch.equal(value, before[name])
    for parameter, mark in zip(learner.student.parameters(), marks, strict=True):
        assert torch.equal(parameter.grad, mark)
    clean = first_batch(context).scaled()
    assert 0.05 < (seen.images() - clean.images()).abs().max() <= 0.1 + 2e-7
    with torch.no_grad():
        assert (learner.loss(seen) >= learner.loss(clean)).all()


def test_modes_are_put_back_one_by_one(tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10))
    network[1].eval()
    batch = Batch(torch.rand(4, 1, 8, 8), torch.eye(10)[:4], torch.arange(4))
    assert loss_of(network, lambda batch: batch)(batch).shape == (4,)
    assert [module.training for module in network] == [True, False, True]


def test_without_labels_the_networks_own_answers_are_attacked():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    batch = Batch(torch.rand(5, 1, 2, 2), None, torch.arange(5))
    logits = network(batch.images())
    expected = nn.functional.cross_entropy(logits, logits.argmax(1), reduction="none")
    torch.testing.assert_close(loss_of(network, lambda batch: batch)(batch), expected)


def test_mixed_precision_does_not_reach_the_attack(tmp_path):
    context = context_of(tmp_path, pipeline=[{"kind": "pgd", "epsilon": 0.1}])
    learner, batch = learner_of(context), first_batch(context)
    types = []
    learner.student.register_forward_hook(lambda net, given, out: types.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        losses = learner(batch)
    assert types == [torch.float32] * 9 + [torch.bfloat16]
    assert torch.isfinite(losses["labels"])


def test_shares_follow_the_finished_epochs():
    steps = [Resolution(**one) for one in SMALL_FIRST]
    assert [share_at(steps, done) for done in (0, 0.39, 0.4, 0.79, 0.8, 1)] == [
        0.5, 0.5, 0.75, 0.75, 1, 1,
    ]  # fmt: skip
    assert share_at((), 0) == 1


def test_shrinking_averages_and_keeps_the_range():
    images = torch.rand(3, 1, 8, 6)
    small = shrunk(images, 0.5)
    assert small.shape == (3, 1, 4, 3)
    assert small.mean() == pytest.approx(float(images.mean()), abs=0.02)
    stripes = torch.arange(16.0).remainder(2).expand(1, 1, 16, 16)
    assert (shrunk(stripes, 0.25) - 0.5).abs().max() < 0.1  # antialiased: grey, not 0 or 1
    assert shrunk(images, 1) is images
    assert shrunk(images, 0.01).shape == (3, 1, 1, 1)


@pytest.mark.parametrize("done, size", [(0.0, (4, 4)), (0.5, (6, 6)), (0.9, (8, 8))])
def test_student_and_teacher_are_shown_the_size_of_the_day(done, size, tmp_path, sizes):
    context = context_of(tmp_path, sampling={"resolution": SMALL_FIRST})
    teacher = new_network(context, context.spec.train_teacher.model, None, "train_teacher").module
    student = copy.deepcopy(teacher)
    learner = learner_for(context, student, (NetworkTeacher(teacher),))
    shown = []
    teacher.register_forward_pre_hook(lambda _, given: shown.append(given[0].shape[2:]))
    seen = sizes(learner)
    learner.on_progress(Progress(epochs_done=done))
    learner(first_batch(context))
    assert [*seen, *shown] == [size, size]


def test_attacks_are_aimed_at_the_size_that_is_learned(tmp_path, sizes):
    attack = {"kind": "fgsm", "epsilon": 0.1}
    context = context_of(tmp_path, pipeline=[attack], sampling={"resolution": SMALL_FIRST})
    learner = learner_of(context)
    seen = sizes(learner)
    learner.on_progress(Progress(epochs_done=0.0))
    learner(first_batch(context))
    assert seen == [(4, 4)] * 3


class Rigid(nn.Sequential):
    """Takes 8x8 only."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 10))


def test_a_network_that_cannot_take_a_size_is_refused(tmp_path):
    context = context_of(tmp_path, sampling={"resolution": SMALL_FIRST})
    where = (
        r"^train_teacher\.sampling\.resolution\.0\.size: the network cannot take images of 4 x 4"
    )
    with pytest.raises(AugcompressError, match=where):
        learner_for(context, Rigid())


def test_rare_classes_are_augmented_more_often(tmp_path):
    flip = {"kind": "horizontal_flip", "probability": 0.2}
    recipe = {**copy.deepcopy(TINY), "augment": {"pipeline": [flip], "sampling": RARE}}
    recipe["data"] = {"kind": "digits", "keep": {"8": 0.1}}
    context = Context(validate(recipe), RunDir(tmp_path))
    learner = learner_of(context)
    assert learner.emphasis[8] == pytest.approx(10**0.5, rel=0.1)
    assert learner.emphasis[:8].max() < 1.1
    plain = learner_of(context_of(tmp_path, pipeline=[flip]))
    assert plain.emphasis is None
    shares = []
    for label in (8, 0):
        batch = Batch(torch.rand(4000, 1, 8, 8), torch.eye(10)[[label] * 4000], torch.arange(4000))
        flipped = (learner.augmented(batch).images() != batch.images()).flatten(1).any(1)
        shares.append(float(flipped.float().mean()))
    assert shares == pytest.approx([0.2 * float(learner.emphasis[i]) for i in (8, 0)], abs=0.03)


def test_repeats_of_an_image_are_augmented_each_for_itself(tmp_path):
    affine = {"kind": "affine", "degrees": 30}
    context = context_of(tmp_path, pipeline=[affine], sampling={"repeat": 4})
    seen = learner_of(context).augmented(first_batch(context).scaled())
    groups = seen.images().flatten(1).view(8, 4, -1)
    assert len(seen) == 32
    assert all(len(group.unique(dim=0)) == 4 for group in groups)
    once = context_of(tmp_path, pipeline=[affine])
    alone = learner_of(once).augmented(first_batch(once, 8).scaled())
    assert torch.equal(alone.index, seen.index[::4])
    torch.testing.assert_close(alone.images(), seen.images()[::4])


def test_a_process_with_one_image_cannot_mix(tmp_path):
    context = context_of(tmp_path, pipeline=[{"kind": "mixup"}])
    context.processes = Processes(rank=0, world=4)
    setup = TrainingSetup("distill", (Labels(),), context.spec.augmentations("distill"))
    with pytest.raises(AugcompressError, match="leaves mixup no second image in each of 4"):
        batches_for(context, setup, Training(batch_size=4))


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"distill": {"student": {"kind": "small_cnn"}, "training": {"batch_size": 1},
                         "augment": [{"kind": "mixup"}]}},
            "distill.training.batch_size: 1 leaves mixup no second image to mix with",
        ),
        (
            {"augment": {"sampling": {"repeat": 3}}},
            "train_teacher.training.batch_size: 32 is no multiple of sampling.repeat 3",
        ),
        (
            {"augment": {"sampling": {"resolution": [{"until": 0.5, "size": 0.5},
                                                     {"until": 0.3, "size": 0.7}]}}},
            "augment.sampling.resolution: until 0.3 does not come after 0.5",
        ),
        (
            {"augment": {"sampling": {"resolution": [{"until": 0.5, "size": 2}]}}},
            "size: 2 is too large; give at most 1",
        ),
        (
            {"augment": {"sampling": {"class_balance": {"kind": "balance"}}}},
            "augment.sampling.class_balance.kind: unknown 'balance'; did you mean balanced",
        ),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(change, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        validate({**copy.deepcopy(TINY), **change})


def test_a_stage_can_have_its_own_sampling():
    recipe = copy.deepcopy(TINY)
    recipe["augment"] = {"sampling": {"repeat": 2}}
    recipe["distill"]["sampling"] = {"class_balance": {"kind": "balanced"}}
    spec = validate(recipe)
    assert spec.sampling("train_teacher").repeat == 2
    assert (spec.sampling("distill").repeat, spec.sampling("distill").class_balance.kind) == (
        1, "balanced",
    )  # fmt: skip


def everything(recipe):
    """All that hangs on epochs and on the network in training."""
    recipe["data"]["keep"] = {"8": 0.2}
    recipe["augment"] = {
        "pipeline": [
            {"kind": "affine", "degrees": 20, "ramp": {"end": 0.8}},
            {"kind": "pgd", "epsilon": 0.05, "steps": 2, "probability": 0.5},
        ],
        "sampling": {
            "class_balance": {"kind": "label_shuffle"},
            "repeat": 2,
            "resolution": [{"until": 0.4, "size": 0.5}],
        },
    }
    recipe["pipeline"] = ["distill"]
    recipe["distill"] |= {"objectives": [{"kind": "labels"}]}


def test_a_sampled_attacked_and_ramped_training_repeats(place):
    write_recipe(place, everything)
    done("run", "-r", "tiny.yaml")
    first = artifacts(place / "runs/tiny")
    done("run", "-r", "tiny.yaml", "--force")
    assert artifacts(place / "runs/tiny") == first
    log = (place / "runs/tiny/distill/log.jsonl").read_text()
    assert log.count("\n") == 6


class Interrupted(Exception):
    """The end of a process."""


@dataclass
class Fragile:
    """Batches that end a process after some steps."""

    batches: Batches
    steps: int

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start_step: int = 0):
        for batch in self.batches.epoch(epoch, start_step):
            if self.steps == 0:
                raise Interrupted
            self.steps -= 1
            yield batch


def fitted(folder: Path, state: Path, steps: int) -> dict[str, torch.Tensor]:
    """Weights after training, in as many processes as it takes with so many steps each."""
    recipe = copy.deepcopy(TINY)
    everything(recipe)
    context, training = Context(validate(recipe), RunDir(folder)), Training(epochs=3, batch_size=32)
    state.mkdir()
    engine = Engine(torch.device("cpu"), state=state, save_every_s=0)
    while True:
        learner = learner_of(context, context.spec.distill.student, "distill")
        try:
            fit(learner, Fragile(batches_for(context, learner.setup, training), steps), training,
                engine)  # fmt: skip
        except Interrupted:
            continue
        return learner.student.state_dict()


def test_a_training_that_is_interrupted_inside_epochs_ends_the_same(tmp_path):
    whole = fitted(tmp_path, tmp_path / "whole", 10**6)
    parts = fitted(tmp_path, tmp_path / "parts", 11)
    for name, value in whole.items():
        assert torch.equal(parts[name], value)


def mixed(folder: Path, state: Path, steps: int) -> tuple[dict, dict]:
    """A training with mixup, averaged weights, warm restarts and pieces, whose first process ends
    after some steps: the resume state at the end, and the log without its timings."""
    recipe = copy.deepcopy(TINY)
    recipe["augment"] = {"pipeline": [{"kind": "mixup", "alpha": 0.4}]}
    training = Training(
        epochs=3,
        batch_size=32,
        accumulation=2,
        ema=Ema(decay=0.9),
        schedule=CosineRestarts(cycle=1),
    )
    context = Context(validate(recipe), RunDir(folder))
    state.mkdir()
    engine = Engine(torch.device("cpu"), state=state, log=state / "log.jsonl", save_every_s=0)
    for limit in (steps, 10**6):
        learner = learner_of(context)
        batches = Fragile(batches_for(context, learner.setup, training), limit)
        with contextlib.suppress(Interrupted):
            fit(learner, batches, training, engine)
    lines = [json.loads(line) for line in (state / "log.jsonl").read_text().splitlines()]
    told = [{k: v for k, v in line.items() if k not in TIMINGS} for line in lines]
    return torch.load(state / "fit.pt", weights_only=True), {"lines": told}


@pytest.fixture(scope="module")
def undisturbed_mixed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    return mixed(folder, folder / "state", 10**6)


@given(steps=st.integers(1, 23))
@settings(max_examples=6, deadline=None)
def test_mixup_averages_restarts_and_pieces_resume_to_the_bit(
    steps, undisturbed_mixed, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("mixed")
    wanted, log = undisturbed_mixed
    found, log_again = mixed(folder, folder / "state", steps)
    assert log_again == log
    for part in (("learner",), ("average", "average"), ("best_state",)):
        ours, theirs = wanted, found
        for key in part:
            ours, theirs = ours[key], theirs[key]
        assert all(torch.equal(theirs[name], ours[name]) for name in ours)
    momentum, again = (one["update"]["optimizer"]["state"] for one in (wanted, found))
    for key, values in momentum.items():
        assert torch.equal(again[key]["momentum_buffer"], values["momentum_buffer"])


def test_the_epoch_is_chosen_by_the_measure_that_the_recipe_names(tmp_path):
    recipe = {**copy.deepcopy(TINY), "augment": {"pipeline": []}}
    context = Context(validate(recipe), RunDir(tmp_path))
    network = new_network(context, context.spec.train_teacher.model, None, "train_teacher")
    settings = {"epochs": 5, "optimizer": Sgd(lr=1.0), "schedule": Constant()}  # up and down
    training = Training(batch_size=32, select_by="nll", precision="fp32", **settings)
    setup = TrainingSetup("train_teacher", (Labels(),), ())
    notes = train(context, network, setup, training, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    values = [line["validation_nll"] for line in lines]
    best = min(values)
    assert values[-1] != best
    chosen = values.index(best) + 1
    assert notes[0].startswith(f"best epoch {chosen} of 5 (nll on validation)")
    found = predict(predict_with_network(network.module, context), context, "validation")
    row = next(row for row in quality(found, subject=None) if row.name == "nll")
    assert row.value == pytest.approx(best, rel=1e-5)


class HeadFirst(nn.Module):
    """Registered from output to input, with a layer that nothing reads."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(8, classes)
        self.spare = nn.Conv2d(1, 3, 1)
        self.first = nn.Conv2d(1, 8, 3)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, images):
        return self.fc(self.norm(self.first(images)).relu().mean((2, 3)))


class TwoHeads(HeadFirst):
    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.other = nn.Linear(8, classes)

    def forward(self, images):
        features = self.norm(self.first(images)).relu().mean((2, 3))
        return self.fc(features) + self.other(features.square())


class Own(HeadFirst):
    """The network itself holds the weights of the head, and a token of the features."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        del self.fc
        self.token = nn.Parameter(torch.full((1, 8), 0.1))
        self.matrix = nn.Parameter(torch.rand(8, classes))

    def forward(self, images):
        features = self.norm(self.first(images)).relu().mean((2, 3))
        return (features + self.token) @ self.matrix


@pytest.mark.parametrize(
    "network, head",
    [
        (HeadFirst, {"fc.weight", "fc.bias"}),
        (TwoHeads, {"fc.weight", "fc.bias", "other.weight", "other.bias"}),
        (Own, {"matrix"}),
    ],
)
@pytest.mark.parametrize("how", [{"freeze": Freeze(epochs=None)}, {"backbone_lr_scale": 1e-300}])
def test_only_the_head_learns_wherever_it_stands(network, head, how, tmp_path):
    context = context_of(tmp_path)
    learner = learner_of(context, Given(network))
    training = Training(epochs=1, batch_size=32, optimizer=Sgd(lr=0.1, weight_decay=0), **how)
    before = {name: one.clone() for name, one in learner.student.body.named_parameters()}
    fit(learner, context.training_batches(32), training)
    after = dict(learner.student.body.named_parameters())
    assert {name for name in before if not torch.equal(before[name], after[name])} == head


@pytest.mark.parametrize("asked", [True, False])
def test_events_of_tensorboard_lie_in_the_stages_folder(tmp_path, asked):
    engine = engine_for(context_of(tmp_path), "distill", Training(tensorboard=asked), tmp_path)
    assert engine.events == (tmp_path / "events" if asked else None)
    assert (engine.state, engine.log) == (tmp_path / "state", tmp_path / "log.jsonl")
