"""Measures that choose an epoch: values without intervals, as every epoch asks for one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from augcompress.errors import AugcompressError
from augcompress.evidence import Measurement
from augcompress.evidence.statistics import confusion, delong, ece, hits, macro_f1, nll

SelectBy = Literal["top1", "top5", "balanced_accuracy", "macro_f1", "roc_auc", "nll", "ece"]


def balanced_accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean recall of the classes that have samples; `probabilities` `(samples, classes)`."""
    right = hits(probabilities, labels, 1)
    return float(np.mean([right[labels == one].mean() for one in np.unique(labels)]))


_VALUES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "top1": lambda probabilities, labels: hits(probabilities, labels, 1).mean(),
    "top5": lambda probabilities, labels: hits(probabilities, labels, 5).mean(),
    "balanced_accuracy": balanced_accuracy,
    "macro_f1": lambda probabilities, labels: macro_f1(
        confusion(labels, probabilities.argmax(1), probabilities.shape[1])
    ),
    "roc_auc": lambda probabilities, labels: delong(probabilities, labels)[0],
    "nll": lambda probabilities, labels: nll(probabilities, labels).mean(),
    "ece": ece,
}


def select_by(name: str, probabilities: np.ndarray, labels: np.ndarray) -> Measurement:
    """A measure of validation; `probabilities` is `(samples, classes)`, `labels` `(samples,)`.

    Raises AugcompressError when it is not a number, as an area of one class alone.
    """
    value = float(_VALUES[name](probabilities, labels))
    if not math.isfinite(value):
        raise AugcompressError(
            f"training.select_by: {name} of the validation images is {value}; choose another"
            " measure"
        )
    better: Literal["higher", "lower"] = "lower" if name in ("nll", "ece") else "higher"
    return Measurement(name=name, value=value, better=better, n=len(labels), split="validation")
