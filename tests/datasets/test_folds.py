"""k-fold cross-validation: which images are held out, and that test images never are."""

from __future__ import annotations

import numpy as np
import pytest
from datasets_sources import pixels, section, write_npz
from pydantic import TypeAdapter, ValidationError

from augcompress.component import key_of
from augcompress.datasets import DataFacts, Dataset
from augcompress.datasets.arrays import Arrays
from augcompress.datasets.digits import Digits
from augcompress.datasets.folds import folds_of
from augcompress.errors import AugcompressError

FACTS = DataFacts(seed=0)


def built(settings, folds, seed=0):
    """The data of every fold."""
    return [
        settings.model_copy(update={"folds": folds, "fold": fold}).build(DataFacts(seed=seed))
        for fold in range(folds)
    ]


def test_each_class_is_dealt_out_evenly():
    labels = np.repeat([0, 1, 2], [11, 7, 2])
    part = folds_of(labels, 4)
    table = np.array([np.bincount(part[labels == label], minlength=4) for label in range(3)])
    assert (table.max(1) - table.min(1)).tolist() == [1, 1, 1]
    assert np.bincount(part).tolist() == [5, 5, 5, 5]
    np.testing.assert_array_equal(part, folds_of(labels, 4))


def test_every_training_image_is_held_out_exactly_once_and_no_test_image_ever():
    whole = Digits().build(FACTS)
    training = {*whole.train.index, *whole.validation.index}
    data = built(Digits(), 5)
    held = np.concatenate([each.test.index for each in data])
    assert len(held) == len(training) == 1438
    assert set(held) == training
    for each in data:
        used = [set(part.index) for part in (each.train, each.validation, each.test)]
        assert set.union(*used) == training
        assert sum(map(len, used)) == len(training)
        assert not set.union(*used) & set(whole.test.index)


def test_folds_are_the_same_for_every_seed_and_validation_is_not():
    settings = Digits(folds=3, fold=2)
    one, two = (settings.build(DataFacts(seed=seed)) for seed in (0, 1))
    np.testing.assert_array_equal(one.test.index, two.test.index)
    assert not np.array_equal(one.validation.index, two.validation.index)


@pytest.mark.parametrize("kind", ["image_folder", "mnist", "arrays"])
def test_held_out_images_are_those_of_the_training_part(kind, tmp_path, monkeypatch):
    raw = section(kind, tmp_path / "source", monkeypatch)
    adapter = TypeAdapter(Dataset)
    source = adapter.validate_python(raw).read()
    data = adapter.validate_python(raw | {"folds": 4, "fold": 1}).build(FACTS)
    part = folds_of(source.train.labels, 4)
    wanted = source.train.fetch(np.flatnonzero(part == 1))
    assert (data.test.fetch(np.arange(len(data.test))) == wanted).all()


def test_plugin_data_has_folds_too(tmp_path, monkeypatch):
    raw = section("plugin", tmp_path, monkeypatch) | {"options": {"folds": 3, "fold": 2}}
    data = TypeAdapter(Dataset).validate_python(raw).build(FACTS)
    assert (len(data.test), len(data.train) + len(data.validation)) == (10, 20)


def test_key_knows_the_fold():
    keys = [key_of(Digits(folds=3, fold=fold)) for fold in (0, 1)]
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"fold": 1}, "fold 1 needs folds; say how many there are"),
        ({"folds": 3, "fold": 3}, "fold 3 is none of the folds, which are counted from 0"),
        ({"folds": 3, "validation_from": "test"}, "leave out validation_from: test, or folds"),
        ({"folds": 1}, "greater than or equal to 2"),
    ],
)
def test_folds_that_cannot_be(settings, message):
    with pytest.raises(ValidationError, match=message):
        Digits(**settings)


def test_more_folds_than_images_is_an_error(tmp_path):
    settings = Arrays(path=str(write_npz(tmp_path / "data.npz")), folds=61)
    with pytest.raises(AugcompressError, match=r"data\.folds: 61 parts of 60 training images"):
        settings.build(FACTS)


def test_class_with_one_image_cannot_be_held_out(tmp_path):
    labels = np.array([0] * 29 + [1] * 30 + [2])
    changed = {"x_train": pixels(60, 4, 4), "x_test": pixels(30, 4, 4), "y_train": labels}
    path = str(write_npz(tmp_path / "data.npz", **changed))
    fold = int(folds_of(labels, 5)[-1])
    with pytest.raises(AugcompressError, match="class 2 has a single training image"):
        Arrays(path=path, folds=5, fold=fold).build(FACTS)
    other = Arrays(path=path, folds=5, fold=(fold + 1) % 5).build(FACTS)
    assert 2 in other.train.labels
