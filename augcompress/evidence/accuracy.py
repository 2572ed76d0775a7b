"""How often a classifier is right, also under disturbances."""

from __future__ import annotations

from typing import Any

import numpy as np

from augcompress.evidence.differences import proportion, top1_difference
from augcompress.evidence.predictions import Predictions
from augcompress.evidence.records import Measurement
from augcompress.evidence.statistics import LEVEL, hits


def top_k(
    probabilities: np.ndarray,
    labels: np.ndarray,
    k: int = 1,
    split: str | None = None,
    subject: str | None = None,
    level: float = LEVEL,
) -> Measurement:
    """Share of samples whose label is among the k most probable classes, with Wilson's interval;
    of top1 the conditions hold the `largest_class`, what naming that one for all would reach.

    `probabilities` is `(samples, classes)` (logits do as well), `labels` `(samples,)` int.
    """
    labels = np.asarray(labels)
    right = hits(np.asarray(probabilities), labels, k)
    found = proportion(f"top{k}", right, split=split, subject=subject, level=level)
    if k > 1 or not len(labels):
        return found
    largest = float(np.bincount(labels).max() / len(labels))
    return found.model_copy(update={"conditions": {"largest_class": largest}})


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
