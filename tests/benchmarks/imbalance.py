"""Recall of a rare class: digits with one class cut to 2 %, with and without class balance.

    python -m tests.benchmarks.imbalance [--runs DIR]

Two studies over the same trainings: the recall of the rare class and top1, both on the test images,
by which nothing is chosen.  Fills the part `imbalance` of docs/benchmarks.md.  Needs no files; a
minute on 1 core.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

from augcompress.datasets import DataFacts, class_counts
from augcompress.datasets.digits import Digits
from augcompress.evidence.formatting import value_text
from augcompress.search.study import Study
from tests.benchmarks.recipes import publish
from tests.benchmarks.studies import change_text, perform

RARE = "8"
BALANCES = ("square_root", "balanced", "label_shuffle", "rare_strength")
DATA: dict[str, Any] = {"validation": 0.3, "keep": {RARE: 0.02}}
RECIPE: dict[str, Any] = {
    "version": 1,
    "name": "imbalance",
    "pipeline": ["distill"],
    "data": {"kind": "digits", **DATA},
    "augment": {
        "pipeline": [
            {
                "kind": "affine",
                "degrees": 10,
                "translate": 0.1,
                "scale": [0.9, 1.1],
                "probability": 0.5,
            }
        ]
    },
    "distill": {
        "student": {"kind": "small_cnn", "widths": [16, 32]},
        "objectives": [{"kind": "labels"}],
        "training": {
            "epochs": 20,
            "batch_size": 32,
            "optimizer": {"kind": "sgd", "lr": 0.1},
            "precision": "fp32",
        },
    },
    "evaluate": {"temperature_scaling": False},
    "search": {
        "until": "distill",
        "seeds": [0, 1, 2, 3, 4],
        "split": "test",
        "vary": {
            "balance": {"none": {}}
            | {kind: {"augment.sampling.class_balance": {"kind": kind}} for kind in BALANCES}
        },
    },
}


def study(measure: str, runs: Path) -> Study:
    """What is found for one measure."""
    recipe = copy.deepcopy(RECIPE)
    recipe["search"] |= {"measure": measure} | ({"label": RARE} if measure == "recall" else {})
    return perform(recipe, runs, f"imbalance-{measure}")


def table(recall: Study, top1: Study) -> str:
    """A Markdown table: a row for each way of balancing."""
    lines = [
        f"| class_balance | recall of {RARE} | against none | top-1 | against none |",
        "|---|---|---|---|---|",
    ]
    for place, cell in enumerate(recall.cells):
        cells = [cell.levels["balance"]]
        for found in (recall, top1):
            measured = found.cells[place].measurement
            assert measured is not None
            cells += [value_text(measured), change_text(found, cell.levels)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def conditions(top1: Study) -> str:
    """How rare, how many, and what it took."""
    data = Digits(**DATA).build(DataFacts(seed=0))
    train, test = (class_counts(part.labels, 10) for part in (data.train, data.test))
    rare, others = int(train[int(RARE)]), train.sum() - train[int(RARE)]
    seconds = sum(top1.stages.values())
    return (
        f"Training: {rare} images of class {RARE}, {others / 9:.0f} of each other on average; which"
        f" ones, the seed decides.  Test: {len(data.test)} images, {test[int(RARE)]} of class"
        f" {RARE}.  Means over n seeds with Student's t intervals, differences paired by seed;"
        f" {seconds:.0f} s of work on one thread."
    )


def main() -> None:
    """Run and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    runs = parser.parse_args().runs
    recall, top1 = (study(measure, runs) for measure in ("recall", "top1"))
    publish("imbalance", f"{table(recall, top1)}\n\n{conditions(top1)}")


if __name__ == "__main__":
    main()
