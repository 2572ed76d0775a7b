"""Copies across parts and under two classes, counted by content."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets_sources import write_folder

from augcompress.datasets import Copies, DataFacts, MemorySplit
from augcompress.datasets.copies import find_copies
from augcompress.datasets.image_folder import ImageFolder


def split(levels, labels) -> MemorySplit:
    images = torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1)
    return MemorySplit.whole(images, np.array(labels))


def test_copies_are_counted_for_each_pair_of_parts():
    train = split([1, 2, 3, 3], [0, 0, 1, 1])
    validation, test = split([3, 3, 5], [1, 1, 0]), split([5, 5, 1, 6], [0, 0, 0, 1])
    assert find_copies(train, validation, test, ["a", "b"]) == Copies(
        test_in_train=1, validation_in_train=2, test_in_validation=2
    )


@pytest.mark.parametrize("place", [0, 1, 2])
def test_images_under_two_classes_are_counted_once_and_one_is_named(place):
    parts = [([1, 2, 7, 7], [0, 0, 0, 0]), ([9, 10], [0, 1]), ([11, 12], [0, 1])]
    parts[place][0].extend([7, 7, 20])
    parts[place][1].extend([1, 1, 2])
    found = find_copies(*(split(*part) for part in parts), ["cat", "dog", "emu"])
    assert (found.two_classes, found.example) == (1, "cat and dog")


def test_files_under_two_classes_are_named(tmp_path):
    root = write_folder(tmp_path / "s", {"train": 9, "test": 3})
    (root / "test" / "dog" / "copy.png").write_bytes(
        (root / "train" / "cat" / "0.png").read_bytes()
    )
    for in_memory_mb in (0, 1):
        settings = ImageFolder(root=str(root), size=8, in_memory_mb=in_memory_mb)
        found = settings.build(DataFacts(seed=0)).copies
        assert found.two_classes == found.test_in_train + found.test_in_validation == 1
        assert found.example == (f"cat ({root}/train/cat/0.png) and dog ({root}/test/dog/copy.png)")
