"""What a user should know of the data, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from augcompress.datasets import Copies, Data, class_counts, printable
from augcompress.evidence.statistics import wilson

NOISE_POINTS = 5.0
"""Half-width of the interval of an accuracy of 80 % from which on epochs are chosen by chance."""
FEW_IMAGES = 5
"""A class with fewer training images is named."""
MANY_CLASSES = 12
"""Of more classes not all are named."""
SEEN, DARK_SPREAD = 64, 3.0
"""So many training images are looked at, and with a smaller standard deviation of their grey levels
they are taken to have nothing on them."""


def data_notes(data: Data) -> list[str]:
    """Sizes of the splits and classes, images that are there twice, images left out; and where
    there are too few."""
    sizes = f"{len(data.train)} train, {len(data.validation)} validation, {len(data.test)} test"
    of = f" of {len(data.all_classes)}" if len(data.all_classes) > len(data.classes) else ""
    counts = class_counts(data.train.labels, len(data.classes))
    notes = [
        f"data: {sizes} images, {len(data.classes)}{of} classes; {_copies_text(data.copies)}",
        f"data: training images by class: {_classes_text(data.classes, counts)}",
        *data.notes,
    ]
    if data.copies.two_classes:
        notes.append(
            f"data: {data.copies.two_classes} images stand under two classes:"
            f" {data.copies.example}; correct the labels"
        )
    if data.skipped:
        names = ", ".join(data.skipped[:3])
        notes.append(f"data: {len(data.skipped)} unreadable images skipped: {names}")
    if _spread(data) < DARK_SPREAD:
        notes.append(
            "data: the training images are nearly of one colour; where they have 16 bits of which"
            " only the lowest are used, scale them to the full range"
        )
    return [*map(printable, notes), *_too_few(data, counts)]


def _spread(data: Data) -> float:
    """Standard deviation of the grey levels of some training images, 0 to 255."""
    count = min(SEEN, len(data.train))
    chosen = np.linspace(0, len(data.train) - 1, count).round().astype(np.int64)
    return float(data.train.fetch(chosen).float().std())


def _copies_text(copies: Copies) -> str:
    counts = {
        "of test in train": copies.test_in_train,
        "of test in validation": copies.test_in_validation,
        "of validation in train": copies.validation_in_train,
    }
    told = [f"{count} {where}" for where, count in counts.items() if count]
    if not told:
        return "no exact duplicates between train, validation and test"
    return f"exact duplicates: {', '.join(told)}"


def _classes_text(classes: Sequence[str], counts: np.ndarray) -> str:
    """`cat (18), dog (20)`; of many classes, some names and the smallest and largest count."""
    if len(classes) <= MANY_CLASSES:
        return ", ".join(f"{name} ({n})" for name, n in zip(classes, counts, strict=True))
    first = ", ".join(classes[:3])
    return f"{first} … {classes[-1]} ({counts.min()} to {counts.max()} each)"


def _too_few(data: Data, counts: np.ndarray) -> list[str]:
    """Where validation is too small to choose an epoch by, and a class too small to be learned."""
    notes, n = [], len(data.validation)
    low, high = wilson(0.8 * n, n)
    half_points = 50 * (high - low)
    if half_points > NOISE_POINTS:
        notes.append(
            f"data: {n} validation images tell an accuracy of 80 % to ±{half_points:.0f} points"
            " only, so that the best epoch is partly chosen by chance; raise data.validation, or"
            " judge by data.folds"
        )
    few = [f"{data.classes[k]} ({counts[k]})" for k in np.flatnonzero(counts < FEW_IMAGES)]
    if few:
        more = f" and {len(few) - 6} more" if len(few) > 6 else ""
        notes.append(
            f"data: fewer than {FEW_IMAGES} training images of {', '.join(few[:6])}{more}; add"
            " images, or leave classes out with data.classes"
        )
    return notes
