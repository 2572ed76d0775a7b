"""Where augmented copies go: into one `.npz` file, or into class folders of PNG files."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from augcompress.datasets import Data, Split, in_threads
from augcompress.errors import AugcompressError
from augcompress.storage import link_or_copy, write_aside

ARCHIVE, FOLDER = "augmented.npz", "copies"
BLOCK = 256
UNTOUCHED = ("validation", "test")
MEMBERS = ("x_train", "y_train", "soft_targets", "source")
"""Arrays of a block and of the file."""
_FORBIDDEN = re.compile(r'[\\/:*?"<>|\x00-\x1f]')


def block_file(state: Path, number: int) -> Path:
    """Where the images of a block wait, with their labels."""
    return state / f"block-{number:06d}.npz"


def manifest_file(state: Path, number: int) -> Path:
    """A block's part of the manifest: where it is there, the block is whole."""
    return state / f"manifest-{number:06d}.jsonl"


def keep(state: Path, number: int, arrays: Mapping[str, np.ndarray]) -> None:
    """Keep the arrays of a block until all blocks are there; memory holds one at a time."""
    with write_aside(block_file(state, number)) as aside, aside.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def write_archive(data: Data, state: Path, blocks: int, folder: Path) -> str:
    """One `.npz` file of all blocks, and what a recipe says to read it."""

    def parts(name: str) -> Iterator[np.ndarray]:
        for number in range(blocks):
            with np.load(block_file(state, number), allow_pickle=False) as found:
                yield found[name]

    with (
        write_aside(folder / ARCHIVE) as aside,
        zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        count = sum(len(labels) for labels in parts("y_train"))
        for name in MEMBERS:
            write_member(archive, name, count, parts(name))
        for part in UNTOUCHED:
            split: Split = getattr(data, part)
            write_member(archive, f"x_{part}", len(split), pixels(split))
            write_member(archive, f"y_{part}", len(split), [split.labels])
        classes = np.array(data.classes)
        write_member(archive, "classes", len(classes), [classes])
    return f"data: {{kind: arrays, path: {ARCHIVE}}}"


def write_folders(data: Data, state: Path, blocks: int, folder: Path) -> str:
    """`train/<class>/`, `validation/<class>/` and `test/<class>/`, the last two as they are, and
    what a recipe says to read them.  A block goes as soon as its files are there."""
    root, folders = state / FOLDER, class_folders(data.classes)
    for number in range(blocks):
        if (kept := block_file(state, number)).exists():
            lines = manifest_file(state, number).read_text(encoding="utf-8").splitlines()
            with np.load(kept, allow_pickle=False) as found:
                write_pictures(root, [json.loads(line)["file"] for line in lines], found["x_train"])
            kept.unlink()
    for part in UNTOUCHED:
        split: Split = getattr(data, part)
        pairs = zip(split.labels, split.index, strict=True)
        files = [f"{part}/{folders[k]}/{source:07d}.png" for k, source in pairs]
        for first, images in zip(range(0, len(split), BLOCK), pixels(split), strict=True):
            write_pictures(root, files[first : first + BLOCK], images)
    shutil.copytree(root, folder / FOLDER, copy_function=link_or_copy)
    (height, width), mode = data.size, "L" if data.channels == 1 else "RGB"
    return f"data: {{kind: image_folder, root: {FOLDER}, size: [{height}, {width}], mode: {mode}}}"


FORMATS = {"npz": write_archive, "folder": write_folders}


def write_pictures(root: Path, files: Sequence[str], images: np.ndarray) -> None:
    """PNG files below `root`, each there as a whole or not at all."""
    for parent in {(root / file).parent for file in files}:
        parent.mkdir(parents=True, exist_ok=True)

    def write(place: int) -> None:
        aside = root.parent / f".{files[place].replace('/', '.')}"
        picture(images[place]).save(aside, format="PNG")
        os.replace(aside, root / files[place])

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
