"""Some of a data set's classes: who stays, with which number, and what is an error."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from datasets_sources import pixels, section, write_folder, write_npz
from pydantic import TypeAdapter, ValidationError

from augcompress.component import key_of
from augcompress.datasets import Batches, DataFacts, Dataset, FileSplit
from augcompress.datasets.arrays import Arrays
from augcompress.datasets.digits import Digits
from augcompress.datasets.image_folder import ImageFolder
from augcompress.errors import AugcompressError

ADAPTER = TypeAdapter(Dataset)
KINDS = [member.model_fields["kind"].default for member in get_args(get_args(Dataset)[0])]
PARTS = ("train", "validation", "test")
FACTS = DataFacts(seed=0)


def chosen(raw: dict, **common) -> dict:
    """A data section with these common settings."""
    return raw | ({"options": common} if raw["kind"] == "plugin" else common)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_keeps_the_chosen_classes_in_their_order(kind, tmp_path, monkeypatch):
    raw = section(kind, tmp_path / "source", monkeypatch)
    whole = ADAPTER.validate_python(raw).build(FACTS)
    last, first = whole.classes[-1], whole.classes[0]
    data = ADAPTER.validate_python(chosen(raw, classes=[last, first], validation=0.4)).build(FACTS)
    assert (data.classes, data.all_classes) == ([last, first], whole.classes)
    assert whole.all_classes == whole.classes
    for name in PARTS:
        assert set(getattr(data, name).labels) <= {0, 1}
    kept = [len(whole.classes) - 1, 0]
    wanted = whole.test.take(np.flatnonzero(np.isin(whole.test.labels, kept)))
    everything = np.arange(len(wanted))
    assert len(data.test) == len(wanted) > 0
    assert torch.equal(data.test.fetch(everything), wanted.fetch(everything))
    assert [kept[label] for label in data.test.labels] == wanted.labels.tolist()


def test_numbers_of_images_of_three_digits():
    whole, data = Digits().build(FACTS), Digits(classes=("8", "1", "3")).build(FACTS)
    for name in ("test", "train"):
        counts = np.bincount(getattr(whole, name).labels)[[8, 1, 3]]
        np.testing.assert_allclose(np.bincount(getattr(data, name).labels), counts, atol=1)


def test_streamed_files_and_own_validation_keep_their_labels(tmp_path):
    parts = {"train": 3, "validation": 2, "test": 2}
    root = write_folder(tmp_path, parts, classes=("ant", "bee", "cow"))
    settings = ImageFolder(root=str(root), size=8, in_memory_mb=0, classes=("cow", "ant"))
    data = settings.build(FACTS)
    assert isinstance(data.train, FileSplit)
    for name in PARTS:
        split = getattr(data, name)
        folders = [split.files[row].parent.name for row in split.index]
        assert [data.classes[label] for label in split.labels] == folders
        assert len(split) == 2 * parts[name]


def test_folds_subset_and_keep_count_within_the_chosen_classes():
    settings = Digits(classes=("8", "1"), folds=4, fold=1, subset=60, keep={"8": 0.5})
    data = settings.build(FACTS)
    assert len(data.train) == 60
    ones, eights = np.bincount(data.train.labels)[[1, 0]]
    assert 1.8 < ones / eights < 2.2
    whole = Digits().build(FACTS)
    assert not {*data.train.index, *data.test.index} & set(whole.test.index)


def test_keep_of_a_class_that_is_left_out_is_an_error():
    with pytest.raises(AugcompressError, match=r"data\.keep: 5 is no class; there are: 8, 1"):
        Digits(classes=("8", "1"), keep={"5": 0.5}).build(FACTS)


def test_unlabelled_images_are_those_before_thinning():
    whole = Digits().build(FACTS)
    np.testing.assert_array_equal(whole.unlabelled.index, whole.train.index)
    thin = Digits(subset=50, keep={"3": 0.1}).build(DataFacts(seed=0, at_most=30))
    assert len(thin.train) == 30
    np.testing.assert_array_equal(thin.unlabelled.index, whole.train.index)
    assert not set(thin.unlabelled.index) & {*thin.validation.index, *thin.test.index}


def test_whole_numbers_name_classes_too():
    settings = ADAPTER.validate_python({"kind": "digits", "classes": [3, "5"]})
    assert settings.classes == ("3", "5")
    assert key_of(settings) != key_of(Digits())


def test_unknown_class_names_the_nearest(tmp_path):
    root = write_folder(tmp_path, {"train": 3, "test": 2}, classes=("cat", "dog", "horse"))
    settings = ImageFolder(root=str(root), size=8, classes=("dog", "hores"))
    with pytest.raises(AugcompressError, match=r"data\.classes: 'hores'.* did you mean 'horse'\?"):
        settings.build(FACTS)


@pytest.mark.parametrize(
    "classes, message",
    [
        (("8", "1", "8"), "class '8' is named twice"),
        (("8",), "at least 2 items"),
        ((), "at least 2 items"),
        ((True, "1"), "valid string"),
    ],
)
def test_classes_that_cannot_be(classes, message):
    with pytest.raises(ValidationError, match=message):
        Digits(classes=classes)


RARE = {"x_train": pixels(60, 4, 4), "x_test": pixels(30, 4, 4)}


def test_class_without_training_image_can_be_left_out(tmp_path):
    path = str(write_npz(tmp_path / "data.npz", **RARE, y_train=np.arange(60) % 2))
    with pytest.raises(AugcompressError, match="class 2; add some, or leave the class out"):
        Arrays(path=path).build(FACTS)
    assert Arrays(path=path, classes=("0", "1")).build(FACTS).classes == ["0", "1"]


def test_class_that_a_subset_loses_is_an_error(tmp_path):
    labels = np.array([0] * 28 + [1] * 30 + [2] * 2)
    path = str(write_npz(tmp_path / "data.npz", **RARE, y_train=labels))
    message = r"data\.subset: 6 leaves no training image of class 2; raise it, or leave the class"
    with pytest.raises(AugcompressError, match=message):
        Arrays(path=path, subset=6).build(FACTS)
    kept = Arrays(path=path, subset=6, classes=("0", "1")).build(FACTS)
    assert np.bincount(kept.train.labels).tolist() == [3, 3]


def test_validation_leaves_every_class_an_image_to_train_on(tmp_path):
    labels = np.array([0] * 29 + [1] * 30 + [2])
    path = str(write_npz(tmp_path / "data.npz", **RARE, y_train=labels))
    data = Arrays(path=path, validation=0.5).build(FACTS)
    assert (data.train.labels == 2).sum() == 1
    assert (data.validation.labels == 2).sum() == 0


def test_normalisation_is_fitted_to_what_is_trained_on():
    data = Digits(subset=60, keep={"0": 0.1, "1": 0.2}).build(FACTS)
    values = data.train.fetch(np.arange(60)).double() / 255
    assert data.mean == pytest.approx([float(values.mean())])
    assert data.std == pytest.approx([float(values.std(correction=0))])
    assert data.mean != pytest.approx(Digits().build(FACTS).mean, abs=1e-3)


@pytest.mark.parametrize("part", PARTS)
def test_index_of_a_batch_is_the_place_in_the_source(part):
    """Whatever leaves samples out: caches and memory banks of other settings would collide."""
    source = Digits().read().train.images
    settings = Digits(classes=("8", "1"), folds=4, fold=1, subset=60, keep={"8": 0.5})
    split = getattr(settings.build(FACTS), part)
    for batch in Batches(split, 2, 16, shuffle=True, seed=0).epoch(0):
        assert torch.equal(batch.images(), source[batch.index])
