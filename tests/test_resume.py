"""Killed at any moment, the same command goes on to the result of an undisturbed run."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from end_to_end import (
    STAGES,
    artifacts,
    done,
    entries,
    files,
    invoke,
    measured,
    start,
    training,
    wait_for,
    write_recipe,
)
from torch import Tensor, nn

from augcompress.batch import Batch
from augcompress.errors import AugcompressError
from augcompress.storage import store as store_of_stages
from augcompress.storage.store import Store
from augcompress.training import Engine, Learner, Score, Training, fit, loop
from augcompress.training.logs import TIMINGS

RUN = Path("runs/tiny")
STATE = "state/fit.pt"
WHERE = {
    "augment": ".work-augment-*",
    "train_teacher": f".work-train_teacher-*/{STATE}",
    "distill": f".work-distill-*/{STATE}",
    "prune": ".work-prune-*/state/step-0-round-0/fit.pt",
    "prune between rounds": ".work-prune-*/state/step-0-round-0/model.json",
    "quantize": ".work-quantize-*",
    "export": ".work-export-*",
    "evaluate": ".work-evaluate-*",
}
"""What is there when a process is in the middle of a stage."""


def longer(recipe):
    """Enough epochs to be killed in, and two rounds of pruning."""
    recipe["train_teacher"]["training"] = training(30)
    recipe["distill"]["training"] = training(30)
    recipe["prune"] = {
        "steps": [{"kind": "channels", "macs": 0.6, "rounds": 2}],
        "training": training(15),
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder with a finished run of the longer recipe."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_recipe(folder, longer)
    with contextlib.chdir(folder):
        done("run", "-r", "tiny.yaml")
        done("evaluate", "-r", "tiny.yaml")
    return folder


@pytest.fixture
def before(undisturbed, place, request):
    """A working directory with everything done that comes before a stage."""
    stage = request.getfixturevalue("moment").split()[0]
    write_recipe(place, longer)
    store, mine = undisturbed / "runs" / ".store", place / "runs" / ".store"
    order = (*STAGES, "evaluate")
    for earlier in order[: order.index(stage)]:
        for entry in entries(store, earlier):
            (mine / entry.name).mkdir(parents=True)
            for name in files(entry):
                (mine / entry.name / name).write_bytes((entry / name).read_bytes())
    return place


def command(stage):
    return (stage.replace("_", "-"), "-r", "tiny.yaml")


@pytest.mark.parametrize("moment", WHERE)
def test_killed_stage_goes_on_to_the_same_result(moment, before, undisturbed):
    stage = moment.split()[0]
    store = before / "runs" / ".store"
    process = start(*command(stage))
    wait_for(process, lambda: any(store.glob(WHERE[moment])))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not entries(store, stage)
    assert not (before / RUN / stage).exists()
    answer = done(*command(stage))
    if WHERE[moment].endswith(STATE):
        assert f"resuming {stage} at epoch" in answer.err
    if moment == "prune between rounds":
        assert "round 2 of 2" in answer.err
        assert "round 1 of 2" not in answer.err
    assert files(before / RUN / stage) == files(undisturbed / RUN / stage)
    assert measured(before / RUN)[stage] == measured(undisturbed / RUN)[stage]
    if stage in artifacts(before / RUN):
        assert artifacts(before / RUN)[stage] == artifacts(undisturbed / RUN)[stage]
    assert not list(store.glob(".work-*"))
    assert len(entries(store, stage)) == 1


@pytest.mark.parametrize("moment", ["train_teacher"])
def test_second_process_is_refused_and_sigterm_is_resumable(moment, before, undisturbed):
    store = before / "runs" / ".store"
    process = start(*command(moment))
    try:
        wait_for(process, lambda: any(store.glob(WHERE[moment])))
        process.send_signal(signal.SIGSTOP)
        second = invoke(*command(moment))
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert second.code == 1
    assert "another process is working on this stage; wait for it" in second.error
    assert process.returncode == 130
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert lines == ["error: interrupted; the same command goes on from here"]
    assert "resuming train_teacher at epoch" in done(*command(moment)).err
    assert artifacts(before / RUN)[moment] == artifacts(undisturbed / RUN)[moment]


def while_imported(*_):
    """Interrupted where Python makes another error of it, as in a library's import."""

    class Knob:
        def __set_name__(self, owner, name):
            raise KeyboardInterrupt

    class Knobs:
        knob = Knob()


def told_otherwise(*_):
    try:
        while_imported()
    except Exception as error:
        raise AugcompressError("model: cannot be built") from error


@pytest.mark.parametrize("moment", ["in a step", while_imported, told_otherwise])
def test_interrupt_from_the_keyboard_ends_with_130(moment, place, monkeypatch):
    write_recipe(place)
    moment = interrupted_at(3) if moment == "in a step" else moment
    monkeypatch.setattr(loop._Run, "one_step", moment)
    answer = invoke("train-teacher", "-r", "tiny.yaml")
    assert (answer.code, answer.error) == (
        130,
        "error: interrupted; the same command goes on from here",
    )


