"""Augmented copies on disk: made block by block, so that a killed job goes on where it was.

A block is a batch of one epoch.  It is finished when its part of the manifest is there; one that is
not is made again, the same images.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from augcompress.augmentations import Pipeline, Recorder, build_pipeline
from augcompress.augmenting.writers import (
    BLOCK,
    FORMATS,
    MEMBERS,
    class_folders,
    keep,
    manifest_file,
)
from augcompress.batch import Batch, Progress
from augcompress.datasets import Batches
from augcompress.running import Context
from augcompress.spec import Offline
from augcompress.storage import STATE_FOLDER, write_aside

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
    return [Path(os.path.relpath(file, root)).as_posix() for file in files]


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
