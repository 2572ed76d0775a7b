"""Batches and facts for the tests of this room."""

from __future__ import annotations

import pytest
import torch

from augcompress.augmentations import AugmentationFacts
from augcompress.batch import Batch


@pytest.fixture
def make_batch():
    """A batch of noise images with one-hot targets and scattered indices."""

    def make(count: int = 12, channels: int = 3, size: tuple[int, int] = (16, 12)) -> Batch:
        generator = torch.Generator().manual_seed(count + channels)
        images = torch.rand((count, channels, *size), generator=generator)
        classes = torch.randint(0, 5, (count,), generator=generator)
        index = torch.randperm(1000, generator=generator)[:count]
        return Batch(images, torch.eye(5)[classes], index)

    return make


@pytest.fixture
def make_facts():
    """Facts that fit such a batch."""

    def make(channels: int = 3, size: tuple[int, int] = (16, 12)) -> AugmentationFacts:
        spread = torch.eye(channels) * 0.02 + 0.04
        return AugmentationFacts(
            samples=1000,
            classes=5,
            channels=channels,
            size=size,
            mean=[0.5, 0.4, 0.3][:channels],
            seed=0,
            covariance=lambda: spread,
        )

    return make
