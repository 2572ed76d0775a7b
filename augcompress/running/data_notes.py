"""What a user should know of the data, in sentences."""

from __future__ import annotations

import numpy as np

from augcompress.datasets import Data, class_counts
from augcompress.evidence.statistics import wilson

NOISE_POINTS = 5.0
"""Half-width of the interval of an accuracy of 80 % from which on epochs are chosen by chance."""
FEW_IMAGES = 5
"""A class with fewer training images is named."""


def data_notes(data: Data) -> list[str]:
    """Sizes of the splits, images that stand in train and test, images left out; and where there
    are too few."""
    sizes = f"{len(data.train)} train, {len(data.validation)} validation, {len(data.test)} test"
    same = f"{data.duplicates} exact duplicates" if data.duplicates else "no exact duplicates"
    of = f" of {len(data.all_classes)}" if len(data.all_classes) > len(data.classes) else ""
    notes = [
        f"data: {sizes} images, {len(data.classes)}{of} classes; {same} between train and test"
    ]
    if data.skipped:
        names = ", ".join(data.skipped[:3])
        notes.append(f"data: {len(data.skipped)} unreadable images skipped: {names}")
    return [*notes, *_too_few(data)]


def _too_few(data: Data) -> list[str]:
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
    counts = class_counts(data.train.labels, len(data.classes))
    few = [f"{data.classes[k]} ({counts[k]})" for k in np.flatnonzero(counts < FEW_IMAGES)]
    if few:
        more = f" and {len(few) - 6} more" if len(few) > 6 else ""
        notes.append(
            f"data: fewer than {FEW_IMAGES} training images of {', '.join(few[:6])}{more}; add"
            " images, or leave classes out with data.classes"
        )
    return notes
