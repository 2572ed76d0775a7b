"""What augmentation does on Fashion-MNIST: one command fills two tables of docs/benchmarks.md.

    AUGCOMPRESS_TEST_DATA=data python -m tests.benchmarks.augmentation_effect [--only gain]

`gain`: a student with the recipe's augmentation against the same student without, several seeds, on
10,000 training images, accuracy on all test images (`augcompress search`).  `measure`: what
`augcompress augment --measure` says of each augmentation.  Resumable: finished trainings are read
back.  Budget on one core: gain 25 minutes, measure 60.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from augcompress.running.environment import examine
from augcompress.search import read_study
from augcompress.storage.runs import read_run
from tests.benchmarks.comparisons import augcompress
from tests.benchmarks.recipes import publish

PIPELINE = [{"kind": "random_crop", "padding": 2}, {"kind": "horizontal_flip"}]
STUDENT = {"kind": "cifar_resnet", "depth": 8, "widths": [16, 32, 64], "option": "B"}
IMAGES, EPOCHS, SEEDS = 10_000, 20, [0, 1, 2, 3, 4]
CANDIDATES = ("affine", "color_jitter", "random_erasing", "mixup", "cutmix", "trivial_augment")
MEASURED = {
    "candidates": [{"kind": kind} for kind in CANDIDATES],
    "subset": 2000,
    "epochs": 40,
    "seeds": SEEDS,
}
MEASURED_VALIDATION = 0.0333  # 2,000 images: each of the 45 trainings looks at them 40 times


def recipe(data: Path, name: str, **more: Any) -> dict[str, Any]:
    """A student of labels alone."""
    return {
        "version": 1,
        "name": name,
        "data": {"kind": "fashion_mnist", "root": str(data.resolve()), "validation": 0.0833},
        "pipeline": ["distill"],
        "distill": {
            "student": STUDENT,
            "objectives": [{"kind": "labels"}],
            "training": {"epochs": EPOCHS},
        },
        **more,
    }


def written(raw: dict[str, Any], folder: Path) -> Path:
    """The recipe as a file (JSON is YAML)."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{raw['name']}.yaml"
    path.write_text(json.dumps(raw, indent=1), encoding="utf-8")
    return path


def gain(data: Path, runs: Path) -> str:
    """With and without, on test: nothing is chosen by it."""
    raw = recipe(
        data,
        "augmentation-gain",
        search={
            "vary": {"augmentation": {"none": {}, "crop and flip": {"distill.augment": PIPELINE}}},
            "seeds": SEEDS,
            "split": "test",
        },
    )
    raw["data"]["subset"] = IMAGES
    text = augcompress("search", "--recipe", written(raw, runs), "--run-dir", runs / raw["name"])
    study = read_study(runs / raw["name"])
    trained = sum(seconds for (stage, _), seconds in study.stages.items() if stage == "distill")
    return (
        f"```text\n{text.rstrip()}\n```\n\nResNet-8 (widths 16, 32, 64; {parameters(study, runs)}"
        f" parameters), {IMAGES:,} training images, {EPOCHS} epochs, {len(SEEDS)} seeds, the epoch"
        f" chosen on validation; {trained / 60:.1f} minutes of training, {conditions()}."
    )


def measure(data: Path, runs: Path) -> str:
    """The table of `--measure`."""
    raw = recipe(data, "augmentation-measure", augment={"pipeline": PIPELINE, "measure": MEASURED})
    raw["data"]["validation"] = MEASURED_VALIDATION
    path, folder = written(raw, runs), runs / raw["name"]
    text = augcompress("augment", "--measure", "--recipe", path, "--run-dir", folder)
    study = read_study(folder.with_name(folder.name + "-measure"))
    return (
        f"```text\n{text.rstrip()}\n```\n\nThe same network; {sum(study.stages.values()) / 60:.1f}"
        f" minutes of training, {conditions()}."
    )


def parameters(study: Any, runs: Path) -> str:
    """The student's, as its stage measured them."""
    run = read_run(runs / "augmentation-gain" / study.trials[0].run_dir)
    rows = [row for stage in run.stages for row in stage.measurements if row.name == "parameters"]
    return f"{rows[0].value:,.0f}"


def conditions() -> str:
    """Where it was run."""
    machine = examine()
    return f"{machine['threads']} threads, torch {machine['torch']}, {machine['precision_auto']}"


MAKERS = {"gain": gain, "measure": measure}


def main() -> None:
    """Run and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=MAKERS)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    given = parser.parse_args()
    data = Path(os.environ.get("AUGCOMPRESS_TEST_DATA", "data")) / "fashion-mnist"
    for name in [given.only] if given.only else MAKERS:
        publish(f"augmentation-{name}", MAKERS[name](data, given.runs))


if __name__ == "__main__":
    main()
