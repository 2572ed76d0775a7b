"""What it costs to start: each command against `import torch`, and `predict` against `predict.py`.

    python -m tests.benchmarks.startup [--write]

CPU seconds (user and system, all threads) and peak memory (RSS) of new processes, each command once
a round, there and back.  The run that they work on is `digits.yaml`, and the images are of its test
split.  Ratios are taken within rounds.  Five minutes on 2 cores, half a minute of it for the run.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from augcompress.datasets import DataFacts, Digits
from augcompress.evidence import three_digits
from augcompress.measures import bench
from tests.benchmarks.recipes import publish

ROUNDS = 10
IMAGES = 100
RUN = ("--recipe", "digits.yaml", "--run-dir", "runs/digits")
MODEL = "runs/digits/export/model.onnx"
LAUNCHER = """
import os, sys
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
process = os.posix_spawn(sys.executable, sys.argv[1:], os.environ, file_actions=quiet)
_, status, used = os.wait4(process, 0)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Starts a command from a small process: a new one is charged with the memory of who starts it."""
TORCH, SCRIPT, SCRIPT_MANY = "import torch", "predict.py", f"predict.py, {IMAGES} images"


@dataclass(frozen=True)
class Case:
    """A command, and what it may cost."""

    arguments: tuple[str, ...]
    baseline: str | None = None
    goal: float = 1.0
    """At most so many times the baseline; CPU seconds where there is none."""


def module(*arguments: str, baseline: str | None = None, goal: float = 1.0) -> Case:
    """A command of augcompress."""
    return Case(("-m", "augcompress", *arguments), baseline, goal)


def cases() -> dict[str, Case]:
    """What is measured, by what it is called."""
    script = MODEL.replace("model.onnx", "predict.py")
    many = tuple(f"{number}.png" for number in range(IMAGES))
    return {
        TORCH: Case(("-c", TORCH)),
        SCRIPT: Case((script, many[0])),
        SCRIPT_MANY: Case((script, *many)),
        "predict": module("predict", MODEL, many[0], baseline=SCRIPT, goal=1.5),
        f"predict, {IMAGES} images": module(
            "predict", MODEL, *many, baseline=SCRIPT_MANY, goal=1.5
        ),
        "--help": module("--help"),
        "recipes": module("recipes"),
        "runs list": module("runs", "list"),
        "runs show": module("runs", "show", "runs/digits"),
        "check": module("check", "runs/digits", "--recipe", "digits.yaml"),
        "compare, stored answers": module("compare", "runs/digits", "runs/digits/export"),
        "report": module("report", "runs/digits"),
        "explain": module("explain", "distill", baseline=TORCH, goal=1.4),
        "schema": module("schema", baseline=TORCH, goal=1.4),
        "run --dry-run": module("run", *RUN, "--dry-run", baseline=TORCH, goal=1.4),
        "run, finished": module("run", *RUN, baseline=TORCH, goal=1.4),
    }


def prepare(folder: Path) -> None:
    """The run, and images."""
    command = [sys.executable, "-m", "augcompress", "run", *RUN, "--quiet"]
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
    split = Digits().build(DataFacts(seed=0)).test
    for number, image in enumerate(split.fetch(np.arange(IMAGES))):
        Image.fromarray(image[0].numpy()).save(folder / f"{number}.png")


def spent(case: Case, folder: Path) -> tuple[float, float]:
    """CPU seconds and peak MiB of a new process."""
    command = [sys.executable, "-c", LAUNCHER, sys.executable, *case.arguments]
    ran = subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE, text=True)
    seconds, mebibytes = map(float, ran.stdout.split())
    return seconds, mebibytes


def all_rounds(folder: Path) -> dict[str, np.ndarray]:
    """`(rounds, 2)` CPU seconds and MiB of each case."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in cases()}
    for number in range(ROUNDS + 1):  # the first fills the caches
        turn = list(cases().items())
        for name, case in turn if number % 2 else reversed(turn):
            found[name].append(spent(case, folder))
    return {name: np.array(each)[1:] for name, each in found.items()}


def row(name: str, case: Case, found: dict[str, np.ndarray]) -> str:
    """A line of the table."""
    seconds, memory = found[name].T
    told = _range(seconds)
    cells = [f"`{name}`", f"{told} s", f"{np.median(memory):.0f} MiB", "", ""]
    if case.baseline is not None:
        against = found[case.baseline][:, 0]
        cells[3] = f"{_range(seconds / against)} times `{case.baseline}`"
        cells[4] = f"{case.goal:g} times"
    elif case.arguments[0] == "-m":
        cells[4] = f"{case.goal:g} s"
    return f"| {' | '.join(cells)} |"


def _range(values: np.ndarray) -> str:
    mean, low, high = bench.over_rounds(values)
    return f"{three_digits(mean)} ({three_digits(low)}–{three_digits(high)})"


def text_of(found: dict[str, np.ndarray]) -> str:
    """The table and its conditions."""
    head = "| | CPU time | peak memory | | goal: at most |\n|---|---|---|---|---|"
    rows = [row(name, case, found) for name, case in cases().items()]
    python, torch = sys.version.split()[0], importlib.metadata.version("torch")
    return "\n".join([head, *rows]) + (
        f"\n\n{bench.cpu_name()}, {os.cpu_count()} cores, python {python}, torch {torch};"
        f" n={ROUNDS} new processes each, in turns; geometric means with 95 % Student's t"
        " intervals, memory: medians."
    )


def main() -> None:
    """Run, print, publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        text = text_of(all_rounds(Path(folder)))
    print(text)
    if given.write:
        publish("startup", text)


if __name__ == "__main__":
    main()
