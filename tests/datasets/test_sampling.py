"""Class balance, repeats, and classes cut down: what an epoch shows, whoever reads it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from augcompress.datasets import Batches, ClassBalance, DataFacts, MemorySplit, class_counts
from augcompress.datasets.digits import Digits
from augcompress.datasets.sampling import Order
from augcompress.errors import AugcompressError

SIZES = (40, 20, 4)
EPOCH = {
    "balanced": [22, 21, 21],
    "square_root": [32, 22, 10],
    "label_shuffle": [40, 40, 40],
    "under_sampling": [4, 4, 4],
    "rare_strength": [40, 20, 4],
}


def unequal() -> MemorySplit:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(3), SIZES))
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1)
    return MemorySplit.whole(images, labels)


def balance(kind: str, **more):
    return TypeAdapter(ClassBalance).validate_python({"kind": kind, **more})


def batches(kind: str | None = None, size: int = 8, **more) -> Batches:
    chosen = None if kind is None else balance(kind)
    return Batches(unequal(), 3, size, shuffle=True, seed=0, balance=chosen, **more)


def samples(given: Batches, epoch: int = 0, start: int = 0) -> list[tuple[int, int]]:
    """Index and view of every sample, in order."""
    found = []
    for batch in given.epoch(epoch, start):
        views = torch.zeros_like(batch.index) if batch.view is None else batch.view
        found += zip(batch.index.tolist(), views.tolist(), strict=True)
    return found


@pytest.fixture(params=sorted(EPOCH))
def kind(request) -> str:
    return request.param


def test_an_epoch_shows_each_class_as_often_as_promised(kind):
    labels = torch.cat([batch.targets.argmax(1) for batch in batches(kind).epoch(0)])
    assert torch.bincount(labels, minlength=3).tolist() == EPOCH[kind]
    assert len(labels) == batches(kind).samples


def test_samples_of_a_class_take_turns(kind):
    labels = unequal().labels
    index = np.array([index for index, _ in samples(batches(kind))])
    for label in range(3):
        times = np.bincount(index, minlength=len(labels))[labels == label]
        assert times.max() - times.min() <= 1


def test_images_and_labels_belong_to_their_index(kind):
    labels = unequal().labels
    for batch in batches(kind).epoch(1):
        assert torch.equal(batch.images().flatten().long(), batch.index)
        assert batch.targets.argmax(1).tolist() == labels[batch.index.numpy()].tolist()


@pytest.mark.parametrize("repeat", [1, 2])
def test_every_time_an_image_comes_again_is_another_view(kind, repeat):
    found = samples(batches(kind, repeat=repeat))
    assert len(set(found)) == len(found)
    times = np.bincount([index for index, _ in found])
    assert max(view for _, view in found) == times.max() - 1


def test_the_order_is_that_of_seed_and_epoch(kind):
    assert samples(batches(kind), 1) == samples(batches(kind, size=4), 1)
    assert samples(batches(kind), 0) != samples(batches(kind), 1)
    other = Batches(unequal(), 3, 8, shuffle=True, seed=1, balance=balance(kind))
    assert samples(batches(kind)) != samples(other)


@pytest.mark.parametrize("repeat", [1, 2])
def test_processes_share_the_same_batches(kind, repeat):
    single = list(batches(kind, repeat=repeat).epoch(2))
    ranks = [list(batches(kind, repeat=repeat, rank=r, world=4).epoch(2)) for r in range(4)]
    for whole, *parts in zip(single, *ranks, strict=True):
        pairs = [
            (index, 0 if part.view is None else int(part.view[row]))
            for part in parts
            for row, index in enumerate(part.index.tolist())
        ]
        views = torch.zeros_like(whole.index) if whole.view is None else whole.view
        assert sorted(pairs) == sorted(zip(whole.index.tolist(), views.tolist(), strict=True))


def test_resuming_gives_the_rest_of_the_epoch(kind):
    given = batches(kind, size=4, repeat=2)
    assert samples(given, 3, start=2) == samples(given, 3)[8:]
    assert len(given) == len(list(given.epoch(0)))


def test_other_images_of_a_large_class_come_in_other_epochs():
    given, labels = batches("under_sampling"), unequal().labels
    shown = {
        index for epoch in range(40) for index, _ in samples(given, epoch) if labels[index] == 0
    }
    assert len(shown) == SIZES[0]


def test_extra_turns_fall_on_images_by_chance():
    order = Order(8, 0, True, labels=np.repeat([0, 1], (5, 3)), quotas=np.array([5, 5]))
    times = sum(np.bincount(order.epoch(epoch)[0], minlength=8) for epoch in range(2000))
    assert times[:5].tolist() == [2000] * 5
    spread = np.sqrt(2 / 9 / 2000)  # each of three images has one turn, or two with chance 2/3
    assert np.abs(times[5:] / 2000 - 5 / 3).max() < 4 * spread


def test_repeats_stand_in_one_batch():
    for batch in batches(size=6, repeat=3).epoch(0):
        index = batch.index.view(-1, 3)
        assert (index == index[:, :1]).all()
        assert batch.view.tolist() == [0, 1, 2] * len(index)
    assert len(batches(size=6, repeat=3)) == 64 * 3 // 6


def test_without_balance_and_repeat_nothing_has_changed():
    order = [index for index, _ in samples(batches())]
    assert order == np.random.default_rng((0, 0)).permutation(64).tolist()
    assert all(batch.view is None for batch in batches().epoch(0))


def test_no_image_is_fetched_twice_for_a_batch(monkeypatch):
    fetched = []
    real = MemorySplit.fetch
    monkeypatch.setattr(
        MemorySplit, "fetch", lambda self, at: fetched.append(list(at)) or real(self, at)
    )
    list(batches("label_shuffle", repeat=2).epoch(0))
    assert all(len(set(each)) == len(each) for each in fetched)


def test_a_batch_must_hold_whole_groups_of_repeats():
    with pytest.raises(AugcompressError, match=r"training\.batch_size: 8 cannot hold each image 3"):
        batches(size=8, repeat=3)


def test_a_batch_larger_than_a_short_epoch_is_an_error():
    with pytest.raises(AugcompressError, match="16 is more than the 12 training images"):
        batches("under_sampling", size=16, drop_last=True)


def test_a_class_without_images_is_left_out(kind):
    labels = np.repeat([0, 2], (6, 3))
    quotas = balance(kind).quotas(class_counts(labels, 4))
    positions, _ = Order(9, 0, True, labels=labels, quotas=quotas).epoch(0)
    assert set(labels[positions]) == {0, 2}


def test_rare_classes_are_augmented_more_often():
    counts = np.array([100, 100, 25, 1, 400])
    factors = balance("rare_strength").emphasis(counts)
    assert factors.tolist() == [1, 1, 2, 4, 0.5]
    assert balance("rare_strength", power=1, most=9).emphasis(counts)[3] == 9
    assert balance("balanced").emphasis(counts).tolist() == [1] * 5


@pytest.mark.parametrize(
    "wrong, match",
    [
        ({"kind": "rare_strength", "power": 2}, "less than or equal to 1"),
        ({"kind": "rare_strength", "most": 0.5}, "greater than or equal to 1"),
        ({"kind": "balancd"}, "does not match any of the expected tags"),
    ],
)
def test_wrong_settings_are_refused(wrong, match):
    with pytest.raises(ValidationError, match=match):
        TypeAdapter(ClassBalance).validate_python(wrong)


def test_a_class_is_cut_down_in_training_only():
    whole, cut = (
        Digits(keep=keep).build(DataFacts(seed=0)) for keep in ({}, {"8": 0.1, "3": 0.001})
    )
    before, after = (class_counts(data.train.labels, 10) for data in (whole, cut))
    assert after[8] == round(0.1 * before[8])
    assert after[3] == 1
    assert np.delete(after, [3, 8]).tolist() == np.delete(before, [3, 8]).tolist()
    np.testing.assert_array_equal(cut.validation.index, whole.validation.index)
    np.testing.assert_array_equal(cut.test.index, whole.test.index)


def test_a_smaller_share_is_a_part_of_a_larger_one():
    parts = [
        set(Digits(keep={"8": share}).build(DataFacts(seed=0)).train.index) for share in (0.1, 0.4)
    ]
    assert parts[0] < parts[1]


def test_a_class_that_is_not_there_cannot_be_cut_down():
    with pytest.raises(AugcompressError, match=r"data\.keep: nine is no class; there are: 0, 1"):
        Digits(keep={"nine": 0.5}).build(DataFacts(seed=0))
    with pytest.raises(ValidationError, match="greater than 0"):
        Digits(keep={"9": 0})
