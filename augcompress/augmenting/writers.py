"""Where augmented copies go: into one `.npz` file, or into class folders of PNG files."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from augcompress.datasets import Data, Split
from augcompress.datasets.splits import in_threads
from augcompress.errors import AugcompressError
from augcompress.storage import link_or_copy, write_aside

ARCHIVE, FOLDER = "augmented.npz", "copies"
BLOCK = 256
UNTOUCHED = ("validation", "test")
MEMBERS = {"x_train": "x", "y_train": "y", "soft_targets": "targets", "source": "source"}
"""Arrays of the file, and what they are called in a block."""
_FORBIDDEN = re.compile(r'[\\/:*?"<>|\x00-\x1f]')


@dataclass(frozen=True)
class Block:
    """Augmented images of one batch."""

    images: np.ndarray
    """uint8 `(N,C,H,W)`"""
    targets: np.ndarray
    """Soft targets `(N,classes)`."""
    rows: list[dict[str, Any]]
    """The manifest's line of each."""

    @property
    def labels(self) -> np.ndarray:
        """`(N,)` the class with the largest share."""
        return self.targets.argmax(1)


class Writer(ABC):
    """Keeps blocks in `state` until all are there; then makes a data set of them."""

    def __init__(self, data: Data, state: Path) -> None:
        self.data, self.state = data, state

    @abstractmethod
    def add(self, number: int, first: int, block: Block) -> None:
        """Keep a block, whose images are the ones from `first` on, and say in its rows where."""

    @abstractmethod
    def finish(self, folder: Path, blocks: int) -> str:
        """Put the data set into `folder`, and what a recipe says to read it; returns that."""


class ArchiveWriter(Writer):
    """An `.npz` file; memory holds one block at a time."""

    def add(self, number: int, first: int, block: Block) -> None:
        for row, line in enumerate(block.rows, start=first):
            line["row"] = row
        sources = np.array([line["source"] for line in block.rows], dtype=np.int64)
        with write_aside(self._path(number)) as aside, aside.open("wb") as file:
            np.savez(file, x=block.images, targets=block.targets, y=block.labels, source=sources)

    def finish(self, folder: Path, blocks: int) -> str:
        with (
            write_aside(folder / ARCHIVE) as aside,
            zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            count = sum(len(labels) for labels in self._parts(blocks, "y"))
            for name, part in MEMBERS.items():
                write_member(archive, name, count, self._parts(blocks, part))
            for part in UNTOUCHED:
                split: Split = getattr(self.data, part)
                write_member(archive, f"x_{part}", len(split), pixels(split))
                write_member(archive, f"y_{part}", len(split), [split.labels])
            classes = np.array(self.data.classes)
            write_member(archive, "classes", len(classes), [classes])
        return f"data: {{kind: arrays, path: {ARCHIVE}}}"

    def _parts(self, blocks: int, name: str) -> Iterator[np.ndarray]:
        for number in range(blocks):
            with np.load(self._path(number), allow_pickle=False) as found:
                yield found[name]

    def _path(self, number: int) -> Path:
        return self.state / f"block-{number:06d}.npz"


class FolderWriter(Writer):
    """`train/<class>/`, `validation/<class>/` and `test/<class>/`, the last two as they are."""

    def __init__(self, data: Data, state: Path) -> None:
        super().__init__(data, state)
        self.folders = class_folders(data.classes)
        self.root = state / FOLDER

    def add(self, number: int, first: int, block: Block) -> None:
        names = [f"{line['source']:07d}-{line['epoch']}.png" for line in block.rows]
        files = [f"train/{self.folders[k]}/{n}" for k, n in zip(block.labels, names, strict=True)]
        for line, file in zip(block.rows, files, strict=True):
            line["file"] = file
        self._write(files, block.images)

    def finish(self, folder: Path, blocks: int) -> str:
        for part in UNTOUCHED:
            split: Split = getattr(self.data, part)
            pairs = zip(split.labels, split.index, strict=True)
            files = [f"{part}/{self.folders[k]}/{source:07d}.png" for k, source in pairs]
            for first, images in zip(range(0, len(split), BLOCK), pixels(split), strict=True):
                self._write(files[first : first + BLOCK], images)
        shutil.copytree(self.root, folder / FOLDER, copy_function=link_or_copy)
        height, width = self.data.size
        mode = "L" if self.data.channels == 1 else "RGB"
        return (
            f"data: {{kind: image_folder, root: {FOLDER}, size: [{height}, {width}], mode: {mode}}}"
        )

    def _write(self, files: Sequence[str], images: np.ndarray) -> None:
        for parent in {(self.root / file).parent for file in files}:
            parent.mkdir(parents=True, exist_ok=True)

        def write(place: int) -> None:
            aside = self.state / f".{files[place].replace('/', '.')}"
            picture(images[place]).save(aside, format="PNG")
            os.replace(aside, self.root / files[place])

        for _ in in_threads(write, range(len(files))):
            pass  # the files are in place; an error surfaces here


def picture(image: np.ndarray) -> Image.Image:
    """An image file's content from uint8 `(C,H,W)`."""
    return Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))


def pixels(split: Split) -> Iterator[np.ndarray]:
    """The images of a split, uint8 `(n,C,H,W)`, a block at a time."""
    for start in range(0, len(split), BLOCK):
        yield split.fetch(np.arange(start, min(start + BLOCK, len(split)))).numpy()


def write_member(
    archive: zipfile.ZipFile, name: str, count: int, parts: Iterable[np.ndarray]
) -> None:
    """One array of an `.npz` file, of `count` rows that come in parts; equal arrays are equal
    bytes."""
    waiting = iter(parts)
    first = next(waiting)
    info = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, whenever it is written
    info.compress_type = zipfile.ZIP_DEFLATED
    header = {
        "descr": np.lib.format.dtype_to_descr(first.dtype),
        "fortran_order": False,
        "shape": (count, *first.shape[1:]),
    }
    with archive.open(info, "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in chain([first], waiting):
            file.write(np.ascontiguousarray(part).tobytes())


def class_folders(classes: Sequence[str]) -> list[str]:
    """A folder's name for each class: its own, without what file systems forbid.

    Raises AugcompressError when two classes would share a folder.
    """
    names = [_FORBIDDEN.sub("_", name).strip(" .") or "_" for name in classes]
    by_name: dict[str, str] = {}
    for name, given in zip(names, classes, strict=True):
        if name.lower() in by_name:
            raise AugcompressError(
                f"augment.offline.format: the classes {by_name[name.lower()]} and {given} would"
                " share a folder; use npz, or rename one"
            )
        by_name[name.lower()] = given
    return names
