"""The shrink loop: what a prepared network is asked while it is trained, round by round."""

from __future__ import annotations

import copy
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from end_to_end import TINY, training

import augcompress
from augcompress.batch import Progress
from augcompress.compressions import Channels, Magnitude, Prepared, StaticInt8, magnitude
from augcompress.compressions.magnitude import Masked, smallest
from augcompress.errors import LimitError, UsageError
from augcompress.graphs import is_quantized
from augcompress.learning import fitting, shrinking
from augcompress.learning import probe as probing
from augcompress.networks import load_network
from augcompress.running.context import Context
from augcompress.spec import validate
from augcompress.storage.run_directory import RunDir
from augcompress.training import Score

run = partial(augcompress.run, allow_chance=True)  # an epoch on a few images will do


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
        spy = Spy(prepared.network, prepared.masks, prepared.round)
        spy.seen = seen
        return spy

    monkeypatch.setattr(Magnitude, "prepare", watched)
    return seen


def recipe(*steps: dict, then: tuple[str, ...] = (), **changes) -> dict[str, Any]:
    """A teacher, these steps under `prune`, and the stages `then`."""
    raw = copy.deepcopy(TINY) | {"pipeline": ["train_teacher", "prune", *then]}
    raw["train_teacher"]["training"] = training(1)
    tuning = training(2) | {"optimizer": {"kind": "sgd", "lr": 0.1, "weight_decay": 0}}
    raw["prune"] = {"steps": list(steps), "training": tuning, **changes}
    return raw


def pruned(folder: Path, *steps: dict, **changes) -> Path:
    """The folder of `prune` after these steps."""
    run(validate(recipe(*steps, **changes)), folder / "run")  # the store lies beside it
    return folder / "run" / "prune"


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


def test_no_epoch_before_a_schedule_has_ended_is_the_best(tmp_path, monkeypatch):
    class Rising(Masked):
        settled = False

        def on_progress(self, progress: Progress) -> None:
            self.settled = progress.epoch > 0

    def prepare(self, network, probe, *, round=0):
        head = torch.ones_like(network.body.linear.weight, dtype=torch.bool)
        return Rising(copy.deepcopy(network), {"body.linear": head})

    def falling(*_):
        scores = iter([0.9, 0.1])
        return lambda network: Score(next(scores))

    best: list[int] = []
    monkeypatch.setattr(Magnitude, "prepare", prepare)
    monkeypatch.setattr(fitting, "scorer", falling)
    monkeypatch.setattr(shrinking, "how_it_went", lambda result, *_: best.append(result.best_epoch))
    pruned(tmp_path, {"kind": "magnitude", "layers": {"include": ["Linear"]}})
    assert best == [2]


def test_what_needs_calibration_sees_training_images_and_is_not_trained(tmp_path, monkeypatch):
    shown: list[torch.Tensor] = []

    def prepare(self, network, probe, *, round=0):
        prepared = Prepared(copy.deepcopy(network), {"layers": {}, "round": 0})
        prepared.needs = "calibration"
        prepared.network.register_forward_pre_hook(lambda _, given: shown.append(given[0]))
        return prepared

    monkeypatch.setattr(Magnitude, "prepare", prepare)
    monkeypatch.setattr(Magnitude, "check", lambda *_: [])
    folder = pruned(tmp_path, {"kind": "magnitude"})
    assert not (folder / "log.jsonl").exists()
    assert images_in(torch.cat(shown).numpy()) <= training_images(tmp_path)
    assert sum(map(len, shown)) == 256  # whole batches of the 300 images


def images_in(images: np.ndarray) -> set[bytes]:
    return {image.astype(np.float32).tobytes() for image in images}


def training_images(folder: Path) -> set[bytes]:
    data = Context(validate(recipe({"kind": "magnitude"})), RunDir(folder)).data
    return images_in(data.train.fetch(np.arange(len(data.train))).numpy() / np.float32(255))


def test_graph_steps_are_calibrated_on_training_images(tmp_path, monkeypatch):
    seen: set[bytes] = set()
    pack = StaticInt8.pack

    def watched(self, graph, notes, probe):
        for images in probe.calibration():
            seen.update(images_in(images))
        assert probe.score(graph) > 0
        return pack(self, graph, notes, probe)

    monkeypatch.setattr(StaticInt8, "pack", watched)
    run(
        validate(recipe({"kind": "magnitude"}, then=("quantize",), training=None)), tmp_path / "run"
    )
    assert len(seen) > 200
    assert seen <= training_images(tmp_path)


def test_quantize_checks_the_reopened_file(tmp_path, monkeypatch):
    monkeypatch.setattr(StaticInt8, "pack", lambda self, graph, notes, probe: (graph, {}))
    raw = recipe({"kind": "magnitude"}, then=("quantize",), training=None)
    with pytest.raises(LimitError, match=r"static_int8: .* keeps float weights"):
        run(validate(raw), tmp_path / "run")


def test_network_steps_are_held_to_their_promise_in_int8_files(tmp_path, monkeypatch):
    asked: list[bool] = []
    check_file = Magnitude.check_file

    def watched(self, graph, history):
        asked.append(is_quantized(graph))
        with pytest.raises(LimitError, match="stored weights are zero"):  # it counts in int8, too
            check_file(self.model_copy(update={"sparsity": 0.9}), graph, history)
        return check_file(self, graph, history)

    monkeypatch.setattr(Magnitude, "check_file", watched)
    step = {"kind": "magnitude", "sparsity": 0.5, "layers": {"include": ["Conv2d"]}}
    run(validate(recipe(step, then=("quantize", "export"), training=None)), tmp_path / "run")
    assert asked == [True, True]  # by quantize and by export


