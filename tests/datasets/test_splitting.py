"""How sources are divided, thinned and normalised."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from datasets_sources import pixels, write_npz

from augcompress.datasets import DataFacts, GivenNormalization
from augcompress.datasets.arrays import Arrays
from augcompress.datasets.digits import Digits
from augcompress.datasets.drawing import allot, stratified
from augcompress.errors import AugcompressError

SKEWED = np.repeat([0, 1, 2], [100, 30, 10])


@pytest.fixture
def arrays(tmp_path):
    def make(changed=None, **settings) -> Arrays:
        return Arrays(path=str(write_npz(tmp_path / "data.npz", **(changed or {}))), **settings)

    return make


def counts(split) -> list[int]:
    return np.bincount(split.labels).tolist()


def test_largest_remainder_keeps_the_total():
    # 7 of (5, 3, 2): exact 3.5, 2.1, 1.4; the floors leave one over, for the largest remainder
    assert allot(np.array([5, 3, 2]), 7, np.array([5, 3, 2])).tolist() == [4, 2, 1]


def test_draw_follows_the_classes():
    taken, rest = stratified(SKEWED, 14, (0,))
    assert np.bincount(SKEWED[taken]).tolist() == [10, 3, 1]
    assert sorted([*taken, *rest]) == list(range(140))


def test_draw_leaves_one_of_every_class():
    labels = np.array([0] * 20 + [1])
    _, rest = stratified(labels, 18, (0,))
    assert 1 in labels[rest]


def test_validation_is_stratified(arrays):
    data = arrays({"x_train": pixels(140, 4, 4), "y_train": SKEWED, "x_test": pixels(30, 4, 4)})
    data = data.build(DataFacts(seed=3))
    assert counts(data.validation) == [10, 3, 1]
    assert counts(data.train) == [90, 27, 9]


def test_digits_test_part_is_a_fifth_whatever_the_seed():
    one, two = (Digits().build(DataFacts(seed=seed)) for seed in (0, 5))
    assert (len(one.train), len(one.validation), len(one.test)) == (1294, 144, 359)
    np.testing.assert_array_equal(one.test.index, two.test.index)
    shares = np.bincount(one.test.labels) / 359 - np.bincount(one.train.labels) / 1294
    assert abs(shares).max() < 0.002
    parts = [set(split.index) for split in (one.train, one.validation, one.test)]
    assert len(set.union(*parts)) == 1797 == sum(map(len, parts))


def test_digits_use_the_whole_range_of_bytes():
    data = Digits().build(DataFacts(seed=0))
    images = data.train.fetch(np.arange(len(data.train)))
    assert (images.min().item(), images.max().item()) == (0, 255)


def test_validation_from_test_leaves_training_whole(arrays):
    settings = arrays(validation_from="test", validation=0.4)
    one, two = (settings.build(DataFacts(seed=seed)) for seed in (0, 1))
    assert (len(one.train), len(one.validation), len(one.test)) == (60, 12, 18)
    assert not set(one.validation.index) & set(one.test.index)
    np.testing.assert_array_equal(one.test.index, two.test.index)


@pytest.mark.parametrize("subset", [27, 0.5])
def test_subset_is_a_stratified_share_or_number(arrays, subset):
    data = arrays(subset=subset).build(DataFacts(seed=0))
    whole = arrays().build(DataFacts(seed=0))
    assert counts(data.train) == [9, 9, 9]
    assert set(data.train.index) < set(whole.train.index)
    np.testing.assert_array_equal(data.validation.index, whole.validation.index)


def test_subset_larger_than_training_is_an_error(arrays):
    with pytest.raises(AugcompressError, match=r"data\.subset: 55 is 55 of 54 training images"):
        arrays(subset=55).build(DataFacts(seed=0))


def test_validation_without_images_is_an_error(arrays):
    with pytest.raises(AugcompressError, match=r"data\.validation: 0.001 of 60 train images"):
        arrays(validation=0.001).build(DataFacts(seed=0))


def test_class_without_training_image_is_an_error(arrays):
    settings = arrays({"y_train": np.arange(60) % 2})
    with pytest.raises(AugcompressError, match="no training image of class 2"):
        settings.build(DataFacts(seed=0))


def test_minmax_is_minimum_and_range(arrays):
    images = pixels(60, 6, 5, 3).clip(51, 204)
    images[..., 2] = 51
    data = arrays({"x_train": images}, normalization="minmax").build(DataFacts(seed=0))
    assert data.mean == pytest.approx([0.2, 0.2, 0.2])
    assert data.std == pytest.approx([0.6, 0.6, 1.0])  # a constant channel is divided by 1


def test_none_and_given_normalization(arrays):
    data = arrays(normalization="none").build(DataFacts(seed=0))
    assert (data.mean, data.std) == ([0.0] * 3, [1.0] * 3)
    given = GivenNormalization(mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    data = arrays(normalization=given).build(DataFacts(seed=0))
    assert (data.mean, data.std) == (given.mean, given.std)


@pytest.mark.parametrize("std", [[1.0], [1.0, 0.0, 1.0]])
def test_given_normalization_must_fit_the_channels(arrays, std):
    given = GivenNormalization(mean=[0.0] * len(std), std=std)
    with pytest.raises(AugcompressError, match=r"data\.normalization: the images have 3 channels"):
        arrays(normalization=given).build(DataFacts(seed=0))


def test_normalization_is_fitted_on_the_training_split_only(arrays):
    settings = arrays(validation=0.5)
    data = settings.build(DataFacts(seed=0))
    train = data.train.fetch(np.arange(len(data.train))).double() / 255
    assert data.mean == pytest.approx(train.mean((0, 2, 3)).tolist())


def test_exact_copies_in_test_are_counted(arrays):
    test = pixels(30, 6, 5, 3, seed=1)
    data = arrays().build(DataFacts(seed=0))
    assert data.copies.test_in_train == 0
    test[:4] = data.train.fetch(np.arange(4)).permute(0, 2, 3, 1).numpy()
    assert arrays({"x_test": test}).build(DataFacts(seed=0)).copies.test_in_train == 4


def test_fetch_follows_positions(arrays):
    data = arrays().build(DataFacts(seed=0))
    everything = data.train.fetch(np.arange(54))
    assert torch.equal(data.train.fetch(np.array([5, 2, 5])), everything[[5, 2, 5]])
