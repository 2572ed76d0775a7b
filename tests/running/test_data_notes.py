"""What is said of data at the start, and where there is too little."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from augcompress.datasets import DataFacts, DatasetSettings, MemorySplit, Source
from augcompress.datasets.digits import Digits
from augcompress.inference import direct
from augcompress.running.data_notes import data_notes

FACTS = DataFacts(seed=0)


def notes(**settings) -> list[str]:
    return data_notes(Digits(**settings).build(FACTS))


def told_of(train, test, classes=("cat", "dog"), **changes) -> list[str]:
    """The notes on data of these images `(N,)`, the first half of each being cats."""

    def split(levels):
        images = torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
        labels = np.arange(len(levels)) * len(classes) // len(levels)
        return MemorySplit.whole(images, labels)

    class Given(DatasetSettings):
        kind: str = "given"

        def read(self):
            return Source(list(classes), split(train), split(test), direct((2, 2), "L"), **changes)

        def fingerprint(self):
            return ""

    return data_notes(Given(validation=0.1).build(FACTS))


def test_enough_images_are_counted_and_nothing_else():
    told = notes(validation=0.2)
    assert told == [
        "data: 1150 train, 288 validation, 359 test images, 10 classes; no exact duplicates"
        " between train, validation and test",
        "data: training images by class: 0 (113), 1 (117), 2 (114), 3 (117), 4 (116), 5 (117),"
        " 6 (116), 7 (114), 8 (111), 9 (115)",
    ]


def test_chosen_classes_are_counted_among_all():
    assert "2 of 10 classes" in notes(classes=("8", "1"))[0]


@pytest.mark.parametrize("share, n, points", [(0.1, 144, 6), (0.03, 43, 12)])
def test_small_validation_says_how_far_it_can_be_trusted(share, n, points):
    told = notes(validation=share)
    assert len(told) == 3
    assert told[2].startswith(f"data: {n} validation images tell an accuracy of 80 % to ±{points} ")
    assert told[2].endswith("raise data.validation, or judge by data.folds")


def test_classes_with_hardly_an_image_are_named():
    told = notes(validation=0.2, keep={"8": 0.001, "3": 0.03})
    assert told[2:] == [
        "data: fewer than 5 training images of 3 (4), 8 (1); add images, or leave classes out"
        " with data.classes"
    ]


def test_many_such_classes_are_counted():
    told = notes(validation=0.2, keep={str(digit): 0.01 for digit in range(10)})
    assert "of 0 (1), 1 (1), 2 (1), 3 (1), 4 (1), 5 (1) and 4 more; add images" in told[2]
    assert told[1].startswith("data: training images by class: 0 (1), 1 (1),")


def test_copies_between_the_parts_and_under_two_classes_are_counted():
    train = [*range(0, 100), 7, 7, 150, *range(153, 250)]  # 7 is a cat, and a dog twice
    told = told_of(train, [0, 1, 251, 160, 161, 252])
    assert "; exact duplicates: " in told[0]
    assert " of test in train" in told[0]
    assert told[2] == "data: 1 images stand under two classes: cat and dog; correct the labels"


def test_of_many_classes_some_are_named():
    told = told_of(range(240), range(240, 253), classes=tuple("abcdefghijklm"))
    assert told[1] == "data: training images by class: a, b, c … m (16 to 17 each)"


def test_what_the_source_says_is_passed_on_fit_for_any_output():
    told = told_of(
        range(60), [61, 62], notes=["data: 1 left out: caf\udce9.png"], skipped=["\udce9"]
    )
    assert told[2] == "data: 1 left out: caf?.png"
    assert told[3] == "data: 1 unreadable images skipped: ?"


@pytest.mark.parametrize(
    "levels, dark", [([0] * 40, True), ([0, 4] * 20, True), ([0, 9] * 20, False)]
)
def test_images_that_are_all_but_black_are_said(levels, dark):
    told = [line for line in told_of(levels, [0, 255]) if "nearly of one colour" in line]
    assert len(told) == dark
