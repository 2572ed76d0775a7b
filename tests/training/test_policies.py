"""What `training` can ask of the loop: averages, pieces, early stopping, frozen layers, norms."""

from __future__ import annotations

import json
import math
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from augcompress.batch import Batch
from augcompress.errors import AugcompressError
from augcompress.system.reporter import SilentReporter
from augcompress.training import (
    AdamW,
    Constant,
    Cosine,
    EarlyStopping,
    Ema,
    Engine,
    Freeze,
    Learner,
    Score,
    Sgd,
    Training,
    fit,
    of_another_length,
    parameter_groups,
)
from augcompress.training.logs import scalars
from augcompress.training.updating import is_out_of_memory

CPU = torch.device("cpu")
PLAIN = Sgd(lr=0.1, momentum=0, weight_decay=0)


class Deep(Learner):
    """Four layers and a head; remembers what learned in each epoch and what was scored."""

    def __init__(self, scores=(), norm=False):
        super().__init__()
        torch.manual_seed(0)
        first = nn.BatchNorm1d(4) if norm else nn.Linear(4, 4)
        self.network = nn.Sequential(
            nn.Linear(4, 4), first, nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        )
        self.scores, self.learning, self.rates, self.scored = list(scores), [], [], []

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.network(batch.images())
        return {"labels": nn.functional.cross_entropy(logits, batch.targets)}

    def backbone(self):
        return tuple(self.network[:-1])

    def score(self) -> Score:
        self.scored.append([p.detach().clone() for p in self.network.parameters()])
        return Score(self.scores.pop(0) if self.scores else 0.5, n=100)

    def after_step(self):
        self.learning.append([layer.weight.requires_grad for layer in self.network])


class Points:
    """`steps` batches an epoch."""

    def __init__(self, steps=2, size=8):
        self.steps, self.size = steps, size

    def __len__(self):
        return self.steps

    def epoch(self, epoch, start_step=0):
        for step in range(start_step, self.steps):
            random = torch.Generator().manual_seed(100 * epoch + step)
            inputs = torch.randn(self.size, 4, generator=random)
            targets = nn.functional.one_hot((inputs.sum(1) > 0).long(), 2).float()
            yield Batch(inputs, targets, torch.arange(self.size))


class Messages(SilentReporter):
    def __init__(self):
        self.told = []

    def message(self, text):
        self.told.append(text)


def weights(learner):
    return torch.cat([p.detach().flatten() for p in learner.network.parameters()])


def trained(training, learner=None, batches=None, **engine):
    learner = learner or Deep()
    result = fit(learner, batches or Points(), training, Engine(CPU, where="distill", **engine))
    return learner, result


@pytest.mark.parametrize("pieces", [2, 4, 8])
def test_accumulated_gradient_is_that_of_the_whole_batch(pieces):
    own = {"epochs": 2, "batch_size": 8, "optimizer": PLAIN}
    whole, _ = trained(Training(**own))
    parts, _ = trained(Training(**own, accumulation=pieces))
    assert torch.allclose(weights(parts), weights(whole), atol=1e-6)
    assert not torch.allclose(weights(whole), weights(Deep()), atol=1e-3)


def test_accumulated_losses_are_logged_as_means(tmp_path):
    for pieces in (1, 4):
        log = tmp_path / f"{pieces}.jsonl"
        trained(Training(epochs=1, batch_size=8, accumulation=pieces, optimizer=PLAIN), log=log)
    one, four = (json.loads((tmp_path / f"{n}.jsonl").read_text()) for n in (1, 4))
    assert four["losses"]["labels"] == pytest.approx(one["losses"]["labels"], rel=1e-5)


def test_pieces_of_unequal_size_weigh_by_their_samples():
    own = {"epochs": 1, "optimizer": PLAIN}
    whole, _ = trained(Training(**own), batches=Points(size=7))
    parts, _ = trained(Training(**own, batch_size=128, accumulation=2), batches=Points(size=7))
    assert torch.allclose(weights(parts), weights(whole), atol=1e-6)


class Cramped(Deep):
    """Memory for `room` samples."""

    def __init__(self, room):
        super().__init__()
        self.room, self.sizes = room, []

    def forward(self, batch):
        self.sizes.append(len(batch))
        if len(batch) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore")
        return super().forward(batch)


