"""How much accuracy a classifier keeps under disturbances."""

from __future__ import annotations

from typing import Any

from augcompress.evidence import Measurement, Predictions, top1_difference
from augcompress.measures.accuracy import top_k


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
