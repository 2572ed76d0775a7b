"""What pretraining gives with 1 % of the labels: one command fills a table of docs/benchmarks.md.

    AUGCOMPRESS_TEST_DATA=data python -m tests.benchmarks.pretraining [--runs DIR]

The shipped recipe fashion-mnist-few-labels from its pretrained start, from scratch, and the linear
probe alone; ten seeds, which also draw the labels.  Learning rates and the number of seeds were
fixed beforehand; accuracy on all test images, by which nothing is chosen.  Resumable: finished
trainings are read back.  Budget on one core: 45 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from augcompress.evidence.formatting import difference_text, percent, value_text
from augcompress.evidence.records import Measurement
from augcompress.evidence.statistics import student_t
from augcompress.raw import read_raw
from augcompress.running.environment import examine
from augcompress.search import read_study
from augcompress.search.study import Study
from augcompress.storage.runs import read_run
from tests.benchmarks.comparisons import augcompress
from tests.benchmarks.recipes import publish
from tests.benchmarks.studies import change_text

RECIPE, NAME = "fashion-mnist-few-labels.yaml", "pretraining"
SEEDS = [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
"""Ten that nothing was chosen with; their number was fixed before the first was trained."""
RATE = "train_teacher.training.optimizer.lr"
STARTS: dict[str, dict[str, Any]] = {
    "from scratch": {"pipeline": ["train_teacher"], RATE: 0.2},
    "linear probe": {"pipeline": ["pretrain"]},
    "pretrained": {"pipeline": ["pretrain", "train_teacher"], RATE: 0.1},
}
"""Each start that trains at its own learning rate: of 0.05, 0.1 and 0.2 the one with the highest
mean top-1 on validation over seeds 0 to 4."""


def study(data: Path, runs: Path) -> Study:
    """All starts with all seeds, done or read back."""
    return perform(NAME, data, runs, {"vary": {"start": STARTS}, "seeds": SEEDS, "split": "test"})


def perform(name: str, data: Path, runs: Path, how: dict[str, Any]) -> Study:
    """`augcompress search` of the recipe, or what it has left."""
    raw, _, _ = read_raw(RECIPE, [f"data.root={data.resolve()}"])
    raw |= {"name": name, "limits": [], "search": how}
    runs.mkdir(parents=True, exist_ok=True)
    path = runs / f"{name}.yaml"
    path.write_text(json.dumps(raw, indent=1), encoding="utf-8")  # JSON is YAML
    augcompress("search", "--recipe", path, "--run-dir", runs / name)
    return read_study(runs / name)


def table(found: Study) -> str:
    """A row for each start."""
    lines = ["| start | test top-1 | against from scratch |", "|---|---|---|"]
    for cell in found.cells:
        assert cell.measurement is not None
        change = change_text(found, cell.levels)
        lines.append(f"| {cell.levels['start']} | {value_text(cell.measurement)} | {change} |")
    return "\n".join(lines)


def by_seed(found: Study) -> str:
    """What the pretrained start has over scratch with each seed, in points."""
    top1 = {
        (trial.levels["start"], trial.seed): trial.measurement.value
        for trial in found.trials
        if trial.measurement is not None
    }
    gains = [100 * (top1["pretrained", s] - top1["from scratch", s]) for s in SEEDS]
    return f"Pretrained minus from scratch, seed by seed: {', '.join(f'{g:+.2f}' for g in gains)}."


def probes(found: Study, runs: Path) -> str:
    """What the linear probe finds on validation, before and after pretraining, over the seeds."""
    rows = [
        row
        for trial in found.trials
        if trial.levels["start"] == "linear probe"
        for stage in read_run(runs / NAME / trial.run_dir).stages
        if stage.name == "pretrain"
        for row in stage.measurements
    ]
    before = np.mean([row.value for row in rows if row.name == "top1" and row.role == "untrained"])
    gains = np.array([row.value for row in rows if row.name == "top1_difference"])
    low, high = student_t(gains) or (None, None)
    gain = Measurement(name="gain", value=gains.mean(), n=len(gains), low=low, high=high)
    return (
        f"On validation, a linear probe of the untrained network gets {percent(float(before))} %;"
        f" after pretraining {difference_text(gain)}."
    )


def rates_text() -> str:
    """At which learning rates."""
    rates = {name: start[RATE] for name, start in STARTS.items() if RATE in start}
    told = " and ".join(f"{rate:g} {start}" for start, rate in rates.items())
    return f"Learning rates: {told}, fixed beforehand on validation images of other seeds."


def conditions(found: Study) -> str:
    """What was trained on what, and what it took."""
    machine, spent = examine(), found.stages
    each = {
        stage: np.mean([seconds for (name, _), seconds in spent.items() if name == stage])
        for stage in ("pretrain", "train_teacher")
    }
    return (
        "594 labelled images for training and 600 for choosing epochs, another draw with each seed;"
        " pretraining on all 59,400 images without their labels.  Test: 10,000 images.  Means over"
        " n seeds with Student's t intervals, differences paired by seed.  Pretraining takes"
        f" {each['pretrain'] / 60:.1f} minutes, training {each['train_teacher'] / 60:.1f}, on"
        f" average; {sum(spent.values()) / 60:.0f} minutes in all; {machine['threads']} threads,"
        f" torch {machine['torch']}, {machine['precision_auto']}."
    )


def main() -> None:
    """Run and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    runs = parser.parse_args().runs
    data = Path(os.environ.get("AUGCOMPRESS_TEST_DATA", "data")) / "fashion-mnist"
    found = study(data, runs)
    told = f"{by_seed(found)}  {probes(found, runs)}"
    publish(NAME, f"{table(found)}\n\n{told}\n\n{rates_text()}  {conditions(found)}")


if __name__ == "__main__":
    main()