def test_batch_auto_halves_until_memory_suffices_and_says_so():
    own = {"epochs": 2, "batch_size": 8, "optimizer": PLAIN}
    reporter = Messages()
    learner, result = trained(Training(**own, batch="auto"), Cramped(2), reporter=reporter)
    assert learner.sizes == [8, 4, *[2] * 16]
    assert result.pieces == 4
    assert reporter.told == [
        "distill: out of memory with 8 samples at a time; going on with 4, 2 times a step",
        "distill: out of memory with 4 samples at a time; going on with 2, 4 times a step",
    ]
    assert torch.allclose(weights(learner), weights(trained(Training(**own))[0]), atol=1e-6)


@pytest.mark.parametrize(
    "batch, room, message",
    [
        ("whole", 4, r"out of memory with 8 .*\(CUDA out of memory.*\); set training\.batch: auto"),
        ("auto", 0, r"out of memory with 2 samples at a time .* lower training\.batch_size"),
    ],
)
def test_memory_that_does_not_suffice_is_an_error(batch, room, message):
    with pytest.raises(AugcompressError, match=message):
        trained(Training(epochs=1, batch_size=8, batch=batch), Cramped(room))


def test_memory_of_the_host_runs_out_with_its_own_words():
    with pytest.raises(RuntimeError, match="memory") as caught:
        torch.empty(2**62, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_other_errors_are_not_taken_for_lack_of_memory():
    class Wrong(Deep):
        def forward(self, batch):
            return {"labels": self.network(batch.images()[:, :3]).sum()}

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        trained(Training(epochs=1, batch="auto"), Wrong())


def test_average_by_hand():
    learner, _ = trained(
        Training(epochs=1, optimizer=PLAIN, schedule=Constant(), ema=Ema(decay=0.5))
    )
    start, plain = weights(Deep()), Deep()
    averages = start
    steps = []
    for batch in Points().epoch(0):
        plain.zero_grad()
        plain(batch)["labels"].backward()
        with torch.no_grad():
            for parameter in plain.parameters():
                parameter -= 0.1 * parameter.grad
        steps.append(weights(plain))
    for number, step in enumerate(steps, start=1):
        kept = min(0.5, (1 + number) / (10 + number))
        averages = kept * averages + (1 - kept) * step
    scored = [torch.cat([p.flatten() for p in one]) for one in learner.scored]
    assert torch.allclose(scored[0], steps[-1], atol=1e-6)
    assert torch.allclose(scored[1], averages, atol=1e-6)


@pytest.mark.parametrize("scores, averaged", [((0.6, 0.7), True), ((0.7, 0.6), False)])
def test_the_better_of_weights_and_average_is_the_result(scores, averaged, tmp_path):
    training = Training(epochs=1, optimizer=PLAIN, ema=Ema())
    learner, result = trained(training, Deep(scores), log=tmp_path / "log.jsonl")
    assert (result.averaged, result.best_score) == (averaged, 0.7)
    wanted = torch.cat([p.flatten() for p in learner.scored[int(averaged)]])
    assert torch.equal(weights(learner), wanted)
    line = json.loads((tmp_path / "log.jsonl").read_text())
    assert (line["validation_top1"], line["validation_top1_ema"]) == scores


def test_average_takes_in_running_statistics():
    learner, _ = trained(
        Training(epochs=3, optimizer=PLAIN, ema=Ema(decay=0.9)),
        Deep((0.1, 0.9, 0.1, 0.1, 0.1, 0.1), norm=True),
    )
    norm = learner.network[1]
    assert norm.num_batches_tracked == 2
    assert float(norm.running_mean.abs().sum()) > 0


def test_early_stopping_waits_for_patience():
    scores = [0.5, 0.6, 0.6, 0.59, 0.7, 0.7, 0.7, 0.7, 0.9]
    training = Training(epochs=9, early_stopping=EarlyStopping(patience=3))
    learner, result = trained(training, Deep(scores))
    assert (result.epochs, result.best_epoch, result.best_score) == (8, 5, 0.7)
    assert len(learner.scored) == 8


def test_early_stopping_counts_only_what_is_better_by_enough():
    scores = [0.5, 0.505, 0.509, 0.9]
    training = Training(epochs=4, early_stopping=EarlyStopping(patience=2, min_delta=0.01))
    _, result = trained(training, Deep(scores))
    assert (result.epochs, result.best_epoch) == (3, 3)


def test_backbone_thaws_from_the_top():
    training = Training(epochs=5, freeze=Freeze(epochs=2, steps=2), optimizer=PLAIN)
    learner, _ = trained(training)
    head_only, half, whole = [False] * 4 + [True], [False] * 2 + [True] * 3, [True] * 5
    assert learner.learning == [head_only] * 4 + [half] * 2 + [whole] * 4


def test_frozen_layers_keep_weights_and_statistics():
    training = Training(epochs=2, freeze=Freeze(epochs=None), optimizer=Sgd(lr=0.1))
    learner, _ = trained(training, Deep(norm=True))
    before, after = Deep(norm=True).state_dict(), learner.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"network.4.weight", "network.4.bias"}


