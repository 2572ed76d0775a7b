"""How fast our loop trains, against a loop written by hand and the usual DataLoader path.

    python -m tests.benchmarks.throughput [--only distill] [--pairs 20] [--out DIR] [--write]
    python -m tests.benchmarks.throughput --device cuda --write

In one process the contenders take turns, there and back, on the same network, images, batch and
augmentation; the first turn of each is discarded.  Before that, ours and the loop by hand must have
the same losses in their first steps.  Resumable: each turn is a line of DIR/throughput.jsonl.
Nothing else may run meanwhile.  Needs no files.  Budget on 2 cores: 20 minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from augcompress.evidence.formatting import three_digits
from augcompress.evidence.statistics import student_t
from augcompress.measures.bench import cpu_name
from augcompress.system.cpus import available_cpus
from augcompress.training import resolve_precision
from tests.benchmarks.recipes import publish
from tests.benchmarks.throughput_loops import WARM_UP, Clock, Place, Work

RESNET_56, RESNET_20 = ({"kind": "cifar_resnet", "depth": depth} for depth in (56, 20))
SMALL = {"kind": "cifar_resnet", "depth": 8, "width": 0.5}
TINY = {"kind": "small_cnn", "widths": [16, 32]}
RESNET_50, MOBILENET = ({"kind": "torchvision", "name": n} for n in ("resnet50", "mobilenet_v2"))
SAME_WITHIN = 1e-4
"""Largest relative difference of the losses of two loops that do the same."""
LOADERS = {
    "DataLoader, 1 worker": (1, 0),
    "DataLoader, 2 workers": (2, 0),
    "DataLoader, 1 worker, 1 thread less": (1, 1),
}
"""Workers, and threads that training leaves to them: the fastest counts."""
Turn = dict[str, Any]
"""A line of the log: case, conditions, and images a second of each contender."""


@dataclass(frozen=True)
class Case:
    """A comparison."""

    title: str
    work: Work
    others: tuple[str, ...]
    """Whom ours is compared with."""


CASES = {
    "plain": Case("ResNet-20", Work(RESNET_20), ("by hand",)),
    "distill": Case("ResNet-56 → ResNet-20", Work(RESNET_20, RESNET_56), ("by hand",)),
    "small": Case("ResNet-8, half width", Work(SMALL, steps=150), ("by hand", "DataLoader")),
    "tiny": Case("small CNN (16, 32)", Work(TINY, steps=150), ("by hand", "DataLoader")),
    "precision": Case("ResNet-20", Work(RESNET_20), ("ours in fp32", "by hand in fp32")),
    "accelerator": Case(
        "ResNet-50 → MobileNetV2", Work(MOBILENET, RESNET_50, side=224), ("by hand",)
    ),
}
ON_CPU, ON_GPU = ("plain", "distill", "small", "tiny", "precision"), ("accelerator",)


def contenders(case: Case, place: Place) -> dict[str, Callable[[], Clock]]:
    """Ours and the others, by name; a DataLoader in each of its ways."""
    loaders = {name: partial(place.by_loader, *way) for name, way in LOADERS.items()}
    known: dict[str, Callable[[], Clock]] = {
        "by hand": place.by_hand,
        "ours in fp32": partial(place.ours, "fp32"),
        "by hand in fp32, channels first": partial(
            place.by_hand, "fp32", layout=torch.contiguous_format
        ),
        **loaders,
    }
    others = {name: run for name, run in known.items() if name.startswith(case.others)}
    return {"ours": place.ours, **others}


def same_work(place: Place) -> float:
    """The largest relative difference of the losses of our loop and the one by hand."""
    ours: list[float] = []
    theirs: list[float] = []
    place.ours(losses=ours)
    place.by_hand(losses=theirs)
    apart = np.abs(np.array(ours) - theirs) / np.abs(theirs)
    largest = float(apart[:WARM_UP].max())
    if not largest < SAME_WITHIN:
        raise SystemExit(f"losses differ by {largest:.1e}: the loops do not do the same work")
    return largest


def one_turn(runs: dict[str, Callable[[], Clock]], *, backwards: bool) -> Turn:
    """Each contender once."""
    names = reversed(runs) if backwards else iter(runs)
    clocks = {name: runs[name]() for name in names}
    busy = {name: float(np.mean(clock.busy)) for name, clock in clocks.items() if clock.busy}
    return {"images_per_s": {n: clock.images_per_s for n, clock in clocks.items()}, "busy": busy}


def perform(name: str, case: Case, told: dict[str, Any], log: Path, pairs: int) -> list[Turn]:
    """Take the turns that are missing."""
    done = read(log, name, told)
    if len(done) >= pairs:
        return done
    with placed(case.work, torch.device(told["device"])) as place:
        facts = {"case": name, "conditions": told, "apart": same_work(place)}
        runs = contenders(case, place)
        one_turn(runs, backwards=False)
        for number in range(len(done), pairs):
            line = json.dumps({**facts, **one_turn(runs, backwards=number % 2 == 1)})
            with log.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
            print(f"{name}: {number + 1} of {pairs}", flush=True)
    return read(log, name, told)


@contextmanager
def placed(work: Work, device: torch.device) -> Iterator[Place]:
    """The loops with their images in a folder of their own."""
    with tempfile.TemporaryDirectory() as folder:
        yield Place(work, Path(folder), device)


def read(log: Path, name: str, told: dict[str, Any]) -> list[Turn]:
    """The turns of a case so far; a line that was cut off is left out."""
    found = []
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    mine = [one for one in found if one["case"] == name]
    if any(one["conditions"] != told for one in mine):
        raise SystemExit(f"{log}: holds {name} under other conditions; give another --out")
    return mine


def conditions(work: Work, device: torch.device, threads: int) -> dict[str, Any]:
    """What turns must have in common."""
    return {
        "device": device.type,
        "hardware": torch.cuda.get_device_name() if device.type == "cuda" else cpu_name(),
        "threads": threads,
        "torch": torch.__version__.partition("+")[0],
        "precision": resolve_precision("auto", device),
        "work": asdict(work),
    }


def speeds(turns: list[Turn], name: str) -> np.ndarray:
    """`(turns,)` images a second of a contender."""
    return np.array([turn["images_per_s"][name] for turn in turns])


def best(turns: list[Turn], other: str) -> str:
    """The contender of this kind with the highest median."""
    named = [name for name in turns[0]["images_per_s"] if name.startswith(other)]
    return max(named, key=lambda name: float(np.median(speeds(turns, name))))


def row(case: Case, turns: list[Turn], other: str) -> str:
    """A line of the table."""
    name = best(turns, other)
    ours, theirs = speeds(turns, "ours"), speeds(turns, name)
    logs = np.log(ours / theirs)
    low, high = (math.exp(end) for end in student_t(logs) or (-math.inf, math.inf))
    against = f"torchvision's transforms and {name}" if name in LOADERS else name
    middle = [three_digits(float(np.median(each))) for each in (ours, theirs)]
    median, mean = float(np.median(ours / theirs)), math.exp(float(logs.mean()))
    cells = [case.title, middle[0], against, middle[1]]
    cells += [f"{median:.3f}", f"{mean:.3f} ({low:.3f}–{high:.3f}, n={len(turns)})"]
    return f"| {' | '.join(cells)} |"


def text_of(found: dict[str, list[Turn]]) -> str:
    """The table and its conditions."""
    lines = [
        "| network | ours, images/s | against | images/s | ratio, median | ratio, mean |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        row(CASES[n], turns, other) for n, turns in found.items() for other in CASES[n].others
    ]
    return "\n".join([*lines, "", *busy_text(found), conditions_text(found)])


def busy_text(found: dict[str, list[Turn]]) -> list[str]:
    """How busy the GPU was."""
    turns = [turn["busy"] for each in found.values() for turn in each if turn["busy"]]
    if not turns:
        return []
    means = {name: np.mean([turn[name] for turn in turns]) for name in turns[0]}
    told = ", ".join(f"{name} {mean:.0f} %" for name, mean in means.items())
    return [f"Time in which the GPU computed: {told}.", ""]


def conditions_text(found: dict[str, list[Turn]]) -> str:
    """Where and how it was measured."""
    turns = [turn for each in found.values() for turn in each]
    told, apart = turns[0]["conditions"], max(turn["apart"] for turn in turns)
    works = [each[0]["conditions"]["work"] for each in found.values()]
    sizes = ", ".join(sorted({f"batch {one['batch']} of {one['side']} px" for one in works}))
    return (
        f"{told['hardware']}, threads: {told['threads']}, torch {told['torch']};"
        f" {told['precision']} but where fp32 is named; {sizes}; n turns of"
        f" {min(one['steps'] for one in works)} steps or more. Means are geometric, with 95 %"
        f" Student's t intervals of their logarithms. In the first {WARM_UP} steps the losses of"
        f" ours and by hand differ by at most {apart:.0e} of their value."
    )


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=CASES)
    parser.add_argument("--pairs", type=int, default=20, help="turns, 2 or more")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=available_cpus())
    for name in ("steps", "batch", "side"):
        parser.add_argument(f"--{name}", type=int, help="another than the case's, to try it out")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    return parser.parse_args()


def main() -> None:
    """Run, print, publish."""
    given = arguments()
    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    device, found = torch.device(given.device), {}
    usual = ON_GPU if device.type == "cuda" else ON_CPU
    changed = {n: getattr(given, n) for n in ("steps", "batch", "side") if getattr(given, n)}
    for name in [given.only] if given.only else usual:
        case = replace(CASES[name], work=replace(CASES[name].work, **changed))
        told = conditions(case.work, device, given.threads)
        found[name] = perform(name, case, told, given.out / "throughput.jsonl", given.pairs)
    text = text_of(found)
    print(text)
    if given.write:
        publish("throughput" if device.type == "cpu" else "throughput-accelerator", text)


if __name__ == "__main__":
    main()
