"""augment: the contact sheet of the recipe's augmentations; augmented copies where asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from augcompress.assembly.context import Context
from augcompress.assembly.stage import Input, Inputs, Output, Runner, Stage
from augcompress.augmentations import build_pipeline, contact_sheet
from augcompress.batch import Progress
from augcompress.datasets import Batches
from augcompress.rundir import write_aside

SHEET, COPIES = "contact_sheet.png", "augmented.npz"
COPY_BATCH = 256


def inputs(runner: Runner) -> dict[str, Input]:
    """Only the data."""
    return {}


def body(context: Context, inputs: Inputs, folder: Path) -> Output:
    """Draw the sheet; write the copies."""
    section = context.spec.augment
    batches = context.training_batches(min(section.columns, len(context.data.train)))
    batch = next(batches.epoch(0)).scaled()
    with write_aside(folder / SHEET) as aside:
        contact_sheet(
            list(section.pipeline),
            batch,
            context.augmentation_facts,
            context.spec.seed,
            aside,
            context.data.classes,
            columns=section.columns,
        )
    notes = [f"contact sheet: {SHEET}"]
    if section.offline is not None:
        count = write_copies(context, section.offline.copies, folder)
        notes.append(f"{count} augmented images: {COPIES} (a data set of kind arrays)")
    return Output(None, notes=notes)


def write_copies(context: Context, copies: int, folder: Path) -> int:
    """Each training image `copies` times, augmented as in epochs 0, 1, …; returns the count."""
    pipeline = build_pipeline(list(context.spec.augment.pipeline), context.augmentation_facts)
    data = context.data
    batches = Batches(
        data.train, len(data.classes), COPY_BATCH, shuffle=False, seed=context.spec.seed
    )
    images, targets = [], []
    context.reporter.start("augment", copies * len(batches), "batch")
    for copy in range(copies):
        for batch in batches.epoch(0):
            seen = pipeline(batch.scaled(), seed=context.spec.seed, progress=Progress(epoch=copy))
            images.append(seen.images().mul(255).round().byte().numpy())
            targets.append(seen.targets.numpy())
            context.reporter.advance(1)
    context.reporter.finish()
    test = data.test.fetch(np.arange(len(data.test))).numpy()
    soft = np.concatenate(targets)
    with write_aside(folder / COPIES) as aside, aside.open("wb") as file:
        np.savez_compressed(
            file,
            x_train=np.concatenate(images),
            y_train=soft.argmax(1),
            soft_targets=soft,
            x_test=test,
            y_test=np.asarray(data.test.labels),
            classes=np.array(data.classes),
        )
    return len(soft)


STAGE = Stage("augment", inputs, body, makes=None)
