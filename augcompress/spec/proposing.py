"""A recipe for data that nobody has described yet, with its reasons as comments."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import TypeAdapter

from augcompress.component import expand_path
from augcompress.datasets import Dataset, FileSplit, Source, class_counts, printable
from augcompress.errors import AugcompressError

LOOKED_AT = 200
"""Image files whose size and colours are read."""
LARGEST_SIDE = 64
"""Larger images are made so small, which a CPU trains on in minutes."""
SHOWN = 100_000
"""About so many images are shown to a network in all its epochs, within these limits."""
FEWEST_EPOCHS, MOST_EPOCHS = 10, 60
UNEVEN = 3
"""Classes are uneven where the largest has so many times the images of the smallest."""
_PREPARED = {
    "cifar-10-batches-py": "cifar10",
    "cifar-100-python": "cifar100",
    "MNIST": "mnist",
    "FashionMNIST": "fashion_mnist",
    "KMNIST": "kmnist",
}
"""What lies in folders as torchvision leaves them, and the kind that reads it."""


@dataclass(frozen=True)
class Found:
    """What the data are, as far as a recipe depends on it."""

    settings: dict[str, Any]
    """Of `data`."""
    source: Source
    heights: Sequence[int]
    widths: Sequence[int]
    grey: bool

    @property
    def shorter(self) -> int:
        """The median of the images' shorter sides, in pixels."""
        return int(np.median(np.minimum(self.heights, self.widths)))

    @property
    def side(self) -> int:
        """Of the images that networks shall see."""
        return min(self.shorter, LARGEST_SIDE)


def propose_recipe(data: Path, written: str) -> tuple[str, str]:
    """A name, and the text of a recipe for a folder or file of images; `written` is how the recipe
    names it.

    Raises AugcompressError when it holds no images of two classes or more.
    """
    found = look_at(data)
    name = re.sub(r"[^A-Za-z0-9]+", "-", data.resolve().stem).strip("-").lower() or "mine"
    (key,) = {"root", "path", "manifest"} & {*found.settings}
    settings = {**found.settings, key: written}
    return name[:60], _text(name[:60], found, settings)


def look_at(data: Path) -> Found:
    """Raises AugcompressError when there is nothing to train on."""
    data = Path(expand_path(str(data), None))
    if not data.exists():
        raise AugcompressError(f"--data {data}: no such folder or file; check the path")
    settings = _settings(data)
    resized = "size" in settings
    source = _read(settings)
    if not resized:
        channels, height, width = source.train.fetch(np.arange(1)).shape[1:]
        return Found(settings, source, [height], [width], channels == 1)
    heights, widths, grey = _looks(source.train)
    found = Found({**settings, "mode": "L" if grey else "RGB"}, source, heights, widths, grey)
    return Found({**found.settings, "size": found.side}, source, heights, widths, grey)


def _settings(data: Path) -> dict[str, Any]:
    """Which kind of data it is, by what lies there."""
    path = str(data.resolve())
    if data.is_file() and data.suffix == ".npz":
        return {"kind": "arrays", "path": path}
    if data.is_file():
        return {"kind": "image_folder", "manifest": path, "size": LARGEST_SIDE}
    for name, kind in _PREPARED.items():
        if (data / name).is_dir() and ("cifar" in kind or (data / name / "raw").is_dir()):
            return {"kind": kind, "root": path}
    is_hugging_face = any(
        (data / name).is_file() for name in ("dataset_dict.json", "dataset_info.json")
    )
    if is_hugging_face or any(data.glob("data/*.parquet")) or any(data.glob("*.parquet")):
        return {"kind": "hugging_face", "path": path, "size": LARGEST_SIDE}
    return {"kind": "image_folder", "root": path, "size": LARGEST_SIDE}


def _read(settings: dict[str, Any]) -> Source:
    adapter: TypeAdapter[Any] = TypeAdapter(Dataset)
    source: Source = adapter.validate_python(settings).read()
    return source


def _looks(split: Any) -> tuple[list[int], list[int], bool]:
    """Heights and widths of some images, and whether all of these are grey."""
    rows = np.unique(np.linspace(0, len(split) - 1, LOOKED_AT).astype(int))
    if not isinstance(split, FileSplit) or not isinstance(split.files[0], Path):
        shape = split.fetch(rows[:1]).shape
        return [shape[2]], [shape[3]], _is_grey(split.fetch(rows).numpy())
    sizes, modes = [], Counter[str]()
    for row in rows:
        try:
            with Image.open(split.files[split.index[row]]) as image:
                sizes.append(image.size)
                modes[image.mode] += 1
        except OSError:
            continue  # training says which file it is, and what to do
    if not sizes:
        raise AugcompressError(
            f"--data: {split.files[0]} and others cannot be read; check the files"
        )
    widths, heights = map(list, zip(*sizes, strict=True))
    grey = {*modes} <= {"L", "1", "I;16", "I", "LA"} or _is_grey(split.fetch(rows[::8]).numpy())
    return heights, widths, grey


def _is_grey(images: np.ndarray) -> bool:
    """Do all channels of `(N,C,H,W)` say the same?"""
    return bool((np.ptp(images.astype(np.int16), axis=1) <= 2).mean() > 0.999)


