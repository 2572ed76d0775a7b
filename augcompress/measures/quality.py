"""How good a classifier is on images of known label, and how far its probabilities hold."""

from __future__ import annotations

from functools import partial

import numpy as np

from augcompress.errors import AugcompressError
from augcompress.evidence import Measurement, Predictions, proportion, top_k
from augcompress.evidence.statistics import (
    BINS,
    LEAST_PROBABILITY,
    LEVEL,
    Interval,
    bootstrap_mean,
    confusion,
    delong,
    ece,
    ece_interval,
    fit_temperature,
    macro_f1,
    macro_f1_interval,
    nll,
    rescale,
)

_CALIBRATION = {"bins": BINS, "bias": "estimated too high on few samples"}
_LIKELIHOOD = {"clipped_at": LEAST_PROBABILITY}


def quality(predictions: Predictions, *, subject: str | None) -> list[Measurement]:
    """top1, top5 (of more than 5 classes), macro_f1, recall of each class that has samples,
    roc_auc (of two or more such classes), nll and ece, each with its interval.

    Raises AugcompressError when there are no samples, or probabilities that are no numbers.
    """
    _require_numbers(predictions, subject)
    probabilities, labels = predictions.probabilities, predictions.labels
    split = predictions.split or None
    ranks = (1, 5) if probabilities.shape[1] > 5 else (1,)
    top = [top_k(probabilities, labels, k, split, subject) for k in ranks]
    return [
        *top,
        *_by_class(predictions, subject),
        *_area(predictions, subject),
        *_probable(predictions, subject, probabilities, {}),
    ]


def calibrated(
    validation: Predictions, test: Predictions, *, subject: str | None
) -> list[Measurement]:
    """nll_scaled and ece_scaled: of `test`'s probabilities after temperature scaling, with the
    temperature that fits `validation` best.

    Raises AugcompressError when one has no samples, probabilities that are no numbers, or other
    classes than the other.
    """
    for one in (validation, test):
        _require_numbers(one, subject)
    if validation.probabilities.shape[1] != test.probabilities.shape[1]:
        raise AugcompressError(
            f"{subject}: a temperature of {validation.probabilities.shape[1]} classes does not fit"
            f" predictions of {test.probabilities.shape[1]}; predict both with the same model"
        )
    temperature = fit_temperature(validation.probabilities, validation.labels)
    scaled = rescale(test.probabilities, temperature)
    fitted = {"temperature": temperature, "fitted_on": validation.split or "validation"}
    return _probable(test, subject, scaled, fitted, "_scaled")


def _require_numbers(predictions: Predictions, subject: str | None) -> None:
    if not len(predictions.labels):
        raise AugcompressError(f"{subject}: there are no samples to measure; give at least one")
    broken = int((~np.isfinite(predictions.probabilities)).any(axis=1).sum())
    if broken:
        raise AugcompressError(
            f"{subject}: the outputs for {broken} of {len(predictions.labels)} images are no"
            " numbers (NaN or infinity); check the model's weights"
        )


def _by_class(predictions: Predictions, subject: str | None) -> list[Measurement]:
    """macro_f1, and recall of each class."""
    classes, split = predictions.probabilities.shape[1], predictions.split or None
    chosen = predictions.probabilities.argmax(axis=1)
    table = confusion(predictions.labels, chosen, classes)
    found = [_measured(predictions, subject, "macro_f1", macro_f1(table), macro_f1_interval(table))]
    names = predictions.classes or tuple(map(str, range(classes)))
    for one, name in enumerate(names):
        right = chosen[predictions.labels == one] == one
        if len(right):
            recall = proportion("recall", right, split=split, subject=subject)
            found.append(recall.model_copy(update={"conditions": {"class": name}}))
    return found


def _area(predictions: Predictions, subject: str | None) -> list[Measurement]:
    present = len(np.unique(predictions.labels))
    if present < 2:
        return []
    area, low, high = delong(predictions.probabilities, predictions.labels)
    conditions = {"average": "one-vs-rest, macro", "classes": present}
    return [
        _measured(predictions, subject, "roc_auc", area, (low, high), conditions, method="delong")
    ]


def _probable(
    predictions: Predictions,
    subject: str | None,
    probabilities: np.ndarray,
    conditions: dict,
    suffix: str = "",
) -> list[Measurement]:
    """The two measures of the probabilities themselves."""
    labels = predictions.labels
    losses = nll(probabilities, labels)
    error, around = ece(probabilities, labels), ece_interval(probabilities, labels)
    mean, interval = float(losses.mean()), bootstrap_mean(losses)
    lower = partial(_measured, predictions, subject, better="lower")
    return [
        lower(f"nll{suffix}", mean, interval, _LIKELIHOOD | conditions, unit="nats"),
        lower(f"ece{suffix}", error, around, _CALIBRATION | conditions),
    ]


def _measured(
    predictions: Predictions,
    subject: str | None,
    name: str,
    value: float,
    interval: Interval,
    conditions: dict | None = None,
    **facts,
) -> Measurement:
    low, high = interval
    whole = {"better": "higher", "method": "bootstrap", "level": LEVEL} | facts
    return Measurement(
        name=name,
        value=value,
        n=len(predictions.labels),
        low=min(low, value),
        high=max(high, value),
        split=predictions.split or None,
        subject=subject,
        conditions=conditions or {},
        **whole,
    )
