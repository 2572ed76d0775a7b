"""The images on which two models differ."""

from __future__ import annotations

import csv
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from augcompress.compare.contenders import Contender
from augcompress.errors import AugcompressError
from augcompress.evidence import Differing, Predictions
from augcompress.storage import make_folder, remove_path, storage_errors

if TYPE_CHECKING:
    from augcompress.datasets import Split
    from augcompress.running import Context

LIST = "differences.csv"


def differing(left: Contender, right: Contender) -> list[Differing]:
    """The images on which two models differ (with seeds: the first of each), those that one of them
    gets right before the others, by how confident the wrong answer is."""
    base, model = left.answers[0], right.answers[0]
    found = [_one(base, model, int(place)) for place in np.flatnonzero(base.chosen != model.chosen)]
    return sorted(found, key=lambda one: (one.right == "neither", -_wrong_confidence(one)))


def _one(base: Predictions, model: Predictions, place: int) -> Differing:
    names = base.classes or tuple(map(str, range(base.probabilities.shape[1])))
    right = "baseline" if base.right[place] else "model" if model.right[place] else "neither"
    return Differing(
        index=int(base.index[place]),
        position=place,
        label=names[base.labels[place]],
        baseline_said=names[base.chosen[place]],
        baseline_confidence=float(base.probabilities[place].max()),
        model_said=names[model.chosen[place]],
        model_confidence=float(model.probabilities[place].max()),
        right=right,
    )


def _wrong_confidence(one: Differing) -> float:
    return one.baseline_confidence if one.right == "model" else one.model_confidence


def write_images(
    context: Context,
    answered: Predictions,
    found: Sequence[Differing],
    folder: Path,
    most: int = 200,
) -> Path:
    """The images as PNG files named by what they are and what each model said, and
    `differences.csv` of all of them: all or nothing.

    Raises AugcompressError when the data of `context` are not those that were `answered`, or the
    folder holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AugcompressError(f"{folder}: is not empty; give another folder for the images")
    part = context.evaluated(answered.split)
    check_is_data(context, answered, part)
    aside = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        make_folder(aside)
        with storage_errors(folder):
            _write(part, found[:most], aside)
            _write_list(found, most, aside)
            if folder.exists():
                folder.rmdir()
            aside.rename(folder)
    finally:
        remove_path(aside)
    return folder


def check_is_data(context: Context, answered: Predictions, part: Split) -> None:
    """Raises AugcompressError when a data set is not the one whose images were answered."""
    same = not answered.data or answered.data == context.fingerprint
    same = same and np.array_equal(part.index, answered.index)
    if not (same and np.array_equal(part.labels, answered.labels)):
        raise AugcompressError(
            f"compare --images: the {answered.split} images at hand are not those that were"
            " answered; give the recipe of that run with --recipe, or measure again"
        )


def _write(part: Split, found: Sequence[Differing], folder: Path) -> None:
    for one in found:
        pixels = part.fetch(np.array([one.position]))[0].permute(1, 2, 0).numpy()
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        image.save(folder / _file_name(one))


def _write_list(found: Sequence[Differing], most: int, folder: Path) -> None:
    with (folder / LIST).open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, ["file", *Differing.model_fields], lineterminator="\n")
        rows.writeheader()
        for rank, one in enumerate(found):
            name = _file_name(one) if rank < most else ""
            rows.writerow({"file": name, **one.model_dump()})


def _file_name(one: Differing) -> str:
    said = f"{one.label}-not-{one.model_said if one.right == 'baseline' else one.baseline_said}"
    return f"{one.position:06d}-{one.right}-right-{re.sub(r'[^A-Za-z0-9_-]+', '_', said)}.png"