def test_sparsity_is_checked_against_the_recipe(tmp_path, monkeypatch):
    monkeypatch.setattr(magnitude, "smallest", lambda weights, share: smallest(weights, share / 2))
    with pytest.raises(LimitError, match=r"306 of 1224 weights are zero, 612 were promised"):
        pruned(tmp_path, {"kind": "magnitude", "layers": {"include": ["Conv2d"]}}, training=None)


def test_targets_count_from_the_original_network_also_when_rounds_are_read_back(
    tmp_path, monkeypatch
):
    step = {"kind": "channels", "macs": 0.5, "round_to": 2, "rounds": 2}
    prepare = Channels.prepare

    def stopped(self, network, probe, *, round=0):
        if round == 1:
            raise KeyboardInterrupt("between rounds")
        return prepare(self, network, probe, round=round)

    with monkeypatch.context() as patched:
        patched.setattr(Channels, "prepare", stopped)
        with pytest.raises(KeyboardInterrupt, match="between rounds"):
            pruned(tmp_path, step, training=None)
    network = load_network(pruned(tmp_path, step, training=None) / "model.safetensors")
    first, second = (applied.history for applied in network.compressions)
    assert first["original_macs"] == second["original_macs"]
    assert first["macs"] <= 0.75 * first["original_macs"]
    assert second["macs"] <= 0.5 * first["original_macs"] < first["macs"]


def test_a_step_may_end_early_with_an_earlier_state(tmp_path, monkeypatch):
    scores: list[float] = []

    def stop_after(self, done, score):
        scores[:] = [score(each) for each in range(done + 1)]
        return 1 if done == 2 else None

    monkeypatch.setattr(Magnitude, "stop_after", stop_after)
    step = {"kind": "magnitude", "sparsity": 0.8, "rounds": 3}
    network = load_network(pruned(tmp_path, step, training=None) / "model.safetensors")
    assert [applied.history["round"] for applied in network.compressions] == [0]
    assert len(scores) == 3
    assert all(0 <= score <= 1 for score in scores)


def test_the_probe_has_the_stages_own_loss_and_all_costs(tmp_path, monkeypatch):
    found: dict[str, Any] = {}
    prepare = Magnitude.prepare

    def asking(self, network, probe, *, round=0):
        batch = next(probe.batches())
        network.zero_grad()
        found["random"] = torch.get_rng_state()
        found["loss"] = float(probe.loss(network, batch).detach())
        other = copy.deepcopy(network)
        for weight in other.parameters():
            weight.data += 0.1
        several = (network, network, other, network)
        found["again"] = [float(probe.loss(one, batch).detach()) for one in several]
        found["unmoved"] = torch.equal(found["random"], torch.get_rng_state())
        names = ("macs", "parameters", "bytes", "latency_ms")
        found["costs"] = {name: probe.cost(network, name) for name in names}
        found["original"] = {name: probe.original(name) for name in names[:3]}
        return prepare(self, network, probe, round=round)

    monkeypatch.setattr(Magnitude, "prepare", asking)
    monkeypatch.setattr(probing, "CALLS", 2)
    follow = [{"kind": "soft_targets", "weight": 100}]  # of the network itself: no divergence
    raw = recipe({"kind": "magnitude"}, objectives=follow, teacher="original")
    raw["augment"] = {"pipeline": []}
    run(validate(raw), tmp_path / "run")
    assert found["loss"] == pytest.approx(0, abs=1e-3)
    first, second, moved, last = found["again"]
    assert first == second == last == found["loss"] != moved
    assert found["unmoved"]
    costs = found["costs"]
    assert costs["parameters"] < costs["bytes"] / 4
    assert costs["latency_ms"] > 0
    assert found["original"] == {name: costs[name] for name in found["original"]}


@pytest.mark.parametrize(
    "stage, steps, message",
    [
        (
            "quantize",
            ["static_int8", "magnitude"],
            r"quantize\.steps\.1: magnitude works on the net",
        ),
        ("prune", ["magnitude", "static_int8"], r"prune\.steps\.1: static_int8 works on"),
    ],
)
def test_steps_in_an_impossible_order_are_refused_when_the_recipe_is_read(stage, steps, message):
    raw = recipe({"kind": "magnitude"}, then=("quantize",))
    raw[stage]["steps"] = [{"kind": kind} for kind in steps]
    with pytest.raises(UsageError, match=message):
        validate(raw)


def test_quantize_trains_a_network_first_and_export_finds_it(tmp_path):
    raw = recipe({"kind": "channels", "macs": 0.8}, then=("quantize", "export"), training=None)
    raw["quantize"] |= {
        "steps": [{"kind": "magnitude", "sparsity": 0.5}, {"kind": "static_int8"}],
        "training": training(1),
    }
    result = run(validate(raw), tmp_path / "run")
    assert (tmp_path / "run" / "quantize" / "model.safetensors").is_file()
    rows = {row.name: row.value for row in result.stages[-2].measurements}
    assert rows["sparsity"] >= 0.5
    assert rows["int8_kernels"] == 1
    nonzero = [r for r in result.stages[-1].measurements if r.name == "nonzero_parameters"]
    float_row = next(row for row in nonzero if row.conditions["role"] == "float")
    assert float_row.value < 0.6 * next(
        row.value
        for row in result.stages[-1].measurements
        if row.name == "parameters" and row.conditions["role"] == "float"
    )
