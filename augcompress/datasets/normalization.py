"""Normalisation constants per channel, fitted on training images."""

from __future__ import annotations

import numpy as np

from augcompress.component import Section
from augcompress.datasets.splits import Split
from augcompress.errors import AugcompressError


class GivenNormalization(Section):
    """Constants known beforehand, in units of pixels in [0,1]."""

    mean: list[float]
    """Subtracted, one per channel."""
    std: list[float]
    """Divided by, one per channel."""


def fit_normalization(
    how: str | GivenNormalization, train: Split, channels: int
) -> tuple[list[float], list[float]]:
    """`(mean, std)` per channel: (x - mean) / std is the normalised image.

    `standardize`: mean and standard deviation.  `minmax`: minimum and range.  A constant channel
    is divided by 1.  Raises AugcompressError when given constants do not fit the channels.
    """
    if isinstance(how, GivenNormalization):
        return _given(how, channels)
    if how == "none":
        return [0.0] * channels, [1.0] * channels
    counts = train.histogram()
    return _moments(counts) if how == "standardize" else _range(counts)


def _given(how: GivenNormalization, channels: int) -> tuple[list[float], list[float]]:
    if not len(how.mean) == len(how.std) == channels or 0 in how.std:
        raise AugcompressError(
            f"data.normalization: the images have {channels} channels; give as many values in mean"
            " and in std, and no std of 0"
        )
    return list(how.mean), list(how.std)


def _moments(counts: np.ndarray) -> tuple[list[float], list[float]]:
    values = np.arange(256) / 255
    weights = counts / counts.sum(axis=1, keepdims=True)  # (channels, 256)
    mean = weights @ values
    variance = (weights * (values - mean[:, None]) ** 2).sum(axis=1)
    return mean.tolist(), _or_one(np.sqrt(variance))


def _range(counts: np.ndarray) -> tuple[list[float], list[float]]:
    low = (counts > 0).argmax(axis=1) / 255
    high = (255 - (counts[:, ::-1] > 0).argmax(axis=1)) / 255
    return low.tolist(), _or_one(high - low)


def _or_one(spread: np.ndarray) -> list[float]:
    return np.where(spread > 0, spread, 1.0).tolist()
