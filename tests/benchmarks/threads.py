"""What a second thread brings, by the size of a training step and by how threads wait.

    python -m tests.benchmarks.threads [--write]
    python -m tests.benchmarks.threads --crowded [--write]

Networks of four convolutions, in bf16 where the CPU has it, else in fp32.  A round is a new process
for each way to wait (`OMP_WAIT_POLICY`), which trains each network with one thread and with two in
turns and keeps the fastest step of each.  Nothing else may run meanwhile.  Budget: 5 minutes.

`--crowded` runs digits.yaml alone and beside 20 processes that compute, and compares its wall time
with what its fair share of the cores would give.  Three runs at once: to each of them, the others
are two of the 20.  Budget: 5 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augcompress.measures import bench
from augcompress.measures.cost import count_macs
from augcompress.training import resolve_precision
from tests.benchmarks.latency import busy
from tests.benchmarks.recipes import publish

SIZES = (
    (8, 8, 64),
    (16, 8, 64),
    (16, 16, 64),
    (16, 20, 64),
    (16, 28, 64),
    (32, 28, 64),
    (64, 32, 64),
)
"""Channels, height and width, batch."""
POLICIES = ("PASSIVE", "ACTIVE")
ROUNDS, SECONDS, IN_TURN = 5, 3.0, 4
CROWD, REPEATS = 20, 3
RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "digits.yaml"


def network_of(channels: int) -> nn.Module:
    """Four 3x3 convolutions with batch norm, the third at half the size and twice the channels."""
    widths = (channels, channels, 2 * channels, 2 * channels)
    layers, before = list[nn.Module](), 3
    for width in widths:
        stride = 2 if width > before and before > 3 else 1
        layers += [nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)]
        layers.append(nn.ReLU())
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10))


def fastest_steps(channels: int, size: int, batch: int) -> dict[int, float]:
    """Milliseconds of the fastest step by the number of threads."""
    network = network_of(channels).to(memory_format=torch.channels_last)
    images = torch.rand(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    found, end = {1: np.inf, 2: np.inf}, time.monotonic() + SECONDS
    while time.monotonic() < end:
        for threads in found:
            torch.set_num_threads(threads)
            taken = [step(network, optimizer, images) for _ in range(IN_TURN)]
            found[threads] = min(found[threads], *taken[1:])
    return found


def step(network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor) -> float:
    """Milliseconds of a step of training."""
    bf16 = resolve_precision("auto", torch.device("cpu")) == "bf16"
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = F.cross_entropy(network(images), torch.zeros(len(images), dtype=torch.int64))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return 1000 * (time.perf_counter() - start)


def take_round(policy: str) -> list[dict[str, float]]:
    """The fastest steps of all networks, in a new process."""
    settings = {**os.environ, "OMP_WAIT_POLICY": policy, "OMP_NUM_THREADS": "2"}
    settings.pop("GOMP_SPINCOUNT", None)
    command = [sys.executable, "-m", "tests.benchmarks.threads", "--round"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=settings)
    return json.loads(done.stdout.splitlines()[-1])


def all_rounds() -> dict[str, list[list[dict[str, float]]]]:
    """The rounds of each way to wait, in turns."""
    rounds: dict[str, list[list[dict[str, float]]]] = {policy: [] for policy in POLICIES}
    for _ in range(ROUNDS):
        for policy in POLICIES:
            rounds[policy].append(take_round(policy))
    return rounds


def text_of(rounds: dict[str, list[list[dict[str, float]]]]) -> str:
    """The table and its conditions."""
    rows = [
        "| multiply-adds of a step, millions | one thread, ms | two: PASSIVE | two: ACTIVE |",
        "|---|---|---|---|",
    ]
    for number, (channels, size, batch) in enumerate(SIZES):
        macs = 3 * batch * count_macs(network_of(channels), torch.rand(1, 3, size, size)) / 1e6
        alone = np.array([one[number]["1"] for one in rounds["PASSIVE"]])
        gains = [
            np.array([one[number]["1"] / one[number]["2"] for one in rounds[policy]])
            for policy in POLICIES
        ]
        told = ["{:.2f} ({:.2f}–{:.2f})".format(*bench.over_rounds(one)) for one in gains]
        rows.append(f"| {macs:,.0f} | {np.median(alone):.2f} | {told[0]} | {told[1]} |")
    precision = resolve_precision("auto", torch.device("cpu"))
    return "\n".join(rows) + (
        f"\n\nTimes as fast as one thread, by OMP_WAIT_POLICY. {bench.cpu_name()},"
        f" {os.cpu_count()} cores, idle; {precision}, torch {torch.__version__}; n={ROUNDS} new"
        " processes, of each the fastest step; geometric means with 95 % Student's t intervals."
    )


def seconds_of_digits() -> float:
    """Wall time of the whole recipe, in a new process with the threads that it chooses."""
    told = {key: value for key, value in os.environ.items() if not key.startswith(("OMP", "GOMP"))}
    command = [sys.executable, "-m", "augcompress", "run", "--recipe", str(RECIPE), "-q"]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        command += ["--run-dir", f"{folder}/run"]  # the store lies beside it
        subprocess.run(command, check=True, capture_output=True, env=told)
    return time.perf_counter() - start


def crowded() -> str:
    """Digits beside many processes, as a sentence."""
    cores = os.cpu_count() or 1
    alone = np.array([seconds_of_digits() for _ in range(REPEATS)])
    with busy(CROWD + 1 - REPEATS), ThreadPoolExecutor(REPEATS) as pool:
        beside = np.array(list(pool.map(lambda _: seconds_of_digits(), range(REPEATS))))
    fair = alone * (CROWD + 1) / cores
    ratio = "{:.2f} ({:.2f}–{:.2f})".format(*bench.over_rounds(beside / fair))
    return (
        f"digits.yaml alone: {np.median(alone):.0f} s; beside {CROWD} processes that compute:"
        f" {np.median(beside):.0f} s, {ratio} times what its share of the {cores} cores, 1 in"
        f" {CROWD + 1}, would give it. {bench.cpu_name()}, torch {torch.__version__}; n={REPEATS}"
        " runs each; geometric mean with 95 % Student's t interval."
    )


def main() -> None:
    """Run, print, publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    parser.add_argument("--crowded", action="store_true", help="digits beside 20 processes")
    parser.add_argument("--round", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.round:
        print(json.dumps([fastest_steps(*sizes) for sizes in SIZES]))
        return
    text = crowded() if given.crowded else text_of(all_rounds())
    print(text)
    if given.write:
        publish("crowded" if given.crowded else "threads", text)


if __name__ == "__main__":
    main()
