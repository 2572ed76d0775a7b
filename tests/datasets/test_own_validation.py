"""Data that bring validation images of their own, in folders, in manifests and in arrays."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from datasets_sources import pixels, save_image, write_folder, write_npz

from augcompress.datasets import DataFacts
from augcompress.datasets.arrays import Arrays
from augcompress.datasets.image_folder import ImageFolder
from augcompress.errors import AugcompressError

FACTS = DataFacts(seed=0)
OWN = {"x_validation": pixels(12, 6, 5, 3, seed=9), "y_validation": np.arange(12) % 3}


@pytest.fixture
def divided(tmp_path):
    return write_folder(tmp_path / "source", {"train": 20, "test": 10, "validation": 7})


def folder(root) -> ImageFolder:
    return ImageFolder(root=str(root), size=8)


def manifest(root, file) -> ImageFolder:
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "split"])
        for path in sorted(root.rglob("*.png")):
            writer.writerow([path.relative_to(root), path.parent.name, path.parts[-3]])
    return ImageFolder(manifest=str(file), size=8)


def same(left, right) -> bool:
    return sorted(left.hashes()) == sorted(right.hashes())


def test_folder_of_validation_images_is_taken_as_it_is(divided):
    first, other = (folder(divided).build(DataFacts(seed=seed)) for seed in (0, 1))
    assert [len(getattr(first, part)) for part in ("train", "validation", "test")] == [40, 14, 20]
    np.testing.assert_array_equal(first.validation.index, other.validation.index)
    assert {first.validation.files[row].parts[-3] for row in first.validation.index} == {
        "validation"
    }


def test_manifest_says_the_same_as_the_folder(divided):
    ours, theirs = (
        settings.build(FACTS)
        for settings in (folder(divided), manifest(divided, divided / "rows.csv"))
    )
    for part in ("train", "validation", "test"):
        assert same(getattr(ours, part), getattr(theirs, part))


def test_fingerprint_sees_the_validation_images(divided):
    before = folder(divided).fingerprint()
    save_image(divided / "validation" / "cat" / "new.png", seed=1234)
    assert folder(divided).fingerprint() != before


def test_class_without_training_images_is_named(divided):
    save_image(divided / "validation" / "emu" / "0.png", seed=1)
    with pytest.raises(AugcompressError, match="class emu has validation images and no training"):
        folder(divided).build(FACTS)


def test_folder_called_validation_is_a_class_where_nothing_is_divided(tmp_path):
    root = write_folder(tmp_path / "source", {"": 20}, classes=("validation", "verdict"))
    assert folder(root).build(FACTS).classes == ["validation", "verdict"]


def test_arrays_bring_theirs(tmp_path):
    data = Arrays(path=str(write_npz(tmp_path / "a.npz", **OWN))).build(FACTS)
    assert (len(data.train), len(data.validation), len(data.test)) == (60, 12, 30)
    images = data.validation.fetch(np.arange(12)).numpy()
    np.testing.assert_array_equal(images, OWN["x_validation"].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(data.validation.labels, OWN["y_validation"])


@pytest.mark.parametrize(
    "changed, message",
    [
        ({**OWN, "y_validation": None}, "has no y_validation; add it"),
        ({**OWN, "x_validation": pixels(12, 6, 6, 3)}, "and x_validation .*; make them alike"),
        ({**OWN, "y_validation": np.arange(11) % 3}, "12 images in x_validation, 11 labels"),
        (
            {**OWN, "y_validation": np.arange(12) % 4, "classes": np.array(list("abc"))},
            "label 3, but classes names 3",
        ),
    ],
)
def test_wrong_arrays_are_named(tmp_path, changed, message):
    with pytest.raises(AugcompressError, match=message):
        Arrays(path=str(write_npz(tmp_path / "a.npz", **changed))).build(FACTS)


def test_folds_are_refused(tmp_path):
    settings = Arrays(path=str(write_npz(tmp_path / "a.npz", **OWN)), folds=3)
    with pytest.raises(AugcompressError, match=r"^data\.folds: these data bring validation images"):
        settings.build(FACTS)
