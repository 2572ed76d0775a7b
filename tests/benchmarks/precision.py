"""Does `precision: auto` cost accuracy?  A ResNet-20 on Fashion-MNIST, in it and in fp32, 3 seeds.

    AUGCOMPRESS_TEST_DATA=data python -m tests.benchmarks.precision [--runs DIR] [--write]

Both train on all images with the same seeds; each network answers all test images once, by which
nothing is chosen.  Fills the part `precision` of docs/benchmarks.md.  Resumable: finished trainings
are read back.  Budget on 2 cores with bf16 instructions: 15 minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from augcompress.evidence.predictions import PREDICTIONS_FILE, Predictions
from augcompress.evidence.statistics import student_t
from augcompress.running.environment import examine
from augcompress.search import read_study
from augcompress.search.study import Study
from tests.benchmarks.comparisons import augcompress
from tests.benchmarks.recipes import publish

NAME, FACTOR = "precision", "train_teacher.training.precision"
LEVELS = ("fp32", "auto")
"""The first is what the other is compared with."""
SEEDS, EPOCHS = (0, 1, 2), 3
MARGIN = 0.005
"""How much worse is still not worse."""


def recipe(data: Path, epochs: int, images: int | None) -> dict[str, Any]:
    """The study."""
    return {
        "version": 1,
        "name": NAME,
        "pipeline": ["train_teacher"],
        "data": {
            "kind": "fashion_mnist",
            "root": str(data.resolve()),
            "validation": 0.0833,
            "subset": images,
        },
        "augment": {
            "pipeline": [{"kind": "random_crop", "padding": 2}, {"kind": "horizontal_flip"}]
        },
        "train_teacher": {
            "model": {"kind": "cifar_resnet", "depth": 20, "option": "B"},
            "training": {"epochs": epochs},
        },
        "evaluate": {"temperature_scaling": False},
        "search": {"vary": {FACTOR: list(LEVELS)}, "seeds": list(SEEDS), "split": "test"},
    }


def perform(raw: dict[str, Any], runs: Path) -> Study:
    """`augcompress search`, or what it has left."""
    runs.mkdir(parents=True, exist_ok=True)
    file = runs / f"{NAME}.yaml"
    file.write_text(json.dumps(raw, indent=1), encoding="utf-8")  # JSON is YAML
    augcompress("search", "--recipe", file, "--run-dir", runs / NAME)
    study = read_study(runs / NAME)
    if not study.complete:
        raise SystemExit(f"{runs / NAME}: not all trials are done; see: augcompress search")
    return study


def right(study: Study, folder: Path, level: str) -> np.ndarray:
    """`(seeds, images)` booleans: which test images the networks of a precision get right."""
    found = {
        trial.seed: Predictions.load(folder / trial.run_dir / "evaluate" / PREDICTIONS_FILE)
        for trial in study.trials
        if trial.levels[FACTOR] == level
    }
    return np.stack([found[seed].right for seed in SEEDS])


def mean_text(values: np.ndarray, *, signed: bool = False) -> str:
    """A mean of shares with its t interval, in percent or points."""
    sign = "+" if signed else ""
    low, high = student_t(values) or (-math.inf, math.inf)
    mean, *ends = (f"{100 * each:{sign}.2f}" for each in (values.mean(), low, high))
    return f"{mean} ({(' to ' if signed else '–').join(ends)}, n={len(values)})"


def verdict(values: np.ndarray) -> str:
    """Is the mean difference shown to be above minus the margin, at 2.5 % one-sided?"""
    low = (student_t(values) or (-math.inf,))[0]
    return "yes" if low > -MARGIN else "not shown"


def text_of(study: Study, folder: Path, epochs: int) -> str:
    """The tables and their conditions."""
    base, other = (right(study, folder, level) for level in LEVELS)
    lines = ["| precision | test top-1, % | by seed |", "|---|---|---|"]
    for level, hits in zip(LEVELS, (base, other), strict=True):
        seeds = ", ".join(f"{100 * each:.2f}" for each in hits.mean(1))
        lines.append(f"| {level} | {mean_text(hits.mean(1))} | {seeds} |")
    changes = {
        "these trainings, other images": other.mean(0) - base.mean(0),  # (images,)
        "other trainings, these images": other.mean(1) - base.mean(1),  # (seeds,)
    }
    points = f"not worse than {100 * MARGIN:g} points"
    lines += ["", f"| {LEVELS[1]} minus {LEVELS[0]} | points | {points} |", "|---|---|---|"]
    lines += [
        f"| {name} | {mean_text(values, signed=True)} | {verdict(values)} |"
        for name, values in changes.items()
    ]
    return "\n".join([*lines, "", conditions(study, base.shape[1], epochs)])


def conditions(study: Study, images: int, epochs: int) -> str:
    """What was trained, and where."""
    machine, taken = examine(), dict.fromkeys(LEVELS, 0.0)
    for trial in study.trials:
        taken[trial.levels[FACTOR]] += trial.seconds or 0.0
    minutes = ", ".join(f"{level} {seconds / 60:.1f}" for level, seconds in taken.items())
    return (
        f"Means with 95 % Student's t intervals, over {images:,} test images (each counts with the"
        f" mean over {len(SEEDS)} seeds) or over seeds, paired. {epochs} epochs, the best chosen"
        f" on validation; auto is {machine['precision_auto']}; test images are answered in fp32."
        f" Minutes in all: {minutes}; {machine['threads']} threads, torch {machine['torch']}."
    )


def main() -> None:
    """Run, print, publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="fewer, to try it out")
    parser.add_argument("--images", type=int, help="train on so many, to try it out")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    given = parser.parse_args()
    data = Path(os.environ.get("AUGCOMPRESS_TEST_DATA", "data")) / "fashion-mnist"
    study = perform(recipe(data, given.epochs, given.images), given.runs)
    text = text_of(study, given.runs / NAME, given.epochs)
    print(text)
    if given.write:
        if (given.epochs, given.images) != (EPOCHS, None):
            raise SystemExit("--write: only the whole study is published")
        publish(NAME, text)


if __name__ == "__main__":
    main()
