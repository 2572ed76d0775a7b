"""Peak memory while training from a folder: 2,000 against 50,000 images, the same number of steps.

    AUGCOMPRESS_TEST_DATA=data taskset -c 0 python -m tests.benchmarks.memory [--runs DIR]

Trains a tiny network on CIFAR-10 as JPEG files that are decoded anew in each epoch
(`data.in_memory_mb: 0`), three times from each folder, in turns, with nothing remembered of the
files, and adds up the memory of the command and of all processes that it starts (PSS, in which
shared pages count in parts).  Fills the part `memory` of docs/benchmarks.md.  Resumable: what is
measured is read back.  Three minutes on 1 core, and a minute to unpack and link the images.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from augcompress.storage.files import write_aside
from tests.benchmarks.comparisons import public_images
from tests.benchmarks.recipes import publish

SIZES = (2_000, 50_000)
REPETITIONS = 3
BATCH = 50
HELD_OUT = 1_000
"""Validation images, and as many test images: the same ones for both sizes."""
EVERY_S = 0.2


@dataclass(frozen=True)
class Peak:
    """One training."""

    images: int
    """Training images."""
    pss_mb: float
    """Largest sum of PSS over the process tree, in MiB."""
    private_mb: float
    """Largest sum of its anonymous part, which no file backs: what of it is the process's own."""
    rss_mb: float
    """Largest sum of RSS: libraries count whole, whoever else on the machine has loaded them."""
    samples: int
    """Looks at it."""
    seconds: float


def recipe(folder: Path, images: int) -> dict[str, Any]:
    """A tiny network on a folder; the number of steps is the same for every size."""
    model = {"kind": "small_cnn", "widths": [8, 16]}
    training = {"epochs": max(SIZES) // images, "batch_size": BATCH, "precision": "fp32"}
    data = {"kind": "image_folder", "root": str(folder), "size": 32, "in_memory_mb": 0}
    return {
        "version": 1,
        "name": "memory",
        "pipeline": ["train_teacher"],
        "data": data,
        "train_teacher": {"model": model, "training": training},
    }


def linked(source: Path, folder: Path, images: int) -> Path:
    """A folder with so many training images, and the held-out ones, of all classes alike."""
    if folder.is_dir():
        return folder
    aside = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    for part, origin, first, count in (
        ("train", "train", 0, images),
        ("validation", "test", 0, HELD_OUT),
        ("test", "test", HELD_OUT, HELD_OUT),
    ):
        _link(source / origin, aside / part, first, count)
    aside.rename(folder)
    return folder


def _link(source: Path, target: Path, first: int, count: int) -> None:
    classes = sorted(place for place in source.iterdir() if place.is_dir())
    start, own = first // len(classes), count // len(classes)
    for folder in classes:
        (target / folder.name).mkdir(parents=True)
        for file in sorted(folder.iterdir())[start : start + own]:
            os.link(file, target / folder.name / file.name)


def memory_mb(root: int) -> tuple[float, ...]:
    """PSS of a process and of all that descend from it, its anonymous part, and RSS, in MiB."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = _read(stat).rpartition(")")[2].split()
        if fields:
            parents[int(stat.parent.name)] = int(fields[1])
    family, grown = {root}, True
    while grown:
        children = {child for child, parent in parents.items() if parent in family} - family
        family, grown = family | children, bool(children)
    told = [_read(Path(f"/proc/{process}/smaps_rollup")) for process in family]
    return tuple(_sum_mb(told, name) for name in ("Pss:", "Pss_Anon:", "Rss:"))


def _sum_mb(told: list[str], name: str) -> float:
    lines = [line.split() for text in told for line in text.splitlines()]
    return sum(int(line[1]) for line in lines if line[0] == name) / 1024


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # the process has ended
        return ""


def measured(file: Path, images: int, folder: Path) -> Peak:
    """The peak of one training, or what has been found before."""
    if not file.exists():
        found = watched(recipe(folder.resolve(), images), images)
        with write_aside(file) as aside:
            aside.write_text(json.dumps(asdict(found)))
    return Peak(**json.loads(file.read_text()))


def watched(settings: dict[str, Any], images: int) -> Peak:
    """Train, and look at the memory every 0.2 s."""
    with tempfile.TemporaryDirectory() as own:
        file = Path(own, "recipe.yaml")
        file.write_text(json.dumps(settings))  # JSON is YAML
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        environment["XDG_CACHE_HOME"] = own
        command = [sys.executable, "-m", "augcompress", "train-teacher", "--quiet"]
        command += ["--recipe", str(file), "--run-dir", str(Path(own, "run"))]
        started, looks = time.monotonic(), [(0.0, 0.0, 0.0)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as training:
            while training.poll() is None:
                looks.append(memory_mb(training.pid))
                time.sleep(EVERY_S)
    if training.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with {training.returncode}")
    seconds = round(time.monotonic() - started, 1)
    peaks = (max(column) for column in zip(*looks, strict=True))
    return Peak(images, *peaks, samples=len(looks) - 1, seconds=seconds)


def table(found: list[Peak]) -> str:
    """A Markdown table: a row for each size, and the difference of the medians."""
    lines = [
        "| training images | epochs | steps | peak PSS | each run | of it anonymous | peak RSS |",
        "|---|---|---|---|---|---|---|",
    ]
    medians = []
    for images in SIZES:
        own = [one for one in found if one.images == images]
        each = ", ".join(f"{peak:.0f}" for peak in sorted(one.pss_mb for one in own))
        columns = zip(*((one.pss_mb, one.private_mb, one.rss_mb) for one in own), strict=True)
        medians.append([statistics.median(column) for column in columns])
        whole, private, resident = (f"{median:.0f} MiB" for median in medians[-1])
        epochs = max(SIZES) // images
        cells = [f"{images:,}", str(epochs), f"{epochs * images // BATCH:,}"]
        lines.append(f"| {' | '.join([*cells, whole, each, private, resident])} |")
    small, large = medians
    more = [f"{two - one:+.1f} MiB" for one, two in zip(small, large, strict=True)]
    return "\n".join([*lines, f"| difference | | | {more[0]} | | {more[1]} | {more[2]} |"])


def main() -> None:
    """Run and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--again", action="store_true", help="Forget what has been measured.")
    given = parser.parse_args()
    here = given.runs / "memory"
    if given.again:
        shutil.rmtree(here / "peaks", ignore_errors=True)
    source = public_images(
        Path(os.environ.get("AUGCOMPRESS_TEST_DATA", "data")), given.runs / "cifar10"
    )
    folders = {size: linked(source, here / f"images-{size}", size) for size in SIZES}
    found = [
        measured(here / "peaks" / f"{size}-{turn}.json", size, folders[size])
        for turn in range(REPETITIONS)
        for size in SIZES
    ]
    seconds = sum(one.seconds for one in found)
    text = (
        f"{HELD_OUT:,} validation and {HELD_OUT:,} test images, batch {BATCH}, 32x32 pixels, one"
        f" thread, torch {torch.__version__}; n={REPETITIONS} trainings of each, {seconds:.0f} s"
        f" together, looked at every {EVERY_S} s."
    )
    publish("memory", f"{table(found)}\n\n{text}")


if __name__ == "__main__":
    main()
