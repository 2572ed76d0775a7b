"""Two models on the same images: by how much they differ, and what a comparison finds."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from augcompress.component import Section
from augcompress.evidence.predictions import Predictions
from augcompress.evidence.records import Measurement
from augcompress.evidence.statistics import LEVEL, discordant, tango, wilson


def are_same_images(ours: Predictions, theirs: Predictions) -> bool:
    """Whether two models answered the same images, in the same order; the data's digest is asked
    where both know it."""
    same_data = not (ours.data and theirs.data) or ours.data == theirs.data
    return (
        same_data
        and ours.split == theirs.split
        and np.array_equal(ours.index, theirs.index)
        and np.array_equal(ours.labels, theirs.labels)
    )


def top1_difference(
    ours: Predictions,
    theirs: Predictions,
    *,
    subject: str | None = None,
    baseline: str | None = None,
    level: float = LEVEL,
) -> Measurement:
    """Top-1 of the first minus top-1 of the second on the same images, with Tango's score interval
    (Tango 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B).

    Both hold the same images in the same order.
    """
    gained, lost = discordant(ours.right, theirs.right)
    n = len(ours.labels)
    low, high = tango(gained, lost, n, level)
    return Measurement(
        name="top1_difference",
        value=(gained - lost) / n,
        better="higher",
        n=n,
        low=low,
        high=high,
        level=level,
        method="tango",
        split=ours.split or None,
        subject=subject,
        baseline=baseline,
        conditions={"only_subject_right": gained, "only_baseline_right": lost},
    )


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


class ModelPair(Section):
    """One model against another, both on the same images."""

    baseline: str
    model: str
    top1: tuple[Measurement, Measurement]
    """Of the baseline and of the model; with several seeds, of the first."""
    differences: list[Measurement]
    """Model minus baseline, each with its interval; the first is that of top-1."""
    agreement: Measurement
    only_model_right: int
    """Images, over all seeds."""
    only_baseline_right: int
    p_value: float | None
    """Two-sided, that there is no difference in top-1: McNemar's exact test, with several seeds
    the paired t test over them; None: not to be told."""
    p_adjusted: float | None
    """After Holm's correction for the number of comparisons."""
    test: str
    """mcnemar_exact or paired_t."""
    margin: float
    """How much worse still counts as not worse, a fraction."""
    not_worse: bool
    """Is the lower end of the difference's interval above the margin?"""

    @property
    def difference(self) -> Measurement:
        """That of top-1."""
        return self.differences[0]


class Comparison(Section):
    """What `compare` found."""

    split: str
    n: int
    """Images."""
    level: float
    pairs: list[ModelPair]
    prepared: dict[str, str] = Field(default_factory=dict)
    """How images were prepared for each file, where the files or trying had to say it."""
    timings: list[Measurement] = Field(default_factory=list)
    """Of files against the first one, in turns; empty: nothing was timed."""


class Differing(Section):
    """An image that two models put into different classes."""

    index: int
    """Its position in the data set."""
    position: int
    """Its position in the split."""
    label: str
    baseline_said: str
    baseline_confidence: float
    model_said: str
    model_confidence: float
    right: str
    """baseline, model or neither."""
