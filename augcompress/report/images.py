"""Test images that the shipped file lost and won against its baseline, and its surest errors."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from augcompress.evidence import Predictions, over_classes, percent
from augcompress.report.content import Run

SHOWN = 16
"""Images of a kind on the page."""
SPREAD, SUREST = "in the proportion of their classes", "the most confident"
"""How those are chosen."""
LARGEST = 96
"""Longer side of an image on the page, in its own pixels; larger ones are reduced."""
LARGEST_SHEET = 500_000
"""Bytes up to which a contact sheet is shown as it is; larger ones as JPEG."""


@dataclass(frozen=True)
class Shot:
    """An image with what was said of it."""

    source: str
    """A data URI."""
    width: int
    height: int
    true: str
    said: str
    """The shipped file's class, with its confidence."""
    right: bool
    baseline: str
    """The baseline's class, with its confidence; empty: none."""
    baseline_right: bool


@dataclass(frozen=True)
class ImageGroup:
    """Images of a kind."""

    title: str
    text: str
    shots: Sequence[Shot]


def gallery(run: Run) -> list[ImageGroup]:
    """Lost, won, and the surest errors; empty without predictions or images."""
    ours = run.predictions.get("shipped")
    if ours is None or not run.examples:
        return []
    role = run.baseline
    theirs = run.predictions[role] if role else None
    groups = []
    if theirs is not None:
        lost = _spread(np.flatnonzero(theirs.right & ~ours.right), ours)
        won = _spread(np.flatnonzero(ours.right & ~theirs.right), ours)
        groups += [
            _group(run, ours, theirs, f"Lost: the {role} was right", lost, SPREAD),
            _group(run, ours, theirs, f"Won: the {role} was wrong", won, SPREAD),
        ]
    wrong = np.flatnonzero(~ours.right)
    surest = wrong[np.argsort(-ours.probabilities[wrong].max(axis=1), kind="stable")]
    title = "The shipped file's most confident errors"
    groups.append(_group(run, ours, theirs, title, surest, SUREST))
    return groups


def _spread(rows: np.ndarray, ours: Predictions) -> np.ndarray:
    return over_classes(rows, ours.labels[rows])


def _group(
    run: Run,
    ours: Predictions,
    theirs: Predictions | None,
    title: str,
    rows: np.ndarray,
    choice: str,
) -> ImageGroup:
    there = [row for row in rows.tolist() if int(ours.index[row]) in run.examples][:SHOWN]
    shots = [_shot(run, ours, theirs, row) for row in there]
    text = f"{len(rows)} of {len(ours.labels)} test images"
    if len(rows):
        some = len(shots) < len(rows)
        text += f"; {len(shots)} of them shown, {choice}" if some else "; all shown"
    return ImageGroup(title, f"{text}.", shots)


def _shot(run: Run, ours: Predictions, theirs: Predictions | None, row: int) -> Shot:
    image = _picture(run.examples[int(ours.index[row])])
    return Shot(
        source=_data_uri(_png(image), "image/png"),
        width=image.width,
        height=image.height,
        true=ours.classes[ours.labels[row]],
        said=_said(ours, row),
        right=_is_right(ours, row),
        baseline="" if theirs is None else _said(theirs, row),
        baseline_right=theirs is not None and _is_right(theirs, row),
    )


def _is_right(one: Predictions, row: int) -> bool:
    return bool(one.probabilities[row].argmax() == one.labels[row])


def _said(one: Predictions, row: int) -> str:
    chosen = one.probabilities[row].argmax()
    return f"{one.classes[chosen]} {percent(one.probabilities[row, chosen])} %"


def _picture(pixels: np.ndarray) -> Image.Image:
    """An image of (height, width, channels) uint8, reduced where it is large."""
    grey = pixels.ndim == 3 and pixels.shape[2] == 1
    image = Image.fromarray(pixels[:, :, 0] if grey else pixels[..., :3])
    image.thumbnail((LARGEST, LARGEST))
    return image


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return file.getvalue()


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def sheet_shot(path: Path) -> Shot | None:
    """The sheet that `augment` drew; None where it is not there or no picture."""
    try:
        with Image.open(path, formats=("PNG",)) as opened:
            image = opened.convert("RGB")
        content, kind = path.read_bytes(), "image/png"
    except OSError:
        return None
    if len(content) > LARGEST_SHEET:
        file = io.BytesIO()
        image.save(file, format="JPEG", quality=85)
        content, kind = file.getvalue(), "image/jpeg"
    return Shot(_data_uri(content, kind), image.width, image.height, "", "", True, "", True)
