"""Files that prepare images themselves, against preparation by Pillow, on photographs.

    AUGCOMPRESS_TEST_DATA=data python -m tests.benchmarks.whole_images [--runs DIR]

A network for ten kinds of clothing is exported, and its file is made to prepare images itself, as
`export.input: image` does it.  The first is given images as `predict` prepares them, the second
the decoded pixels, by the five lines of the how-to.  Fills the part `whole-images` of
docs/benchmarks.md.  A quarter of an hour on 2 cores; a stopped one goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

from augcompress.datasets import ImageFolder
from augcompress.evidence import agreement
from augcompress.evidence.formatting import value_text
from augcompress.graphs import read_graph, with_preparation
from augcompress.inference import load_image, load_onnx, softmax
from augcompress.measures.bench import cpu_name, noise
from tests.benchmarks.recipes import publish

WEIGHTS = "imagenet-weights/tf_efficientnet_lite0.safetensors"
SIZE, REPEATS = 128, 5
PREPARATIONS: dict[str, dict[str, Any]] = {
    "bilinear, cropped from 146": {},
    "bicubic, cropped from 128": {"interpolation": "bicubic", "resize": SIZE},
    "bilinear, stretched": {"fit": "stretch"},
    "nearest, cropped from 146": {"interpolation": "nearest"},
}
"""By which settings of the data the network is tried; it was trained with the first."""


def recipe(photos: Path, data: Path) -> dict[str, Any]:
    """The head of a public network, trained for the photographs."""
    return {
        "version": 1,
        "name": "clothing",
        "data": {"kind": "image_folder", "root": str(photos), "size": SIZE},
        "train_teacher": {
            "model": {"kind": "timm", "name": "tf_efficientnet_lite0"},
            "weights": str(data / WEIGHTS),
            "training": {
                "epochs": 2,
                "batch_size": 64,
                "optimizer": {"kind": "adamw", "lr": 0.003},
                "freeze": {"epochs": None},
                "batch_norm": "frozen",
            },
        },
        "export": {"timing": {"rounds": 2}},
    }


def exported(made: dict[str, Any], runs: Path) -> Path:
    """The file; what is done is not done again."""
    file = runs / "clothing.yaml"
    file.write_text(json.dumps(made, indent=1), encoding="utf-8")
    command = [sys.executable, "-m", "augcompress", "run", "--recipe", str(file)]
    command += ["--run-dir", str(runs / "clothing")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return runs / "clothing/export/model.onnx"


def five_lines(session: onnxruntime.InferenceSession, photo: Path) -> np.ndarray:
    """What the how-to shows, to the logits `(classes,)`."""
    image = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
    return session.run(None, {"input": np.asarray(image)})[0][0]


def session_of(file: bytes) -> onnxruntime.InferenceSession:
    """As a user opens it."""
    return onnxruntime.InferenceSession(file)


def prepared(file: Path, resizing: dict[str, Any], photos: list[Path]) -> np.ndarray:
    """Probabilities by a file that takes images as `predict` prepares them."""
    model = load_onnx(file)
    images = (load_image(photo, resizing).transpose(2, 0, 1)[None] for photo in photos)
    return np.concatenate([model.probabilities(image) for image in images])


def row(name: str, by_pillow: np.ndarray, inside: np.ndarray, photos: list[Path]) -> str:
    """A line of the table, with every photograph on which the choices differ."""
    same = agreement(by_pillow, inside)
    differing = np.flatnonzero(by_pillow.argmax(1) != inside.argmax(1))
    named = ", ".join(f"`{photos[place].parent.name}/{photos[place].name}`" for place in differing)
    largest = float(np.abs(by_pillow - inside).max())
    return f"| {name} | {value_text(same)} | {largest:.2g} | {named or 'none'} |"


def whole_file(file: Path, settings: dict[str, Any], photos: Path) -> tuple[bytes, dict[str, Any]]:
    """The file as `export.input: image` makes it, for data with these settings; their resizing."""
    data = ImageFolder(root=str(photos), size=SIZE, **settings)
    made = with_preparation(read_graph(file), data.resizing(), (SIZE, SIZE))
    return made.SerializeToString(), data.resizing()


def rows(photos: Path, file: Path) -> list[str]:
    """A line of the table for each way to prepare images."""
    tests, found = sorted((photos / "test").rglob("*.jpg")), []
    for name, settings in PREPARATIONS.items():
        whole, resizing = whole_file(file, settings, photos)
        session = session_of(whole)
        inside = softmax(np.stack([five_lines(session, photo) for photo in tests]))
        found.append(row(name, prepared(file, resizing, tests), inside, tests))
    return found


def milliseconds(call: Callable[[], object]) -> float:
    """The median of some calls, after one that does not count."""
    taken = []
    for _ in range(REPEATS + 1):
        start = time.thread_time()
        call()
        taken.append(1000 * (time.thread_time() - start))
    return statistics.median(taken[1:])


def cost(whole: bytes) -> str:
    """What resizing a large photograph in the file takes, and what it takes Pillow."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(whole, options)
    large, small = noise((3000, 4000, 3)), noise((SIZE, SIZE, 3))
    inside = milliseconds(lambda: session.run(None, {"input": large}))
    without = milliseconds(lambda: session.run(None, {"input": small}))
    pillow = Image.fromarray(large)
    alone = milliseconds(lambda: pillow.resize((195, 146), Image.Resampling.BILINEAR))
    return (
        f"An image of 3000 x 4000 pixels takes the file {inside:.0f} ms on one thread, one of"
        f" {SIZE} x {SIZE} {without:.1f} ms; Pillow resizes the large one in {alone:.0f} ms"
        f" (medians of n={REPEATS}, CPU time)."
    )


def main() -> None:
    """Run and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    runs = parser.parse_args().runs.absolute()
    data = Path(os.environ.get("AUGCOMPRESS_TEST_DATA", "data")).absolute()
    photos = runs / "photographs"
    if not photos.exists():
        with tarfile.open(data / "clothing/clothing.tar") as packed:
            packed.extractall(photos.with_suffix(".part"), filter="data")
        (photos.with_suffix(".part") / "clothing").rename(photos)
    file = exported(recipe(photos, data), runs)
    lines = [
        "| images | `predict`'s class | largest difference of probability | other choices |",
        "|---|---|---|---|",
        *rows(photos, file),
    ]
    conditions = (
        f"{cpu_name()}, onnxruntime {onnxruntime.__version__}; the test photographs of the clothing"
        " data set; Wilson's 95 % intervals."
    )
    publish(
        "whole-images",
        "\n".join([*lines, "", cost(whole_file(file, {}, photos)[0]), "", conditions]),
    )


if __name__ == "__main__":
    main()
