"""Decoding of image files: threads against processes, and JPEG files at a part of their size.

    AUGCOMPRESS_TEST_DATA=data python -m tests.benchmarks.decoding [--runs DIR]

Images per second of batches read from files, as ratios of rounds in turns; what scaled decoding
gains and changes on photographs; and its effect on accuracy where it is largest: CIFAR-10 at 8
pixels, decoded at 16, so that all that a network sees has gone through it.  Fills the part
`decoding` of docs/benchmarks.md.  Resumable; five minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader, Dataset

from augcompress.datasets.image_folder import ImageFolder
from augcompress.datasets.splits import decode
from augcompress.evidence.formatting import value_text
from augcompress.inference.images import load_image
from augcompress.system.cpus import available_cpus
from tests.benchmarks.comparisons import public_images
from tests.benchmarks.recipes import publish
from tests.benchmarks.studies import change_text, perform

ROUNDS = 5
PHOTOGRAPHS = 480
SMALL = 8_000
SCALED = (((500, 375), 64), ((1280, 960), 128), ((1920, 1080), 224), ((4032, 3024), 224))
"""Sizes of photographs, and of the images that networks see."""
RECIPE: dict[str, Any] = {
    "version": 1,
    "name": "decoding",
    "pipeline": ["distill"],
    "distill": {
        "student": {"kind": "small_cnn", "widths": [32, 64]},
        "objectives": [{"kind": "labels"}],
        "training": {"epochs": 5, "optimizer": {"kind": "sgd", "lr": 0.1}, "precision": "fp32"},
    },
    "evaluate": {"temperature_scaling": False},
    "search": {
        "until": "distill",
        "measure": "top1",
        "split": "test",
        "seeds": [0, 1, 2, 3, 4],
        "vary": {"decoding": {kind: {"data.decoding": kind} for kind in ("full", "auto")}},
    },
}


class Images(Dataset):
    """What a DataLoader's worker does for an image."""

    def __init__(self, files: list[Path], resizing: dict[str, Any]) -> None:
        self.files, self.resizing = files, resizing

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> torch.Tensor:
        pixels = load_image(self.files[row], self.resizing).transpose(2, 0, 1)
        return torch.from_numpy(pixels.copy())


def in_turn(files: list[Path], resizing: dict[str, Any], size: int) -> Iterable[Any]:
    """Batches decoded one image after the other."""
    images = Images(files, resizing)
    for start in range(0, len(files), size):
        yield torch.stack([images[row] for row in range(start, min(start + size, len(files)))])


def ours(files: list[Path], resizing: dict[str, Any], size: int) -> Iterable[Any]:
    """Batches decoded on threads."""
    for start in range(0, len(files), size):
        yield decode(files[start : start + size], resizing)


def images_per_s(batches: Iterable[Any], count: int) -> float:
    """Speed once the first batch is there: processes are not charged for their start."""
    waiting = iter(batches)
    first = len(next(waiting))
    started = time.perf_counter()
    for _ in waiting:
        pass
    return (count - first) / (time.perf_counter() - started)


