"""Predictions on disk, and two models on the same images."""

from __future__ import annotations

import zipfile
from dataclasses import replace

import numpy as np
import pytest

from augcompress.errors import AugcompressError
from augcompress.evidence import Predictions, are_same_images, over_classes, top1_difference
from augcompress.evidence.statistics import tango


def answered(wrong: list[int], n: int = 10) -> Predictions:
    """Ten images of class 0; those in `wrong` are taken for class 1."""
    chosen = np.isin(np.arange(n), wrong).astype(int)
    return Predictions(np.eye(2)[chosen], np.zeros(n), np.arange(n), ("a", "b"), "test", "d")


def test_saved_predictions_are_read_back_and_equal_ones_are_equal_bytes(tmp_path):
    one, path = answered([2]), tmp_path / "p.npz"
    one.save(path)
    back = Predictions.load(path)
    assert are_same_images(one, back)
    assert (back.chosen.tolist(), back.classes) == (one.chosen.tolist(), ("a", "b"))
    with zipfile.ZipFile(path) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_what_needs_pickle_is_refused(tmp_path):
    np.savez(tmp_path / "p.npz", probabilities=np.array([{"a": 1}], dtype=object))
    with pytest.raises(AugcompressError, match=r"is no predictions file .*holds object, neither"):
        Predictions.load(tmp_path / "p.npz")


def test_difference_counts_what_was_gained_and_lost():
    ours, theirs = answered([0]), answered([1, 2, 3])
    found = top1_difference(ours, theirs)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == tango(3, 1, 10)
    assert found.conditions == {"only_subject_right": 3, "only_baseline_right": 1}


@pytest.mark.parametrize(
    "change", [{"split": "train"}, {"index": np.arange(1, 11)}, {"labels": np.ones(10)}]
)
def test_other_images_are_not_the_same(change):
    one = answered([])
    assert not are_same_images(one, replace(one, **change))
    assert not are_same_images(one, replace(one, data="e"))
    assert are_same_images(one, replace(one, data=""))


def test_every_beginning_has_the_classes_in_proportion():
    labels = np.array([0] * 8 + [1] * 4 + [2] * 2)
    rows = np.arange(100, 114)
    ordered = over_classes(rows, labels)
    assert sorted(ordered) == list(rows)
    chosen = labels[ordered[:7] - 100]
    assert np.bincount(chosen).tolist() == [4, 2, 1]
    assert [row for row in ordered if row < 108] == list(range(100, 108))