def _text(name: str, found: Found, settings: dict[str, Any]) -> str:
    """The recipe."""
    train = len(found.source.train)
    epochs = int(np.clip(round(SHOWN / train), FEWEST_EPOCHS, MOST_EPOCHS))
    batch, rate = (64, 0.05) if train >= 1000 else (16, 0.02)
    widths = [32, 64, 128] if found.side <= 40 else [32, 64, 128, 256]
    half = [width // 2 for width in widths]
    told = (
        f"training: {{epochs: {epochs}, batch_size: {batch}, optimizer: {{kind: sgd, lr: {rate}}}}}"
    )
    lines = [
        *_commented(f"{name}: {_counts(found)}."),
        "#",
        "# Written from the data; change what you know better.  What may stand here:",
        "#   augcompress explain",
        "version: 1",
        f"name: {name}",
        "seed: 0",
        *_commented(_parts_reason(found)),
        *(_commented(_size_reason(found)) if "size" in settings else ()),
        f"data: {_flow(settings)}",
        *_augment(found),
        *_commented(
            f"A plain network, from scratch: nothing is fetched.  {epochs} epochs show it about"
            f" {epochs * train:,} images; more, if the loss still falls at the end: epochs=N."
        ),
        *_pretrained(found),
        "train_teacher:",
        f"  model: {{kind: small_cnn, widths: {widths}}}",
        f"  {told}",
        "# A quarter of the teacher's multiply-adds; it learns from teacher and labels.",
        "distill:",
        f"  student: {{kind: small_cnn, widths: {half}}}",
        f"  {told}",
        "# 8-bit integers: a quarter of the size.",
        "quantize:",
        "  steps: [{kind: static_int8}]",
        "# Promises that `run` and `check` judge; exit code 3 when one is not kept.",
        "# limits:",
        "#   - {measure: top1, baseline: teacher, at_most_worse: 0.03}",
    ]
    return "\n".join(lines) + "\n"


def _counts(found: Found) -> str:
    source = found.source
    parts = {"training": source.train, "validation": source.validation, "test": source.test}
    told = [
        f"{len(part):,} {name}" for name, part in parts.items() if part is not None and len(part)
    ]
    names = [printable(one) for one in source.classes[:4]]
    more = [f"{len(source.classes) - 4} more"] if len(source.classes) > 4 else []
    kinds = f"{len(source.classes)} classes ({', '.join([*names, *more])})"
    return f"{' + '.join(told)} images, {'grey' if found.grey else 'colour'}, {kinds}"


def _parts_reason(found: Found) -> str:
    """Which parts the data have, and which are drawn."""
    source = found.source
    if not len(source.test):
        return "No test part is there: the validation part is tested on, and another one is drawn."
    cut = [
        *(["test"] if _draws_test(found) else []),
        *(["validation"] if source.validation is None else []),
    ]
    if not cut:
        return "The parts are those of the data."
    which = " and no ".join(cut)
    return f"No {which} part is there: images are drawn for it, every class in its share."


def _draws_test(found: Found) -> bool:
    """Does the share that a recipe asks for decide how many test images there are?"""
    field = {"image_folder": "test", "hugging_face": "test_share"}.get(found.settings["kind"])
    if field is None:
        return False
    return len(_read({**found.settings, field: 0.4}).test) != len(found.source.test)


def _size_reason(found: Found) -> str:
    shorter = found.shorter
    varied = "" if len({*zip(found.heights, found.widths, strict=True)}) == 1 else " (the median)"
    told = f"The images' shorter side has {shorter} pixels{varied}"
    if shorter <= LARGEST_SIDE:
        return f"{told}: they are used as large as they are."
    return (
        f"{told}: {found.side} are trained on in minutes on a CPU.  128 show more and cost four"
        " times the time, size=128."
    )


def _augment(found: Found) -> list[str]:
    """Augmentations that are safe, as far as can be told, and what is done about uneven classes."""
    shift = max(1, found.side // 8)
    moves = ["    - {kind: affine, degrees: 8, translate: 0.08, scale: [0.92, 1.08]}"]
    reason = "Small moves change no label.  No flips: grey images may be text."
    if not found.grey:
        reason = (
            "Photographs keep their label when they are shifted, mirrored, brighter or darker."
            "  Leave out the flip where left and right differ (text, signs)."
        )
        moves = [
            f"    - {{kind: random_crop, padding: {shift}, fill: reflect}}",
            "    - {kind: horizontal_flip}",
            "    - {kind: color_jitter, brightness: 0.2, contrast: 0.2}",
        ]
    counts = class_counts(np.asarray(found.source.train.labels), len(found.source.classes))
    lines = [*_commented(reason), "augment:", "  pipeline:", *moves]
    if counts.max() >= UNEVEN * counts.min():
        why = f"The largest class has {counts.max():,} training images, the smallest"
        lines += _commented(f"{why} {counts.min():,}: rare ones are shown more often.", "  ")
        lines += ["  sampling: {class_balance: {kind: square_root}}"]
    return lines


def _pretrained(found: Found) -> list[str]:
    if found.shorter < 2 * LARGEST_SIDE or found.grey or "size" not in found.settings:
        return []
    return _commented(
        "Photographs gain most from ImageNet's weights, which are fetched once: size=160, and"
        " model: {kind: torchvision, name: mobilenet_v2, pretrained: true}, with lr: 0.01 and"
        " 5 epochs."
    )


def _flow(settings: dict[str, Any]) -> str:
    """A mapping on one line; text in quotes where YAML wants them."""
    told = [
        f"{key}: {value if not isinstance(value, str) or value.isidentifier() else _quoted(value)}"
        for key, value in settings.items()
    ]
    return f"{{{', '.join(told)}}}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _commented(text: str, indent: str = "") -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(
        text,
        98,
        initial_indent=start,
        subsequent_indent=start,
        break_long_words=False,
        break_on_hyphens=False,
    )
