"""The linear probe: a linear classifier on frozen features."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from augcompress.evidence import Predictions
from augcompress.modules import in_evaluation
from augcompress.networks import Network, headless, set_head
from augcompress.running import Context
from augcompress.scoring import predict, predict_with_network

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Inverse strengths of the L2 penalty that are tried."""
MOST_IMAGES = 10_000
"""Labelled images that a probe is fitted to, at most: evenly spread over the training images."""


@dataclass(frozen=True)
class LinearProbe:
    """A probe's classifier, for features as the network gives them, and its answers."""

    predictions: Predictions
    """On validation."""
    strength: float
    """Inverse strength of the penalty, chosen on the same images."""
    labels: int
    """Labelled images that it was fitted to."""

    @property
    def conditions(self) -> dict[str, object]:
        """What its accuracy depends on."""
        return {
            "classifier": "linear probe",
            "probe_labels": self.labels,
            "probe_c": self.strength,
            "probe_c_chosen_on": self.predictions.split,
        }


def linear_probe(context: Context, network: Network, where: str) -> LinearProbe:
    """Fit a probe to the labelled training images and make it the network's head (Alain and Bengio
    2017, https://arxiv.org/abs/1610.01644).

    Multinomial logistic regression on standardised features, without augmentation; of a few
    penalties the one with the highest top-1 on validation.  Everything below the head stays.
    """
    train = context.evaluated("train", MOST_IMAGES)
    known = features(context, network, "train", where)
    held_out = features(context, network, "validation", where)
    answers = context.evaluated("validation").labels
    tried = [logistic(known, train.labels, len(network.classes), c) for c in STRENGTHS]
    right = [((held_out @ w.T + b).argmax(1) == answers).sum() for w, b in tried]
    best = int(np.argmax(right))
    set_head(network, *(torch.from_numpy(each).float() for each in tried[best]), where=where)
    found = predict(predict_with_network(network.module, context), context, "validation")
    return LinearProbe(found, STRENGTHS[best], len(train))


def features(context: Context, network: Network, split: str, where: str) -> np.ndarray:
    """Features `(N,D)` in float64 of a split's images as they are: of all, or of MOST_IMAGES of
    the training images."""
    limit = MOST_IMAGES if split == "train" else None
    network.module.to(context.device)
    found = []
    with headless(network, where), in_evaluation(network.module), torch.inference_mode():
        for batch in context.evaluation_batches(split, limit):
            found.append(network.module(context.ready(batch).inputs).double().cpu().numpy())
    return np.concatenate(found)


def logistic(
    features: np.ndarray, labels: np.ndarray, classes: int, strength: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weight `(classes,D)` and bias `(classes,)` of a multinomial logistic regression, for features
    `(N,D)` as they are; it is fitted to standardised ones.

    `strength` is the inverse of the L2 penalty.  A class without a sample has weights of zero and
    a low bias.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, spread = features.mean(0), features.std(0)
    spread[spread == 0] = 1
    found = LogisticRegression(C=strength, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found.fit((features - mean) / spread, labels)
    rows, offsets = found.coef_, found.intercept_
    if len(rows) == 1:  # binary: one row of coefficients
        rows, offsets = np.concatenate((-rows, rows)) / 2, np.concatenate((-offsets, offsets)) / 2
    weight, bias = np.zeros((classes, features.shape[1])), np.full(classes, offsets.min())
    weight[found.classes_] = rows / spread
    bias[found.classes_] = offsets - weight[found.classes_] @ mean
    return weight, bias
