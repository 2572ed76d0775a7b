"""What augmentations cost for an image, against torchvision and kornia, on one thread.

    python -m tests.benchmarks.augmentations [--rounds 6] [--out DIR] [--write] [--against TREE]

Each round is a new process that times all contenders in turns on the same images, in CPU time of
the one thread, which other processes disturb less than time on the wall; an interval is Student's t
over the logarithms of the rounds' ratios.  Resumable: each round is a line of
DIR/augmentations.jsonl.  Nothing else should run meanwhile.  kornia is left out where it is not
installed (`pip install kornia`).  Budget on 2 cores: 8 minutes.

`--against` names a checkout of another commit: its augmentations are timed in turns with these, a
process each, in DIR/augmentations-against.jsonl, and how many times as long they take is printed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import subprocess
import sys
import tempfile
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
SECONDS = 0.2
"""Least time for one case, all contenders together."""
RARE = 0.1
"""The other probability that is timed, of images of the largest side."""
TURNS = 2
"""Least number of times that they take turns, there and back."""
THEIRS = ("PIL", "tensor", "batch")
Times = dict[str, float]
"""CPU microseconds an image, by contender."""
Round = dict[str, Times]
"""By case, side and probability: `affine 32 1`."""


def images_of(side: int, count: int) -> torch.Tensor:
    """Smooth random images, uint8 `(N,3,side,side)`."""
    noise = torch.rand((count, 3, 8, 8), generator=torch.Generator().manual_seed(side))
    smooth = torch.nn.functional.interpolate(noise, (side, side), mode="bicubic").clamp(0, 1)
    return (smooth * 255).round().byte()


def timed(runners: dict[str, Contender], count: int) -> Times:
    """Medians of CPU time over the turns, in an order that goes there and back."""
    for run in runners.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in runners}
    began, turns = time.process_time(), 0
    while turns < TURNS or time.process_time() - began < SECONDS:
        for name in [*runners, *reversed(runners)]:
            start = time.process_time()
            runners[name]()
            taken[name].append(time.process_time() - start)
        turns += 1
    return {name: 1e6 * float(np.median(each)) / count for name, each in taken.items()}


def timings() -> list[tuple[int, float]]:
    """Sides and probabilities that are timed."""
    return [*((side, 1.0) for side in SIZES), (max(SIZES), RARE)]


def key_of(case: Case, side: int, probability: float) -> str:
    """The name of what is timed."""
    return f"{case.name} {side} {probability:g}"


def one_round(*, others: bool) -> Round:
    """All cases at all sizes, in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()  # as in training; all contenders have it
    found = {}
    for side, probability in timings():
        images = images_of(side, SIZES[side])
        for case in [*WHOLE, *SINGLE]:
            asked = case if probability == 1 else case.seldom(probability)
            runners = contenders(asked, images, others=others)
            found[key_of(case, side, probability)] = timed(runners, SIZES[side])
    return found


def in_a_process(tree: Path | None, *, others: bool) -> Round:
    """A round of the augmentations of this tree, or of another."""
    own = Path(__file__).parents[2]
    with tempfile.TemporaryDirectory() as folder:
        package = ((tree or own) / "augcompress").resolve()
        (Path(folder) / "augcompress").symlink_to(package, target_is_directory=True)
        before = os.environ.get("PYTHONPATH", "")
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, (folder, str(own), before))),
        }
        command = [sys.executable, "-P", "-m", "tests.benchmarks.augmentations", "--one"]
        command += [] if others else ["--alone"]
        told = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=environment
        )
    return json.loads(told.stdout.splitlines()[-1])


def perform(log: Path, rounds: int, against: Path | None = None) -> list[Round]:
    """Take the rounds that are missing; of two trees, the times of the other one as "against"."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    for number in range(len(lines), rounds):
        found = in_a_process(None, others=against is None)
        if against is not None:
            for key, times in in_a_process(against, others=False).items():
                found[key]["against"] = times["augcompress"]
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")
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


def row(rounds: Sequence[Round], case: Case, side: int, probability: float) -> list[str]:
    """A line of the table."""
    key = key_of(case, side, probability)
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


def table(rounds: Sequence[Round], cases: Sequence[Case], side: int, probability: float) -> str:
    """Times in microseconds an image, and how many times as long as ours the others take."""
    chance = "" if probability == 1 else f", probability {probability:g}"
    lines = [
        f"| {side} px{chance} | augcompress, µs | torchvision, µs | times ours | kornia, µs |"
        " times ours |",
        "|---|---|---|---|---|---|",
    ]
    rows = (row(rounds, case, side, probability) for case in cases)
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows)])


def losses(rounds: Sequence[Round]) -> str:
    """Where another library is faster, in a list; and where that is not told from chance."""
    lines, unclear = [], []
    for side, probability in timings():
        for case in [*WHOLE, *SINGLE]:
            key = key_of(case, side, probability)
            for name in (fastest(rounds, key), "kornia"):
                if name not in rounds[0][key]:
                    continue
                value, low, high = (three_digits(1 / each) for each in ratio(rounds, key, name))
                library = "kornia" if name == "kornia" else f"torchvision ({name})"
                chance = "" if probability == 1 else f", probability {probability:g}"
                where = f"{case.name}, {side} px{chance}: {library}"
                if ratio(rounds, key, name)[2] < 1:
                    lines.append(f"- {where} is {value} times as fast ({high}–{low}).")
                elif ratio(rounds, key, name)[1] < 1:
                    unclear.append(where)
    told = [*lines, f"\nNot told apart: {'; '.join(unclear)}."] if unclear else lines
    return "\n".join(told or ["- nowhere in these cases."])


def against_text(rounds: Sequence[Round]) -> str:
    """How many times as long as this tree another one takes."""
    lines = []
    for side, probability in timings():
        for case in [*WHOLE, *SINGLE]:
            key = key_of(case, side, probability)
            value, low, high = (three_digits(each) for each in ratio(rounds, key, "against"))
            here, there = (mean_us(rounds, key, name) for name in ("augcompress", "against"))
            times = f"{three_digits(here)} µs, there {three_digits(there)}"
            lines.append(f"{key}: {times}: {value} times as long ({low}–{high})")
    return "\n".join(lines)


def text_of(rounds: Sequence[Round]) -> str:
    """The part of the page."""
    versions = [f"{name} {_version(name)}" for name in ("torch", "torchvision", "kornia")]
    counts = ", ".join(f"{count} images of {side} px" for side, count in SIZES.items())
    parts = []
    for title, cases in {
        "Whole pipelines and policies": WHOLE,
        "Single operations": SINGLE,
    }.items():
        parts += [f"### {title}", *(table(rounds, cases, *timing) for timing in timings())]
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
    parser.add_argument("--rounds", type=int, default=6, help="2 or more")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    parser.add_argument("--against", type=Path, help="a checkout of another commit")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given: Any = parser.parse_args()
    if given.one:
        print(json.dumps(one_round(others=not given.alone)))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    if given.against is not None:
        log = given.out / "augmentations-against.jsonl"
        print(against_text(perform(log, given.rounds, given.against)))
        return
    text = text_of(perform(given.out / "augmentations.jsonl", given.rounds))
    print(text)
    if given.write:
        publish("augmentation-cost", text)


if __name__ == "__main__":
    main()
