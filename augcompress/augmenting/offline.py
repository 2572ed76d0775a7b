"""Augmented copies on disk: made block by block, so that a killed job goes on where it was.

A block is a batch of one epoch.  It is finished when its part of the manifest is there; one that is
not is made again, the same images.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from augcompress.augmentations import Pipeline, Recorder, build_pipeline
from augcompress.batch import Batch, Progress
from augcompress.datasets import Batches, Data, Split, in_threads, printable
from augcompress.errors import AugcompressError
from augcompress.running import Context
from augcompress.spec import Offline
from augcompress.storage import STATE_FOLDER, link_or_copy, write_aside

MANIFEST = "manifest.jsonl"


def write_copies(context: Context, offline: Offline, folder: Path) -> list[str]:
    """Each training image `copies` times, augmented as in epochs 0, 1, …, in `folder`, with the
    manifest; returns what there is, in sentences."""
    state = folder / STATE_FOLDER
    state.mkdir(parents=True, exist_ok=True)
    blocks = make_blocks(context, offline, state)
    reading = FORMATS[offline.format](context.data, state, blocks, folder)
    with write_aside(folder / MANIFEST) as aside, aside.open("wb") as file:
        for number in range(blocks):
            file.write(manifest_file(state, number).read_bytes())
    count = offline.copies * len(context.data.train)
    notes = [f"{count} augmented images, drawn as {MANIFEST} says; read them with {reading}"]
    if offline.format == "folder" and _mixes(folder / MANIFEST):
        notes.append(
            "some copies are mixed of two classes; in folders each lies with the larger share, and"
            f" only {MANIFEST} has the shares"
        )
    return notes


def make_blocks(context: Context, offline: Offline, state: Path) -> int:
    """Make the blocks that are not there yet; returns how many there are in all."""
    data, seed, reporter = context.data, context.spec.seed, context.reporter
    batches = Batches(data.train, len(data.classes), BLOCK, shuffle=True, seed=seed)
    pipeline = build_pipeline(list(context.spec.augment.pipeline), context.augmentation_facts)
    total, names = offline.copies * len(batches), source_names(context)
    folders = class_folders(data.classes) if offline.format == "folder" else None
    done = next((n for n in range(total) if not manifest_file(state, n).exists()), total)
    if done:
        reporter.message(f"resuming augment at batch {done} of {total}")
    reporter.start("augment", total, "batch")
    if done:
        reporter.advance(done)
    for epoch in range(done // len(batches), offline.copies):
        start = max(0, done - epoch * len(batches))
        for step, batch in enumerate(batches.epoch(epoch, start), start):
            number = epoch * len(batches) + step
            arrays, rows = augmented(context, pipeline, batch, epoch, names)
            first = epoch * len(data.train) + step * BLOCK
            for row, (line, label) in enumerate(zip(rows, arrays["y_train"], strict=True), first):
                line |= {"row": row} if folders is None else {"file": file_of(line, folders[label])}
            keep(state, number, arrays)
            with write_aside(manifest_file(state, number)) as aside:
                aside.write_text(_lines(rows), encoding="utf-8")
            reporter.advance(1)
    reporter.finish()
    return total


def augmented(
    context: Context, pipeline: Pipeline, batch: Batch, epoch: int, names: Sequence[str]
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """A batch as an epoch shows it, and what was drawn for each image: its line of the manifest."""
    seed, recorder = context.spec.seed, Recorder()
    with torch.no_grad():
        seen = pipeline(batch, seed=seed, progress=Progress(epoch=epoch), draws_maker=recorder)
    assert seen.targets is not None
    sources = batch.index.tolist()
    drawn = recorder.rows() or [[] for _ in sources]
    rows: list[dict[str, Any]] = []
    for source, target, did in zip(sources, seen.targets.tolist(), drawn, strict=True):
        line: dict[str, Any] = {"source": source, "seed": seed, "epoch": epoch}
        if names:
            line["source_file"] = names[source]
        line["target"] = _shares(target, context.data.classes)
        line["operations"] = _named(context.spec.augment.pipeline, did)
        rows.append(line)
    images, targets = seen.images().mul(255).round().byte().numpy(), seen.targets.numpy()
    arrays = (images, targets.argmax(1), targets, np.array(sources, dtype=np.int64))
    return dict(zip(MEMBERS, arrays, strict=True)), rows


def file_of(line: Mapping[str, Any], folder: str) -> str:
    """The file of an image's copy, below the data set's folder."""
    return f"train/{folder}/{line['source']:07d}-{line['epoch']}.png"


def source_names(context: Context) -> list[str]:
    """The files of the source's images, by their place there, relative to its folder; none where
    images do not come from files of their own."""
    files = getattr(context.data.train, "files", ())
    if not files:
        return []
    settings = context.spec.data
    root = getattr(settings, "root", None) or Path(getattr(settings, "manifest", ".")).parent
    return [printable(Path(os.path.relpath(file, root)).as_posix()) for file in files]


def _shares(target: Sequence[float], classes: Sequence[str]) -> dict[str, float]:
    pairs = zip(classes, target, strict=True)
    return {name: float(f"{share:.6g}") for name, share in pairs if share > 0}


def _named(settings: Sequence[Any], drawn: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"kind": s.kind, **did} for s, did in zip(settings, drawn, strict=True)]


def _lines(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _mixes(manifest: Path) -> bool:
    with manifest.open(encoding="utf-8") as lines:
        return any(len(json.loads(line)["target"]) > 1 for line in lines)


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