def test_frozen_statistics_let_weights_learn():
    learner, _ = trained(Training(epochs=1, batch_norm="frozen"), Deep(norm=True))
    norm = learner.network[1]
    assert torch.equal(norm.running_mean, torch.zeros(4))
    assert not torch.equal(norm.weight, torch.ones(4))
    learner, _ = trained(Training(epochs=1), Deep(norm=True))
    assert not torch.equal(learner.network[1].running_mean, torch.zeros(4))


def test_backbone_learns_at_its_own_rate():
    own = {"epochs": 1, "optimizer": PLAIN, "schedule": Constant()}
    start = Deep()
    whole, _ = trained(Training(**own), batches=Points(1))
    tenth, _ = trained(Training(**own, backbone_lr_scale=0.1), batches=Points(1))
    for place, layer in enumerate(start.network):
        full = whole.network[place].weight - layer.weight
        small = tenth.network[place].weight - layer.weight
        assert torch.allclose(small, full * (1.0 if place == 4 else 0.1), atol=1e-6)


@pytest.mark.parametrize(
    "asked", [{"freeze": Freeze()}, {"backbone_lr_scale": 0.1}, {"batch_norm": "frozen"}]
)
def test_network_that_is_all_head(asked):
    class Flat(Deep):
        def backbone(self):
            return ()

    with pytest.raises(AugcompressError, match=rf"distill\.training\.{next(iter(asked))}: the net"):
        trained(Training(epochs=3, **asked), Flat())


def test_norms_are_limited_after_every_step():
    training = Training(epochs=2, optimizer=Sgd(lr=0.5), max_norm=0.3)
    learner, _ = trained(training)
    norms = [layer.weight.norm(dim=1) for layer in learner.network]
    assert all(bool((norm <= 0.3 + 1e-5).all()) for norm in norms)
    free, _ = trained(Training(epochs=2, optimizer=Sgd(lr=0.5)))
    assert max(float(layer.weight.detach().norm(dim=1).max()) for layer in free.network) > 0.4


def test_decay_is_chosen_by_dimension_and_by_name():
    network = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 2))

    def decayed(**how):
        groups = parameter_groups(network, 0.1, **how)
        chosen = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
        return {name for name, p in network.named_parameters() if id(p) in chosen}

    assert decayed() == {"0.weight", "2.weight"}
    assert decayed(decay="all") == {name for name, _ in network.named_parameters()}
    assert decayed(no_decay=["2.weight"]) == {"0.weight"}
    assert decayed(no_decay=["2.*"]) == {"0.weight"}
    assert decayed(no_decay=["weight"]) == set()
    with pytest.raises(AugcompressError, match=r"training\.no_decay: 'embedding' matches no"):
        decayed(no_decay=["embedding"])


def test_fp16_scales_the_loss_and_learns(tmp_path):
    training = Training(epochs=3, optimizer=Sgd(lr=0.2), precision="fp16")
    trained(training, precision="fp16", log=tmp_path / "log.jsonl")
    losses = [json.loads(row)["losses"]["labels"] for row in (tmp_path / "log.jsonl").open()]
    assert losses[-1] < losses[0]
    assert all(math.isfinite(value) for value in losses)