def test_reader_of_the_store_never_sees_half_an_entry(place):
    write_recipe(place)
    seen, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            seen.append(len(entries(place / "runs" / ".store")))

    reader = threading.Thread(target=look)
    reader.start()
    done("train-teacher", "-r", "tiny.yaml")
    stop.set()
    reader.join()
    assert {seen[0], seen[-1]} <= {0, 1}
    assert sorted(seen) == seen


def interrupted_at(step):
    """`one_step` that is interrupted before its `step`-th call."""
    original, calls = loop._Run.one_step, iter(range(10**6))

    def one_step(self, batch):
        if next(calls) == step:
            raise KeyboardInterrupt
        original(self, batch)

    return one_step


class Noisy(Learner):
    """A small network with batch norm, and dropout that draws from torch's stream."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(
            nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3)
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return {"labels": nn.functional.cross_entropy(self.network(batch.images()), batch.targets)}

    def score(self) -> Score:
        with torch.no_grad():
            return Score(float(-self.forward(numbers(99))["labels"]), name="nll")


def numbers(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(8, 6, generator=generator)
    targets = nn.functional.one_hot((inputs[:, 0] > 0).long(), 3).float()
    return Batch(inputs, targets, torch.arange(8))


class Numbers:
    """Five batches an epoch."""

    def __len__(self) -> int:
        return 5

    def epoch(self, epoch, start_step=0):
        return (numbers(epoch * 5 + step) for step in range(start_step, 5))


SETTINGS = Training(epochs=3, batch_size=8)


def outcome(learner, state):
    """Weights, buffers, best epoch and log after all epochs."""
    engine = Engine(torch.device("cpu"), state=state, log=state / "log.jsonl", save_every_s=-1)
    result = fit(learner, Numbers(), SETTINGS, engine)
    lines = [json.loads(line) for line in engine.log.read_text().splitlines()]
    log = [{k: v for k, v in line.items() if k not in TIMINGS} for line in lines]
    return learner.state_dict(), (result.best_epoch, result.best_score, log)


@pytest.mark.parametrize("step", [1, 4, 5, 7, 10, 14])
def test_resumed_inside_an_epoch_bit_for_bit(step, tmp_path, monkeypatch):
    wanted, told = outcome(Noisy(), tmp_path / "whole")
    monkeypatch.setattr(loop._Run, "one_step", interrupted_at(step))
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        outcome(Noisy(), tmp_path / "parts")
    monkeypatch.undo()
    learner = Noisy()
    torch.rand(step + 1)  # the stream stands elsewhere in the new process
    found, told_again = outcome(learner, tmp_path / "parts")
    assert told_again == told
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_interrupted_at_every_step(tmp_path, monkeypatch):
    wanted, told = outcome(Noisy(), tmp_path / "whole")
    original = loop._Run.one_step
    for _ in range(15):
        monkeypatch.setattr(loop._Run, "one_step", interrupted_at(1))
        with contextlib.suppress(KeyboardInterrupt):
            outcome(Noisy(), tmp_path / "parts")
        monkeypatch.setattr(loop._Run, "one_step", original)
    found, told_again = outcome(Noisy(), tmp_path / "parts")
    assert told_again == told
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_damaged_entry_is_done_again(mine):
    before = artifacts(mine / RUN)
    entry = entries(mine / "runs" / ".store", "prune")[0]
    (entry / "model.safetensors").write_bytes(b"half")
    answer = done("run", "-r", "tiny.yaml", "--json")
    assert answer.stages["prune"] == "done"
    assert answer.stages["quantize"] == "cached"
    assert "model.safetensors has 4 bytes and was written with " in answer.err
    assert artifacts(mine / RUN) == before


def test_the_time_of_a_stage_is_that_of_all_its_parts(tmp_path, monkeypatch):
    now = itertools.count(1000, 100)
    monkeypatch.setattr(store_of_stages.time, "time", lambda: float(next(now)))
    entry = Store(tmp_path).entry("distill", "a" * 64)
    for spent, seconds in ((0.0, 30), (30.0, 12), (42.0, 0)):
        with contextlib.suppress(KeyboardInterrupt), entry.writing() as work:
            assert entry.spent == spent
            started = 1000 + 100 * (spent > 0) + 100 * (spent > 30)
            state = work / "state" / "fit.pt"
            state.parent.mkdir(exist_ok=True)
            state.write_bytes(b"")
            os.utime(state, (started + seconds,) * 2)
            os.utime(state.parent, (started,) * 2)
            raise KeyboardInterrupt
    with entry.writing(fresh=True):
        assert entry.spent == 0.0
    assert not entry.work.exists()
