"""Comparisons on real data: one command fills the comparisons of docs/benchmarks.md.

    AUGCOMPRESS_TEST_DATA=data python -m tests.benchmarks.comparisons [--only public] [--runs DIR]

`public`: the public CIFAR-10 networks against each other and against their int8 files, on the JPEG
test images.  `fashion`: the shipped Fashion-MNIST file against its float network and its teacher;
needs the run of `python -m tests.benchmarks.recipes`.  `study`: the grid study on digits.
Resumable: finished stages are read back.  Budget on 2 cores: public 8 minutes, fashion 1, study 3.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

from augcompress.evidence.differences import Comparison
from augcompress.evidence.formatting import difference_text, value_text
from tests.benchmarks.recipes import publish

CIFAR = "cifar10-resnet56-to-resnet20.yaml"
WEIGHTS = {20: "resnet20-12fca82f.th", 56: "resnet56-4bfd9763.th"}


def augcompress(*arguments: object) -> str:
    """The command line; what it prints on standard output."""
    command = [sys.executable, "-m", "augcompress", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def public_images(data: Path, folder: Path) -> Path:
    """The JPEG images of CIFAR-10 as class folders, unpacked once."""
    for part in ("train", "test"):
        if not (folder / part).is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            with tarfile.open(data / "cifar10-jpeg" / f"cifar10-jpeg-{part}.tar.xz") as archive:
                archive.extractall(folder, filter="data")
    return folder


def public(data: Path, runs: Path) -> str:
    """ResNet-20 and ResNet-56 as they are, and their files in int8."""
    images = public_images(data, runs / "cifar10")
    for depth, file in WEIGHTS.items():
        settings = {
            "data.root": images.resolve(),
            "data.validation_from": "train",
            "data.validation": 0.04,
            "train_teacher.weights": (data / "cifar10-resnets" / file).resolve(),
            "train_teacher.model.depth": depth,
            "pipeline": "[train_teacher, quantize]",
            "quantize.steps.0.samples": 1024,
            "limits": "[]",
        }
        given = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        where = ("--recipe", CIFAR, "--run-dir", runs / f"resnet{depth}")
        augcompress("run", *where, *given)
    folders = {depth: runs / f"resnet{depth}" for depth in WEIGHTS}
    pairs = [
        (folders[20] / "train_teacher", folders[56] / "train_teacher"),
        (folders[20] / "train_teacher", folders[20] / "quantize"),
        (folders[56] / "train_teacher", folders[56] / "quantize"),
    ]
    return rows_of([compared(*pair) for pair in pairs], runs)


def fashion(data: Path, runs: Path) -> str:
    """The shipped file against what it stands for."""
    run = runs / "fashion-mnist"
    return rows_of([compared(run / "train_teacher", run), compared(run / "prune", run)], runs)


def compared(left: Path, right: Path) -> Comparison:
    """What `augcompress compare` says of two models."""
    found = json.loads(augcompress("compare", left, right, "--json"))
    return Comparison.model_validate({k: found[k] for k in Comparison.model_fields})


def rows_of(found: list[Comparison], runs: Path) -> str:
    """A Markdown table: a row for each comparison."""
    lines = [
        "| model | top-1 | minus | top-1 | difference (Tango) | paired bootstrap | exact McNemar |"
        " not worse than 0.5 points (95 %) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for comparison in found:
        for pair in comparison.pairs:
            names = [name.removeprefix(f"{runs}/") for name in (pair.model, pair.baseline)]
            base, model = pair.top1
            p = "p < 0.0001" if (pair.p_value or 0) < 1e-4 else f"p = {pair.p_value:.2g}"
            apart = f"{pair.only_model_right} : {pair.only_baseline_right}"
            shown = "yes" if pair.not_worse else "not shown"
            tango, bootstrap = (difference_text(one) for one in pair.differences[:2])
            cells = [names[0], value_text(model), names[1], value_text(base), tango, bootstrap]
            lines.append(f"| {' | '.join(cells)} | {p} ({apart}) | {shown} |")
    return "\n".join(lines)


def study(data: Path, runs: Path) -> str:
    """What the study prints."""
    text = augcompress("search", "--recipe", "digits-study.yaml", "--run-dir", runs / "study")
    return f"```text\n{text.rstrip()}\n```"


MAKERS = {"public": public, "fashion": fashion, "study": study}


def main() -> None:
    """Run and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=MAKERS)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    given = parser.parse_args()
    data = Path(os.environ.get("AUGCOMPRESS_TEST_DATA", "data"))
    for name in [given.only] if given.only else MAKERS:
        publish(f"compare-{name}", MAKERS[name](data, given.runs))


if __name__ == "__main__":
    main()
