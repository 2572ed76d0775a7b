"""augment: pictures of the recipe's augmentations, and augmented copies of the images."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from augcompress.augmentations import before_after, contact_sheet, own
from augcompress.augmenting import write_copies
from augcompress.running import (
    EVALUATION_BATCH,
    FITTED,
    Context,
    Input,
    Inputs,
    Output,
    Sources,
    Stage,
    fitting_in,
)
from augcompress.spec import Spec
from augcompress.storage import digest_file, storage_errors, write_aside

SHEET, GRID = "contact_sheet.png", "before_after.png"
LIST = "fitted.json"
"""Digests of what was fitted, by file."""


def inputs(sources: Sources) -> dict[str, Input]:
    """Only the data."""
    return {}


def reads(spec: Spec) -> dict[str, Any]:
    """What is fitted for other stages stands in their sections."""
    return dict(fitting_in(spec, "augment"))


def body(context: Context, inputs: Inputs, folder: Path) -> Output:
    """Fit what needs it, draw the pictures, write the copies."""
    section = context.spec.augment
    artifact = fit_augmentations(context, folder)
    draw(context, folder)
    notes = [f"pictures: {SHEET}, {GRID}"]
    if section.offline is not None:
        notes += write_copies(context, section.offline, folder)
    return Output(artifact, notes=notes)


def fit_augmentations(context: Context, folder: Path) -> str | None:
    """Fit the augmentations that need it; the list of what they wrote, None where none does."""
    facts, fitted = context.augmentation_facts, folder / FITTED
    for name, setting in fitting_in(context.spec, "augment").items():
        context.reporter.message(f"augment: fitting {name}")
        context.seed_everything("augment", name)
        (fitted / name).mkdir(parents=True)
        own(setting).fit(lambda: context.evaluation_batches("train"), facts, fitted / name)
    if not fitted.is_dir():
        return None
    context.fitted = fitted
    files = {one.relative_to(folder).as_posix(): one for one in fitted.rglob("*") if one.is_file()}
    digests = {name: digest_file(one) for name, one in sorted(files.items())}
    with write_aside(folder / LIST) as aside:
        aside.write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")
    return LIST


def preview(context: Context) -> list[Path]:
    """Draw the pictures into the run directory itself; nothing else is done, nothing is stored."""
    with storage_errors(context.run.path), tempfile.TemporaryDirectory() as scratch:
        fit_augmentations(context, Path(scratch))
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


STAGE = Stage("augment", inputs, body, makes=None, reads=reads, starts_fresh=True, version=4)
