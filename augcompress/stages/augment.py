"""augment: pictures of the recipe's augmentations, and augmented copies of the images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from augcompress.augmentations import before_after, contact_sheet
from augcompress.augmenting import write_copies
from augcompress.running import EVALUATION_BATCH, Context, Input, Inputs, Output, Sources, Stage
from augcompress.storage import storage_errors, write_aside

SHEET, GRID = "contact_sheet.png", "before_after.png"


def inputs(sources: Sources) -> dict[str, Input]:
    """Only the data."""
    return {}


def body(context: Context, inputs: Inputs, folder: Path) -> Output:
    """Draw the pictures, write the copies."""
    section = context.spec.augment
    draw(context, folder)
    notes = [f"pictures: {SHEET}, {GRID}"]
    if section.offline is not None:
        notes += write_copies(context, section.offline, folder)
    return Output(None, notes=notes)


def preview(context: Context) -> list[Path]:
    """Draw the pictures into the run directory itself; nothing else is done, nothing is stored."""
    with storage_errors(context.run.path):
        return draw(context, context.run.path)


def draw(context: Context, folder: Path) -> list[Path]:
    """The contact sheet, and images before and after the pipeline."""
    section = context.spec.augment
    train = context.split("train")
    batches = context.training_batches(min(EVALUATION_BATCH, len(train)))
    batch = next(iter(batches.epoch(0)))
    shared: dict[str, Any] = {
        "settings": list(section.pipeline),
        "facts": context.augmentation_facts,
        "seed": context.spec.seed,
        "class_names": context.data.classes,
        "columns": section.columns,
    }
    with write_aside(folder / SHEET) as aside:
        contact_sheet(batch=batch, path=aside, **shared)
    with write_aside(folder / GRID) as aside:
        before_after(batch=batch, path=aside, **shared)
    return [folder / SHEET, folder / GRID]


STAGE = Stage("augment", inputs, body, makes=None, starts_fresh=True, version=4)
