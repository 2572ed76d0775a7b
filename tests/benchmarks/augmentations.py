"""What augmentations cost for an image, against torchvision and kornia, on one thread.

    python -m tests.benchmarks.augmentations [--rounds 10] [--out DIR] [--write]

Each round is a new process that times all contenders in turns on the same images; an interval is
Student's t over the logarithms of the rounds' ratios.  Resumable: each round is a line of
DIR/augmentations.jsonl.  Nothing else may run meanwhile.  kornia is left out where it is not
installed (`pip install kornia`).  Budget on 2 cores: 15 minutes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from augcompress.evidence.formatting import three_digits
from augcompress.evidence.statistics import student_t
from augcompress.measures.bench import cpu_name
from augcompress.system.memory import keep_freed_memory
from tests.benchmarks.augmentation_cases import SINGLE, WHOLE, Case, Contender, contenders
from tests.benchmarks.recipes import publish

SIZES = {32: 128, 224: 16}
"""Images in a batch, by their side in pixels."""
SECONDS = 0.4
"""Least time for one case, all contenders together."""
TURNS = 2
"""Least number of times that they take turns, there and back."""
THEIRS = ("PIL", "tensor", "batch")
Times = dict[str, float]
"""Microseconds an image, by contender."""
Round = dict[str, Times]
"""By case and side: `affine 32`."""


def images_of(side: int, count: int) -> torch.Tensor:
    """Smooth random images, uint8 `(N,3,side,side)`."""
    noise = torch.rand((count, 3, 8, 8), generator=torch.Generator().manual_seed(side))
    smooth = torch.nn.functional.interpolate(noise, (side, side), mode="bicubic").clamp(0, 1)
    return (smooth * 255).round().byte()


def timed(runners: dict[str, Contender], count: int) -> Times:
    """Medians over the turns, in an order that goes there and back."""
    for run in runners.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in runners}
    began, turns = time.perf_counter(), 0
    while turns < TURNS or time.perf_counter() - began < SECONDS:
        for name in [*runners, *reversed(runners)]:
            start = time.perf_counter()
            runners[name]()
            taken[name].append(time.perf_counter() - start)
        turns += 1
    return {name: 1e6 * float(np.median(each)) / count for name, each in taken.items()}


def one_round() -> Round:
    """All cases at all sizes, in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()  # as in training; all contenders have it
    found = {}
    for side, count in SIZES.items():
        images = images_of(side, count)
        for case in [*WHOLE, *SINGLE]:
            found[f"{case.name} {side}"] = timed(contenders(case, images), count)
    return found


def perform(log: Path, rounds: int) -> list[Round]:
    """Take the rounds that are missing."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for number in range(len(lines), rounds):
        command = [sys.executable, "-m", "tests.benchmarks.augmentations", "--one"]
        told = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=environment
        )
        with log.open("a", encoding="utf-8") as file:
            file.write(told.stdout.splitlines()[-1] + "\n")
        print(f"round {number + 1} of {rounds}", flush=True)
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def fastest(rounds: Sequence[Round], key: str) -> str | None:
    """torchvision's way that is fastest over all rounds."""
    known = [name for name in THEIRS if name in rounds[0][key]]
    return min(known, key=lambda name: mean_us(rounds, key, name), default=None)


def mean_us(rounds: Sequence[Round], key: str, name: str) -> float:
    """Geometric mean of the rounds."""
    return math.exp(float(np.mean([math.log(one[key][name]) for one in rounds])))


def ratio(rounds: Sequence[Round], key: str, name: str) -> tuple[float, float, float]:
    """How many times as long as ours it takes, and the 95 % interval."""
    logs = np.array([math.log(one[key][name] / one[key]["augcompress"]) for one in rounds])
    low, high = student_t(logs) or (-math.inf, math.inf)
    return math.exp(float(logs.mean())), math.exp(low), math.exp(high)


def row(rounds: Sequence[Round], case: Case, side: int) -> list[str]:
    """A line of the table."""
    key = f"{case.name} {side}"
    cells = [case.name, three_digits(mean_us(rounds, key, "augcompress"))]
    theirs = fastest(rounds, key)
    for name in (theirs, "kornia" if "kornia" in rounds[0][key] else None):
        if name is None:
            cells += ["–", "–"]
            continue
        of = f" ({name})" if name != "kornia" else ""
        value, low, high = (three_digits(each) for each in ratio(rounds, key, name))
        cells += [three_digits(mean_us(rounds, key, name)) + of, f"{value} ({low}–{high})"]
    return cells


def table(rounds: Sequence[Round], cases: Sequence[Case], side: int) -> str:
    """Times in microseconds an image, and how many times as long as ours the others take."""
    lines = [
        f"| {side} px | augcompress, µs | torchvision, µs | times ours | kornia, µs | times ours |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(f"| {' | '.join(row(rounds, case, side))} |" for case in cases)])


def losses(rounds: Sequence[Round]) -> str:
    """Where another library is faster, in a list; and where that is not told from chance."""
    lines, unclear = [], []
    for side in SIZES:
        for case in [*WHOLE, *SINGLE]:
            key = f"{case.name} {side}"
            for name in (fastest(rounds, key), "kornia"):
                if name not in rounds[0][key]:
                    continue
                value, low, high = (three_digits(1 / each) for each in ratio(rounds, key, name))
                library = "kornia" if name == "kornia" else f"torchvision ({name})"
                where = f"{case.name}, {side} px: {library}"
                if ratio(rounds, key, name)[2] < 1:
                    lines.append(f"- {where} is {value} times as fast ({high}–{low}).")
                elif ratio(rounds, key, name)[1] < 1:
                    unclear.append(where)
    told = [*lines, f"\nNot told apart: {'; '.join(unclear)}."] if unclear else lines
    return "\n".join(told or ["- nowhere in these cases."])


def text_of(rounds: Sequence[Round]) -> str:
    """The part of the page."""
    versions = [f"{name} {_version(name)}" for name in ("torch", "torchvision", "kornia")]
    counts = ", ".join(f"{count} images of {side} px" for side, count in SIZES.items())
    parts = []
    for title, cases in {
        "Whole pipelines and policies": WHOLE,
        "Single operations": SINGLE,
    }.items():
        parts += [f"### {title}", *(table(rounds, cases, side) for side in SIZES)]
    return "\n\n".join(
        [
            *parts,
            "### Where we lose",
            losses(rounds),
            f"{cpu_name()}, one thread, {', '.join(versions)}; {counts};"
            f" {len(rounds)} rounds, each a new process that keeps freed memory, as training"
            " does; 95 % Student's t intervals over rounds.",
        ]
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def main() -> None:
    """Run, print, publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10, help="2 or more")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given: Any = parser.parse_args()
    if given.one:
        print(json.dumps(one_round()))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    text = text_of(perform(given.out / "augmentations.jsonl", given.rounds))
    print(text)
    if given.write:
        publish("augmentation-cost", text)


if __name__ == "__main__":
    main()
