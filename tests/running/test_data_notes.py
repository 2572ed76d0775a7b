"""What is said of data at the start, and where there is too little."""

from __future__ import annotations

import pytest

from augcompress.datasets import DataFacts
from augcompress.datasets.digits import Digits
from augcompress.running.data_notes import data_notes

FACTS = DataFacts(seed=0)


def notes(**settings) -> list[str]:
    return data_notes(Digits(**settings).build(FACTS))


def test_enough_images_are_counted_and_nothing_else():
    told = notes(validation=0.2)
    assert told == [
        "data: 1150 train, 288 validation, 359 test images, 10 classes; no exact duplicates"
        " between train and test"
    ]


def test_chosen_classes_are_counted_among_all():
    assert "2 of 10 classes" in notes(classes=("8", "1"))[0]


@pytest.mark.parametrize("share, n, points", [(0.1, 144, 6), (0.03, 43, 12)])
def test_small_validation_says_how_far_it_can_be_trusted(share, n, points):
    told = notes(validation=share)
    assert len(told) == 2
    assert told[1].startswith(f"data: {n} validation images tell an accuracy of 80 % to ±{points} ")
    assert told[1].endswith("raise data.validation, or judge by data.folds")


def test_classes_with_hardly_an_image_are_named():
    told = notes(validation=0.2, keep={"8": 0.001, "3": 0.03})
    assert told[1:] == [
        "data: fewer than 5 training images of 3 (4), 8 (1); add images, or leave classes out"
        " with data.classes"
    ]


def test_many_such_classes_are_counted():
    told = notes(validation=0.2, keep={str(digit): 0.01 for digit in range(10)})
    assert "of 0 (1), 1 (1), 2 (1), 3 (1), 4 (1), 5 (1) and 4 more; add images" in told[1]