def speeds(name: str, files: list[Path], resizing: dict[str, Any], size: int) -> str:
    """A row: images per second of one thread, and ratios to it."""
    cpus = available_cpus()
    ways: dict[str, Callable[[], Iterable[Any]]] = {
        "one": lambda: in_turn(files, resizing, size),
        "threads": lambda: ours(files, resizing, size),
        "processes": lambda: DataLoader(Images(files, resizing), size, num_workers=cpus),
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, batches in ways.items():
            found[way].append(images_per_s(batches(), len(files)))
    cells = [name, str(size), f"{statistics.median(found['one']):,.0f}"]
    for way in ("threads", "processes"):
        ratios = [own / one for own, one in zip(found[way], found["one"], strict=True)]
        cells.append(_range(ratios))
    return f"| {' | '.join(cells)} |"


def _range(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


def photographs(folder: Path, size: tuple[int, int]) -> list[Path]:
    """JPEG files of this size: parts of two photographs."""
    files = [folder / f"{number:04d}.jpg" for number in range(PHOTOGRAPHS)]
    if not folder.is_dir():
        folder.mkdir(parents=True)
        whole = [Image.fromarray(image) for image in load_sample_images().images]
        draw = np.random.default_rng(0)
        for number, file in enumerate(files):
            image = whole[number % 2]
            left, top = (
                int(draw.integers(0, s - p + 1)) for s, p in zip(image.size, size, strict=True)
            )
            part = image.crop((left, top, left + size[0], top + size[1]))
            part.save(file, quality=90)
    return files


def scaled(size: tuple[int, int], pixels: int) -> str:
    """A row: speed and grey levels of scaled decoding of photographs of this size."""
    full = ImageFolder(root=".", size=pixels, decoding="full").resizing()
    part = ImageFolder(root=".", size=pixels).resizing()
    contents = [_jpeg(image, size) for image in load_sample_images().images]
    ratios, differences = [], []
    for _ in range(ROUNDS):
        seconds = [_seconds(contents, resizing) for resizing in (full, part)]
        ratios.append(seconds[0] / seconds[1])
    for content in contents:
        one, other = (load_image(content, resizing).astype(int) for resizing in (full, part))
        differences.append(np.abs(one - other).ravel())
    grey = np.concatenate(differences)
    with Image.open(io.BytesIO(contents[0])) as image:
        image.draft(None, (part["scaled_decoding"],) * 2)
        decoded = "x".join(map(str, image.size))
    cells = ["x".join(map(str, size)), decoded, str(pixels), _range(ratios)]
    cells += [f"{grey.mean():.2f}", f"{np.percentile(grey, 99):.0f}", str(grey.max())]
    return f"| {' | '.join(cells)} |"


def _jpeg(image: np.ndarray, size: tuple[int, int]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _seconds(contents: list[bytes], resizing: dict[str, Any], least: float = 0.3) -> float:
    """Time an image takes."""
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < least:
        for content in contents:
            load_image(content, resizing)
        done += len(contents)
    return (time.perf_counter() - started) / done


def accuracy(images: Path, runs: Path) -> str:
    """Accuracy with whole and with scaled decoding of training and test images alike."""
    data = {"kind": "image_folder", "root": str(images.resolve()), "size": 8}
    found = perform({**RECIPE, "data": data}, runs, "decoding-accuracy")
    lines = ["| data.decoding | top-1 | against full |", "|---|---|---|"]
    for cell in found.cells:
        assert cell.measurement is not None
        cells = [cell.levels["decoding"], value_text(cell.measurement)]
        lines.append(f"| {' | '.join(cells)} | {change_text(found, cell.levels)} |")
    return "\n".join(lines)


def main() -> None:
    """Run and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    runs = parser.parse_args().runs
    torch.set_num_threads(1)
    small = public_images(Path(os.environ.get("AUGCOMPRESS_TEST_DATA", "data")), runs / "cifar10")
    step = 50_000 // SMALL
    thumbnails = sorted((small / "train").rglob("*.jpg"))[::step][:SMALL]
    photos = photographs(runs / "photographs", (500, 375))
    at_32, at_224 = (ImageFolder(root=".", size=size).resizing() for size in (32, 224))
    head = "| files | batch | one thread, images/s | threads | DataLoader's processes |"
    rows = [head, "|---|---|---|---|---|"]
    for name, files, resizing in (
        ("32x32, as they are", thumbnails, at_32),
        ("500x375 to 224", photos, at_224),
    ):
        rows += [speeds(name, files, resizing, size) for size in (32, 128)]
    head = "| photograph | decoded at | for networks at | faster by | mean | 99 % | most |"
    rows += ["", head, "|---|---|---|---|---|---|---|"]
    rows += [scaled(size, pixels) for size, pixels in SCALED]
    ends = (
        f"{available_cpus()} CPUs; two photographs, scaled to size, quality 90; medians of {ROUNDS}"
        " rounds in turns and their range; differences from whole decoding in grey levels, 0-255."
    )
    publish("decoding", "\n".join([*rows, "", accuracy(small, runs), "", ends]))


if __name__ == "__main__":
    main()
