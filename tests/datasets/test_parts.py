"""What a part may be called."""

from __future__ import annotations

import pytest

from augcompress.datasets.parts import part_named

TRAIN = ["train", "Train", "TRAIN", "training", "Training", "train2017", "training_set", "trainset"]
TEST = ["test", "Testing", "TEST", "eval", "Evaluation", "test-images", "TestData", "test_01"]
VALIDATION = [
    "val",
    "VAL",
    "valid",
    "Validation",
    "dev",
    "Development",
    "val2017",
    "validation set",
]
NEITHER = ["", "cat", "trains", "contest", "latest", "valley", "device", "invalid", "set",
           "trainval", "train_val", "train station", "seg_train", "data", "train/test"]  # fmt: skip


@pytest.mark.parametrize(
    ("part", "names"),
    [("train", TRAIN), ("test", TEST), ("validation", VALIDATION), (None, NEITHER)],
)
def test_names_mean_parts_in_any_case(part, names):
    assert {name: part_named(name) for name in names} == dict.fromkeys(names, part)


def test_names_among_other_words():
    names = {"seg_train": "train", "asl_alphabet_test": "test", "MyValSet": "validation"}
    assert {name: part_named(name, among_others=True) for name in names} == names
    for name in ("train_and_test", "contest", "latest images"):
        assert part_named(name, among_others=True) is None
