"""A few of a data set's classes: the images of the others are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import numpy as np

from augcompress.datasets.data import Source
from augcompress.datasets.splits import Split
from augcompress.errors import AugcompressError


def only(source: Source, classes: Sequence[str]) -> Source:
    """The source with these classes alone, numbered in this order; all parts keep their order.

    Raises AugcompressError naming the nearest class for one that the source does not have.
    """
    check_known(classes, source.classes)
    table = np.full(len(source.classes), -1, dtype=np.int64)
    table[[source.classes.index(name) for name in classes]] = np.arange(len(classes))
    own = source.validation
    return replace(
        source,
        classes=list(classes),
        train=_of_classes(source.train, table),
        test=_of_classes(source.test, table),
        validation=None if own is None else _of_classes(own, table),
    )


def check_known(classes: Sequence[str], known: Sequence[str]) -> None:
    """Raises AugcompressError naming the nearest class for one that is not known."""
    for name in classes:
        if name not in known:
            nearest = get_close_matches(name, known, n=1, cutoff=0)[0]
            raise AugcompressError(
                f"data.classes: {name!r} is no class of these data; did you mean {nearest!r}?"
            )


def _of_classes(split: Split, table: np.ndarray) -> Split:
    """The samples whose class has a new number in `table` `(classes,)`, with that number; classes
    without one are -1 there."""
    chosen: Any = split.take(np.flatnonzero(table[split.labels] >= 0))
    return replace(chosen, all_labels=table[chosen.all_labels])
