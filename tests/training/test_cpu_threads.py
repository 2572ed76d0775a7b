"""How many threads a training gets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from end_to_end import done, training, write_recipe

from augcompress.evidence import read_measurements
from augcompress.learning import fitting
from augcompress.training import cpu_threads, threads, use_available_cpus


@pytest.fixture(autouse=True)
def three_cpus(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "available_cpus", lambda: 3)
    yield
    torch.set_num_threads(1)


def macs_of(stage):
    rows = read_measurements(Path("runs/tiny-smoke") / stage / "measurements.json")
    return next(one.value for one in rows if one.name == "macs")


@pytest.mark.parametrize(("macs", "expected"), [(1e6, 1), (0.99e9, 1), (1e9, 3), (1e12, 3)])
def test_small_steps_have_one_thread(macs, expected, monkeypatch):
    torch.set_num_threads(2)
    with cpu_threads(macs):
        assert torch.get_num_threads() == expected
    assert torch.get_num_threads() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with cpu_threads(macs):
        assert torch.get_num_threads() == 2


def test_threads_follow_the_cpus_that_there_are(monkeypatch):
    use_available_cpus()
    assert torch.get_num_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    use_available_cpus()
    assert torch.get_num_threads() == 1


def test_stages_train_with_the_threads_that_their_steps_need(place, monkeypatch):
    seen, counted = [], []
    fit, count = fitting.fit, fitting.cpu_threads

    def recorded(*given):
        seen.append(torch.get_num_threads())
        return fit(*given)

    def counting(macs):
        counted.append(macs)
        return count(macs)

    monkeypatch.setattr(fitting, "fit", recorded)
    monkeypatch.setattr(fitting, "cpu_threads", counting)
    recipe = write_recipe(place, lambda r: r["distill"].update(training=training(1)))
    done("train-teacher", "-r", recipe, "--smoke")
    done("distill", "-r", recipe, "--smoke")
    assert seen == [1, 1]
    teacher, student = counted
    monkeypatch.setattr(threads, "SMALL_STEP", student)
    done("distill", "-r", recipe, "--smoke", "--force")
    assert (seen[2:], counted[2:]) == ([3], [student])
    macs = {name: macs_of(name) for name in ("train_teacher", "distill")}
    assert teacher == 32 * 3 * macs["train_teacher"]
    assert student == 32 * (3 * macs["distill"] + macs["train_teacher"])


def test_waiting_threads_give_their_cpu_away(monkeypatch):
    code = (
        "import os, sys, augcompress; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.stdout.split() == ["PASSIVE", "False"]
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.stdout.split() == ["ACTIVE", "False"]
