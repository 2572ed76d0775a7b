"""Images that are there more than once: across the parts of a data set, or under two classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from augcompress.datasets.splits import Split


@dataclass(frozen=True)
class Copies:
    """How many samples have an exact copy elsewhere."""

    test_in_train: int = 0
    validation_in_train: int = 0
    test_in_validation: int = 0
    two_classes: int = 0
    """Contents that stand under more than one class."""
    example: str = ""
    """One of them: its classes, with the files where there are such."""


def find_copies(train: Split, validation: Split, test: Split, classes: Sequence[str]) -> Copies:
    """What the content hashes of the splits say."""
    splits = (train, validation, test)
    contents = [_numbers(split.hashes()) for split in splits]
    count, pair = _under_two_classes(np.concatenate(contents), splits)
    return Copies(
        test_in_train=_shared(contents[2], contents[0]),
        validation_in_train=_shared(contents[1], contents[0]),
        test_in_validation=_shared(contents[2], contents[1]),
        two_classes=count,
        example=" and ".join(_described(splits, place, classes) for place in pair),
    )


def _under_two_classes(content: np.ndarray, splits: Sequence[Split]) -> tuple[int, list[int]]:
    """How many contents `(N,)`, of all splits together, have two labels; and two places of one."""
    labels = np.concatenate([split.labels for split in splits])
    order = np.lexsort((labels, content))
    same = content[order][1:] == content[order][:-1]
    differing = np.flatnonzero(same & (labels[order][1:] != labels[order][:-1]))
    pair = [int(order[differing[0] + step]) for step in (0, 1)] if len(differing) else []
    return len(np.unique(content[order][differing])), pair


def _described(splits: Sequence[Split], place: int, classes: Sequence[str]) -> str:
    for split in splits:
        if place < len(split):
            break
        place -= len(split)
    files, name = getattr(split, "files", ()), classes[split.labels[place]]
    return f"{name} ({files[split.index[place]]})" if files else name


def _numbers(hashes: Sequence[str]) -> np.ndarray:
    """`(N,)` uint64: the first 64 bits of each hash."""
    return np.fromiter((int(each[:16], 16) for each in hashes), np.uint64, count=len(hashes))


def _shared(some: np.ndarray, others: np.ndarray) -> int:
    return int(np.isin(some, others).sum())
