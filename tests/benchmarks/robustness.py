"""Accuracy under attack: a digits student with and without adversarial training.

    python -m tests.benchmarks.robustness [--runs DIR]

Two studies over the same trainings: robust_top1 and top1, both on the test images, by which nothing
is chosen.  Fills the part `robustness` of docs/benchmarks.md.  Needs no files; a minute on 1 core.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

from augcompress.evidence.formatting import value_text
from augcompress.search.study import Study
from tests.benchmarks.recipes import publish
from tests.benchmarks.studies import change_text, perform

EPSILON = 0.1
ATTACK = {"kind": "pgd", "epsilon": EPSILON, "steps": 20}
RECIPE: dict[str, Any] = {
    "version": 1,
    "name": "robustness",
    "pipeline": ["distill"],
    "data": {"kind": "digits", "validation": 0.2},
    "distill": {
        "student": {"kind": "small_cnn", "widths": [16, 32]},
        "objectives": [{"kind": "labels"}],
        "training": {
            "epochs": 30,
            "batch_size": 32,
            "optimizer": {"kind": "sgd", "lr": 0.1},
            "precision": "fp32",
        },
    },
    "evaluate": {"robustness": [ATTACK], "temperature_scaling": False},
    "search": {
        "until": "distill",
        "seeds": [0, 1, 2],
        "split": "test",
        "vary": {
            "training": {
                "clean images": {},
                "fgsm": {"distill.augment": [{"kind": "fgsm", "epsilon": EPSILON}]},
                "pgd": {"distill.augment": [{"kind": "pgd", "epsilon": EPSILON}]},
            }
        },
    },
}


def study(measure: str, runs: Path) -> Study:
    """What is found for one measure."""
    recipe = copy.deepcopy(RECIPE)
    recipe["search"]["measure"] = measure
    return perform(recipe, runs, f"robustness-{measure}")


def table(clean: Study, robust: Study) -> str:
    """A Markdown table: a row for each training."""
    lines = [
        "| trained on | clean top-1 | against clean training | top-1 under attack |"
        " against clean training |",
        "|---|---|---|---|---|",
    ]
    for place, cell in enumerate(clean.cells):
        cells = [cell.levels["training"]]
        for found in (clean, robust):
            measured = found.cells[place].measurement
            assert measured is not None
            cells += [value_text(measured), change_text(found, cell.levels)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def conditions(robust: Study) -> str:
    """What was attacked, how, and what it took."""
    seconds = sum(robust.stages.values())
    return (
        f"Attack: pgd, epsilon {EPSILON} (L-infinity, images in [0,1]), {ATTACK['steps']} steps"
        " from a random start; training attacks have the same epsilon (pgd: 7 steps).  359 test"
        " images; means over n seeds with Student's t intervals, differences paired by seed;"
        f" {seconds:.0f} s of work on one thread."
    )


def main() -> None:
    """Run and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    runs = parser.parse_args().runs
    clean, robust = (study(measure, runs) for measure in ("top1", "robust_top1"))
    publish("robustness", f"{table(clean, robust)}\n\n{conditions(robust)}")


if __name__ == "__main__":
    main()