def test_events_of_tensorboard_hold_the_log(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator
    log, events = tmp_path / "log.jsonl", tmp_path / "events"
    trained(Training(epochs=3, ema=Ema()), log=log, events=events)
    lines = [json.loads(row) for row in log.read_text().splitlines()]
    found = accumulator(str(events))
    found.Reload()
    wanted = dict(scalars(lines[0]))
    assert set(found.Tags()["scalars"]) == set(wanted)
    assert {"loss/labels", "training/lr", "validation/top1", "validation/top1_ema"} <= set(wanted)
    for name in wanted:
        values = [one.value for one in found.Scalars(name)]
        assert values == pytest.approx([dict(scalars(line))[name] for line in lines], rel=1e-5)
        assert [one.step for one in found.Scalars(name)] == [1, 2, 3]


def test_events_without_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(AugcompressError, match=r"pip install 'augcompress\[tensorboard\]'"):
        trained(Training(epochs=1), events=tmp_path / "events")


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"accumulation": 3}, "accumulation: 3 does not divide batch_size 128"),
        ({"freeze": {"epochs": 8, "steps": 3}}, "freeze: all layers learn from epoch 11 on"),
        ({"schedule": {"kind": "cosine", "warmup": 10}}, "warmup: 10"),
        ({"optimizer": {"kind": "sgd", "lr": 0}}, "greater than 0"),
        ({"early_stopping": {"patience": 0}}, "greater than or equal to 1"),
        ({"epochs": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_cannot_work_are_refused_when_read(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Training(**wrong)


class Rough(Learner):
    """Batch norm, dropout: everything that has a state of its own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 2)
        )

    def forward(self, batch):
        logits = self.network(batch.images())
        return {"labels": nn.functional.cross_entropy(logits, batch.targets)}

    def backbone(self):
        return (self.network[0], self.network[1])

    def score(self):
        with torch.no_grad():
            return Score(
                float(-self.forward(next(Points(size=32).epoch(77)))["labels"]), name="nll"
            )


class Stopped(Exception):
    """Somebody pulled the plug."""


class Unplugged(Points):
    """The plug is pulled before the `at`-th batch."""

    def __init__(self, at):
        super().__init__(steps=3)
        self.left = at

    def epoch(self, epoch, start_step=0):
        for batch in super().epoch(epoch, start_step):
            if self.left == 0:
                raise Stopped
            self.left -= 1
            yield batch


EVERYTHING = {
    "epochs": 4,
    "batch_size": 8,
    "accumulation": 2,
    "ema": Ema(decay=0.9),
    "freeze": Freeze(epochs=1, steps=2),
    "backbone_lr_scale": 0.3,
    "max_norm": 1.0,
    "gradient_clip": 1.0,
    "early_stopping": EarlyStopping(patience=4),
}
SCHEDULES = [{"kind": "cosine_restarts", "cycle": 1}, {"kind": "one_cycle"}, {"kind": "cosine"}]


@pytest.mark.parametrize("optimizer", [Sgd(lr=0.2), AdamW(lr=0.05)], ids=lambda one: one.kind)
@given(
    at=st.integers(0, 11),
    schedule=st.sampled_from(SCHEDULES),
    save_every_s=st.sampled_from([-1.0, 60.0]),
)
@settings(max_examples=25, deadline=None)
def test_resumed_at_any_step_with_everything_on(
    optimizer, at, schedule, save_every_s, tmp_path_factory
):
    """Saved after each step, or at the end of epochs only: the same weights, average and log."""
    training = Training(optimizer=optimizer, schedule=schedule, **EVERYTHING)

    def outcome(folder, batches):
        learner = Rough()
        engine = Engine(CPU, state=folder, log=folder / "log.jsonl", save_every_s=save_every_s)
        result = fit(learner, batches, training, engine)
        lines = [json.loads(line) for line in engine.log.read_text().splitlines()]
        for line in lines:
            del line["seconds"], line["images_per_s"]
        state = torch.load(folder / "fit.pt", weights_only=True)
        return learner.state_dict(), state, lines, (result.best_epoch, result.averaged)

    whole, parts = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("parts")
    wanted = outcome(whole, Points(3))
    with pytest.raises(Stopped, match=r"^$"):
        outcome(parts, Unplugged(at))
    torch.rand(at + 1)  # the stream stands elsewhere in the new process
    found = outcome(parts, Points(3))
    assert found[2:] == wanted[2:]
    assert same(found[0], wanted[0])
    for part in ("learner", "update", "average", "best_state"):
        assert same(found[1][part], wanted[1][part]), part


def same(left, right):
    """Bit for bit."""
    if isinstance(left, Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def test_state_of_another_version_is_not_gone_on_from(tmp_path):
    torch.save({"version": 1, "counts": [5, 0, 1]}, tmp_path / "fit.pt")
    learner, _ = trained(Training(epochs=2, schedule=Cosine()), state=tmp_path)
    assert len(learner.scored) == 2


class Signalled(Points):
    """The process is told to stop while its `at`-th batch is on the way."""

    def __init__(self, at, number):
        super().__init__(steps=3)
        self.left, self.number = at, number

    def epoch(self, epoch, start_step=0):
        for batch in super().epoch(epoch, start_step):
            if self.left == 0:
                os.kill(os.getpid(), self.number)
            self.left -= 1
            yield batch


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("at, counts", [(1, [0, 2, -1, 0]), (2, [0, 3, -1, 0]), (4, [1, 2, 1, 1])])
def test_signal_ends_training_after_a_whole_step_and_its_state(number, at, counts, tmp_path):
    training = Training(epochs=3, optimizer=PLAIN)
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        trained(training, batches=Signalled(at, number), state=tmp_path)
    assert torch.load(tmp_path / "fit.pt", weights_only=True)["counts"] == counts
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before
    resumed, _ = trained(training, batches=Points(3), state=tmp_path)
    whole, _ = trained(training, batches=Points(3))
    assert torch.equal(weights(resumed), weights(whole))


def test_second_signal_ends_training_at_once(tmp_path):
    class Impatient(Deep):
        def forward(self, batch):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("still running")

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        trained(Training(epochs=1), Impatient(), state=tmp_path)
    assert not (tmp_path / "fit.pt").exists()


def test_training_outside_the_main_thread(tmp_path):
    """Python delivers signals to the main thread only; elsewhere none are taken over."""
    with ThreadPoolExecutor(1) as pool:
        _, result = pool.submit(trained, Training(epochs=1)).result()
    assert result.epochs == 1


@pytest.mark.parametrize(
    "training, wanted",
    [
        ({"epochs": 8, "batch_size": 16}, {"epochs": 2, "batch_size": 16}),
        ({}, {"epochs": 2}),
        (
            {"epochs": 8, "schedule": {"kind": "cosine", "warmup": 2}},
            {"epochs": 2, "schedule": {"kind": "cosine", "warmup": 0.25}},
        ),
        ({"epochs": 8, "freeze": {"epochs": 3}}, {"epochs": 2, "freeze": {"epochs": None}}),
        ({"epochs": 8, "freeze": {}}, {"epochs": 2, "freeze": {}}),
        ({"epochs": "many"}, {"epochs": "many"}),
    ],
)
def test_training_of_another_length(training, wanted):
    assert of_another_length(training, 2) == wanted
    if "many" not in str(training):
        assert Training(**of_another_length(training, 2)).epochs == 2


def test_what_was_frozen_may_learn_in_the_next_training():
    learner = Deep([0.9, 0.1, 0.1])
    training = Training(epochs=5, freeze=Freeze(epochs=4), early_stopping=EarlyStopping(patience=2))
    _, result = trained(training, learner)
    assert result.epochs == 3
    assert all(parameter.requires_grad for parameter in learner.parameters())
    learner.learning.clear()
    trained(Training(epochs=1), learner)
    assert learner.learning == [[True] * 5] * 2


def test_weights_spoilt_by_the_last_step_are_no_result():
    training = Training(epochs=1, optimizer=Sgd(lr=1e30, momentum=0), schedule=Constant())
    with pytest.raises(AugcompressError, match=r"^distill: weights are not finite after epoch 1"):
        trained(training, batches=Points(1))


def test_state_that_cannot_be_read_is_said_and_not_used(tmp_path):
    (tmp_path / "fit.pt").write_bytes(b"half a file")
    reporter = Messages()
    learner, _ = trained(Training(epochs=2), state=tmp_path, reporter=reporter)
    assert reporter.told == ["fit.pt: cannot be gone on from; the training begins anew"]
    assert len(learner.scored) == 2
