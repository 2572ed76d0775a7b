"""Kills of the processes of a command on several devices, and of the one that started them."""

from __future__ import annotations

import copy
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from end_to_end import TINY, training
from killing import INTERRUPTED, differing
from scenes import RECIPE, complaints, copied, half_written, outcome

COMMAND = ("run", "-r", RECIPE, "--device", "cpu", "--devices", "2")
VICTIMS = ("rank 0", "rank 1", "launcher", "launcher, SIGTERM")
GRACE_S = 150.0
"""No process may live longer than this after its launcher; 120 s are for writing the state."""
SAID = ("error: ", "Traceback")
"""Beginnings of lines that tell why a process ends; torch's own sockets complain in others."""
MARK = "AUGCOMPRESS_TEST_RANKS"


def recipe() -> dict[str, Any]:
    """The tiny recipe with longer trainings."""
    found = copy.deepcopy(TINY)
    for stage in ("train_teacher", "distill", "prune"):
        found[stage]["training"] = training(10)
    return found


class Group:
    """A command on two devices, with all processes that belong to it."""

    def __init__(self, folder: Path) -> None:
        self.mark = f"{os.getpid()}-{time.monotonic_ns()}"
        environment = {**os.environ, MARK: self.mark, "OMP_NUM_THREADS": "1"}
        pipe, self.began = subprocess.PIPE, time.monotonic()
        self.launcher = subprocess.Popen(
            [sys.executable, "-m", "augcompress", *COMMAND],
            cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True,
        )  # fmt: skip

    def rank(self, number: int) -> psutil.Process | None:
        """A rank's process, as soon as it is there; None where the command ends before."""
        while self.launcher.poll() is None:
            for child in psutil.Process(self.launcher.pid).children():
                if environment_of(child).get("RANK") == str(number):
                    return child
            time.sleep(0.05)
        return None

    def alive(self) -> list[psutil.Process]:
        """Every process that is left of the command."""
        return [one for one in psutil.process_iter() if environment_of(one).get(MARK) == self.mark]

    def kill(self, victim: str, after_s: float) -> None:
        """Send the victim its signal, unless the command ends before."""
        try:
            self.launcher.wait(after_s)
        except subprocess.TimeoutExpired:
            if victim.startswith("rank"):
                if (found := self.rank(int(victim[-1]))) is not None:
                    found.kill()
            elif victim == "launcher":
                self.launcher.kill()
            else:
                self.launcher.terminate()

    def end(self) -> tuple[int, list[str], float]:
        """Exit code, lines of errors, and for how long a process outlived the launcher."""
        code, began = self.launcher.wait(), time.monotonic()
        while self.alive() and time.monotonic() - began < GRACE_S:
            time.sleep(0.2)
        outlived = time.monotonic() - began
        for one in self.alive():
            one.kill()
        _, err = self.launcher.communicate()
        return code, [line for line in err.splitlines() if line.startswith(SAID)], outlived


def environment_of(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def expected(victim: str) -> tuple[int, list[str]]:
    """Exit code and error of a command with this victim."""
    if victim == "launcher":
        return -signal.SIGKILL, []
    if victim.endswith("SIGTERM"):
        return 130, [INTERRUPTED]
    told = f"error: process {int(victim[-1]) + 1} of 2 was killed (SIGKILL);"
    return 1, [f"{told} the same command goes on from the last state"]


def disturbed(
    before: Path, wanted: dict[str, str], seconds: float, place: Path, victims: list[str],
    draw: random.Random,
) -> tuple[Counter[str], list[str], float]:  # fmt: skip
    """Kill one victim after the other, then let the command end: what was done, what was wrong,
    and the longest that a process outlived its launcher."""
    folder, done, wrong, longest = copied(before, place), Counter[str](), list[str](), 0.0
    for victim in victims:
        group, after_s = Group(folder), draw.uniform(0.0, seconds)
        group.kill(victim, after_s)
        code, errors, outlived = group.end()
        longest = max(longest, outlived)
        if (code, errors) == (0, []):
            done["too late"] += 1
            break
        done[victim] += 1
        found = [*half_written(folder), *complaints(folder)]
        found += [f"outlived by {outlived:.0f} s"] * (outlived >= GRACE_S)
        found += [f"ends with {code}: {errors}"] * ((code, errors) != expected(victim))
        wrong += [f"{victim}, at {after_s:.2f} s: {what}" for what in found]
    code, errors, _ = Group(folder).end()
    (folder / "runs/tiny/report.html").unlink(missing_ok=True)
    found = [f"ends with {code}: {errors}"] if code else differing(outcome(folder), wanted)
    return done, [*wrong, *(f"{victims}, at the end: {what}" for what in found)], longest


def kill_all(
    kills: int, seed: int, place: Path, told: Callable[..., None] = print
) -> tuple[dict[str, Counter[str]], list[str]]:
    """So many kills of each kind of victim in turns: counts, faults."""
    start = place / "start" / "work"
    start.mkdir(parents=True)
    (start / RECIPE).write_text(json.dumps(recipe()))
    folder = copied(start, place / "undisturbed")
    group = Group(folder)
    code, errors, _ = group.end()
    if code != 0:
        raise SystemExit(f"fails undisturbed: {errors}")
    wanted, seconds = outcome(folder), time.monotonic() - group.began
    draw, count, wrong, longest = random.Random(seed), Counter[str](), list[str](), 0.0
    while (left := kills - sum(count[victim] for victim in VICTIMS)) > 0:
        victims = sorted(VICTIMS, key=lambda one: (count[one], draw.random()))
        victims = victims[: min(left, draw.randint(1, 3))]
        done, found, outlived = disturbed(start, wanted, seconds, place / "one", victims, draw)
        count, longest = count + done, max(longest, outlived)
        wrong += found
        for line in [*found, f"{dict(count)}, outlived by at most {longest:.1f} s"]:
            told(line, flush=True)
    return {"run --devices 2": count}, wrong
