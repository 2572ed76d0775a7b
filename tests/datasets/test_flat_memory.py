"""Streaming costs a bounded number of bytes for an image that is listed, and batches are let go."""

from __future__ import annotations

import gc
import tracemalloc
import weakref

import numpy as np
import pytest
import torch
from datasets_sources import save_image

from augcompress.datasets import Batches, DataFacts, MemorySplit
from augcompress.datasets.image_folder import ImageFolder

LASTING_BYTES = 120
"""Of an image: its name, 20 bytes of hash, labels, positions in the splits."""
PASSING_BYTES = 400
"""Of an image, while the data are opened: the hashes of train as text, sorted lines."""


def folder(root, count: int) -> ImageFolder:
    """A streaming data set of so many training images, all of them the same."""
    save_image(root / "one.png", 0)
    content = (root / "one.png").read_bytes()
    for part, images in (("train", count), ("validation", 5), ("test", 5)):
        for label in ("cat", "dog"):
            (root / part / label).mkdir(parents=True)
            for number in range(images // 2):
                (root / part / label / f"{number:08d}.png").write_bytes(content)
    return ImageFolder(root=str(root), size=8, in_memory_mb=0, normalization="none")


def opened_bytes(settings: ImageFolder) -> tuple[int, int]:
    """Bytes that an open data set holds, and the most while it was opened."""
    gc.collect()
    tracemalloc.start()
    try:
        settings.fingerprint()
        data = settings.build(DataFacts(seed=0))
        gc.collect()
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(data.train.labels)
    return held, most


def test_an_image_that_is_listed_costs_few_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("augcompress.datasets.hashing.SETTLED_S", 1e9)  # hash each time
    small, large = folder(tmp_path / "small", 500), folder(tmp_path / "large", 2500)
    opened_bytes(large)  # what the first time loads is not counted
    (held, most), (held_more, most_more) = opened_bytes(small), opened_bytes(large)
    assert held_more - held < 2000 * LASTING_BYTES
    assert most_more - most < 2000 * PASSING_BYTES


@pytest.mark.parametrize("depth", [1, 4])
def test_batches_that_were_used_are_let_go(depth):
    alive, most = set(), 0

    class Counted(MemorySplit):
        def fetch(self, positions):
            nonlocal most
            images = super().fetch(positions).clone()
            alive.add(number := int(positions[0]))
            weakref.finalize(images, alive.discard, number)
            most = max(most, len(alive))
            return images

    images = torch.zeros(200, 1, 2, 2, dtype=torch.uint8)
    split = Counted(images, np.zeros(200, dtype=np.int64), np.arange(200), prefetch=depth)
    for batch in Batches(split, 2, 4, shuffle=False, seed=0).epoch(0):
        assert len(batch) == 4
    assert 1 < most <= depth + 2
