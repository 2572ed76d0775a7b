"""k-fold cross-validation: parts of the training images that take turns in being held out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from augcompress.datasets.data import Source
from augcompress.datasets.drawing import FIXED_SEED
from augcompress.errors import AugcompressError


def folds_of(labels: np.ndarray, folds: int) -> np.ndarray:
    """`(N,)` number of the part that each sample belongs to, 0 to `folds` - 1.

    Samples are dealt out class by class, in an order drawn once and for all: in every class, and
    altogether, parts differ by one sample at most.
    """
    random = np.random.default_rng(FIXED_SEED).permutation(len(labels))
    dealt = random[np.argsort(labels[random], kind="stable")]
    part = np.empty(len(labels), dtype=np.int64)
    part[dealt] = np.arange(len(labels)) % folds
    return part


def hold_out(source: Source, folds: int, fold: int) -> Source:
    """The source with part `fold` of its training images in place of its test images.

    Raises AugcompressError when there are fewer images than parts, a class has one image only, or
    the source brings validation images: its training images may be augmented copies, of which one
    must not be held out while its twin is trained on.
    """
    if source.validation is not None:
        raise AugcompressError(
            "data.folds: these data bring validation images of their own, as augmented copies do;"
            " cross-validate on the original images, or leave folds out"
        )
    labels = source.train.labels
    if folds > len(labels):
        raise AugcompressError(
            f"data.folds: {folds} parts of {len(labels)} training images; ask for fewer"
        )
    held = folds_of(labels, folds) == fold
    missing = sorted(set(labels[held]) - set(labels[~held]))
    if missing:
        names = ", ".join(source.classes[label] for label in missing)
        raise AugcompressError(
            f"data.folds: class {names} has a single training image, which cannot be held out and"
            " trained on; add images or drop the class"
        )
    train, test = (source.train.take(np.flatnonzero(part)) for part in (~held, held))
    return replace(source, train=train, test=test)
