"""What happened to each class: recalls against a baseline, the confusion matrix, worse pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from augcompress.evidence import Predictions, share_text, signed_text
from augcompress.evidence.statistics import confusion, discordant, holm, mcnemar, tango, wilson
from augcompress.report.content import Run

LARGEST_MATRIX = 20
"""Classes up to which the whole confusion matrix is shown."""
PAIRS = 12
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Recall:
    """A share of n images, with its interval."""

    value: float
    low: float
    high: float
    n: int

    def text(self) -> str:
        """`86.4 % (84.1–88.4)`."""
        return share_text(self.value, self.low, self.high)


@dataclass(frozen=True)
class ClassRow:
    """A class: how many of its test images each file finds."""

    name: str
    n: int
    shipped: Recall
    baseline: Recall | None
    change: tuple[float, float, float] | None
    """Shipped minus baseline and the ends of its interval, paired; None: no baseline."""
    p: float | None = None
    """Of no change, adjusted for the number of classes."""

    @property
    def verdict(self) -> str:
        """Whether the change is more than noise, in a word."""
        if self.change is None or self.p is None:
            return ""
        if self.p > SIGNIFICANT:
            return "within noise"
        return "worse" if self.change[0] < 0 else "better"

    def change_text(self) -> str:
        """`-1.2 points (-2.3 to -0.1)`."""
        if self.change is None:
            return "–"
        change, low, high = (signed_text(100 * end, 1) for end in self.change)
        return f"{change} points ({low} to {high})"


@dataclass(frozen=True)
class ConfusedPair:
    """Images of one class that were taken for another."""

    true: str
    chosen: str
    n: int
    """Images of the true class."""
    before: int
    """So taken by the baseline."""
    after: int
    """So taken by the shipped file."""

    def change_text(self) -> str:
        """`+14`."""
        return signed_text(self.after - self.before, 0)


@dataclass(frozen=True)
class MatrixCell:
    """One cell of the confusion matrix."""

    count: int
    strength: str
    """Of its colour, from 0 to 1: by the share of the true class, errors on a scale of their own,
    which the most frequent error ends."""
    right: bool


@dataclass(frozen=True)
class Classes:
    """The section on classes."""

    rows: Sequence[ClassRow]
    """The most harmed class first; without a baseline the least recall first."""
    baseline: str | None
    """teacher or float; None: there are no predictions to compare with."""
    n: int
    names: Sequence[str]
    matrix: Sequence[Sequence[MatrixCell]]
    """Rows are true classes; empty where there are too many."""
    confused: Sequence[ConfusedPair]
    """The shipped file's most frequent errors."""
    worse: Sequence[ConfusedPair]
    """The pairs that the shipped file takes for each other more often than the baseline."""
    low: float
    """Where the recalls' axis begins, a fraction."""

    def place(self, value: float) -> str:
        """A recall's place on the axis, in percent of its width, as CSS."""
        return f"{100 * max(0.0, value - self.low) / max(1 - self.low, 1e-9):.2f}%"


def read_classes(run: Run) -> Classes | None:
    """What the predictions tell of each class; None: there are none."""
    ours = run.predictions.get("shipped")
    if ours is None or not len(ours.labels):
        return None
    role = run.baseline
    theirs = run.predictions[role] if role else None
    rows = class_rows(ours, theirs)
    lowest = min(min(row.shipped.low, row.baseline.low if row.baseline else 1) for row in rows)
    small = len(ours.classes) <= LARGEST_MATRIX
    return Classes(
        rows=rows,
        baseline=role,
        n=len(ours.labels),
        names=ours.classes,
        matrix=matrix_cells(_confusion(ours)) if small else (),
        confused=confused_pairs(ours, theirs),
        worse=worse_pairs(ours, theirs) if theirs is not None else (),
        low=np.floor(10 * lowest) / 10,
    )


def class_rows(ours: Predictions, theirs: Predictions | None) -> list[ClassRow]:
    """One row a class that has images."""
    found = [_row(ours, theirs, one) for one in np.unique(ours.labels).tolist()]
    if theirs is None:
        return sorted(found, key=lambda row: row.shipped.value)
    adjusted = holm([row.p or 0.0 for row in found])
    found = [
        ClassRow(row.name, row.n, row.shipped, row.baseline, row.change, float(p))
        for row, p in zip(found, adjusted, strict=True)
    ]
    return sorted(found, key=lambda row: row.change[0] if row.change else 0.0)


def _row(ours: Predictions, theirs: Predictions | None, one: int) -> ClassRow:
    inside = ours.labels == one
    mine = ours.right[inside]
    if theirs is None:
        return ClassRow(ours.classes[one], len(mine), _recall(mine), None, None)
    other = theirs.right[inside]
    b, c = discordant(mine, other)
    change = ((b - c) / len(mine), *tango(b, c, len(mine)))
    return ClassRow(
        ours.classes[one], len(mine), _recall(mine), _recall(other), change, mcnemar(b, c)
    )


def _recall(right: np.ndarray) -> Recall:
    return Recall(float(right.mean()), *wilson(int(right.sum()), len(right)), len(right))


def matrix_cells(counts: np.ndarray) -> list[list[MatrixCell]]:
    """The confusion matrix for the eye."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    wrong = shares * ~np.eye(len(counts), dtype=bool)
    errors = np.sqrt(wrong / max(wrong.max(), 1e-9))  # small ones are seen, too
    strengths = np.where(np.eye(len(counts), dtype=bool), shares, errors)
    return [
        [
            MatrixCell(int(count), f"{strengths[true, chosen]:.3f}", true == chosen)
            for chosen, count in enumerate(row)
        ]
        for true, row in enumerate(counts)
    ]


def confused_pairs(ours: Predictions, theirs: Predictions | None) -> list[ConfusedPair]:
    """The most frequent errors, most frequent first."""
    found = _pairs(ours, theirs)
    return sorted(found, key=lambda pair: -pair.after)[:PAIRS]


def worse_pairs(ours: Predictions, theirs: Predictions) -> list[ConfusedPair]:
    """The errors that became more frequent, the largest increase first."""
    found = [pair for pair in _pairs(ours, theirs) if pair.after > pair.before]
    return sorted(found, key=lambda pair: pair.before - pair.after)[:PAIRS]


def _pairs(ours: Predictions, theirs: Predictions | None) -> list[ConfusedPair]:
    after = _confusion(ours)
    before = np.zeros_like(after) if theirs is None else _confusion(theirs)
    wrong = (after > 0) & ~np.eye(len(after), dtype=bool)
    return [
        ConfusedPair(
            ours.classes[true],
            ours.classes[chosen],
            int(after[true].sum()),
            int(before[true, chosen]),
            int(after[true, chosen]),
        )
        for true, chosen in np.argwhere(wrong).tolist()
    ]


def _confusion(one: Predictions) -> np.ndarray:
    return confusion(one.labels, one.chosen, one.probabilities.shape[1])
