"""How often a classifier is right, also under disturbances, and how often two agree."""

from __future__ import annotations

from typing import Any

import numpy as np

from augcompress.evidence.differences import top1_difference
from augcompress.evidence.predictions import Predictions
from augcompress.evidence.records import Measurement
from augcompress.evidence.statistics import LEVEL, hits, wilson


def top_k(
    probabilities: np.ndarray,
    labels: np.ndarray,
    k: int = 1,
    split: str | None = None,
    subject: str | None = None,
    level: float = LEVEL,
) -> Measurement:
    """Share of samples whose label is among the k most probable classes, with Wilson's interval.

    `probabilities` is `(samples, classes)` (logits do as well), `labels` `(samples,)` int.
    """
    right = hits(np.asarray(probabilities), np.asarray(labels), k)
    return proportion(f"top{k}", right, split=split, subject=subject, level=level)


def agreement(
    outputs: np.ndarray,
    others: np.ndarray,
    split: str | None = None,
    subject: str | None = None,
    baseline: str | None = None,
    level: float = LEVEL,
) -> Measurement:
    """Share of samples on which two models choose the same class, with Wilson's interval.

    Both are `(samples, classes)`, probabilities or logits, of the same samples in the same order.
    """
    same = np.asarray(outputs).argmax(axis=1) == np.asarray(others).argmax(axis=1)
    named = {"split": split, "subject": subject, "baseline": baseline}
    return proportion("agreement", same, level=level, **named)


def proportion(
    name: str,
    successes: np.ndarray,
    *,
    split: str | None = None,
    subject: str | None = None,
    baseline: str | None = None,
    level: float = LEVEL,
) -> Measurement:
    """A share of `(samples,)` booleans as a measurement; higher is better."""
    count, n = int(successes.sum()), len(successes)
    low, high = wilson(count, n, level)
    return Measurement(
        name=name,
        value=count / n if n else 0.0,
        better="higher",
        n=n,
        low=low,
        high=high,
        level=level,
        method="wilson",
        split=split,
        subject=subject,
        baseline=baseline,
    )


def robustness(
    clean: Predictions, disturbed: Predictions, *, subject: str | None, conditions: dict[str, Any]
) -> list[Measurement]:
    """robust_top1, the top-1 of the disturbed images, with Wilson's interval; robust_drop, top-1 of
    the clean ones minus that, with Tango's interval.

    Both hold the same images in the same order; `conditions` say how they were disturbed.
    """
    top1 = top_k(disturbed.probabilities, disturbed.labels, 1, disturbed.split or None, subject)
    gap = top1_difference(clean, disturbed, subject=subject)
    drop = {"name": "robust_drop", "better": "lower", "conditions": conditions}
    return [
        top1.model_copy(update={"name": "robust_top1", "conditions": conditions}),
        gap.model_copy(update=drop),
    ]
