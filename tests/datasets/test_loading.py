"""Batches: order, resuming, ranks, reading ahead."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from datasets_sources import write_folder

from augcompress.datasets import Batches, DataFacts, MemorySplit
from augcompress.datasets.image_folder import ImageFolder
from augcompress.errors import AugcompressError


def memory(count: int = 23) -> MemorySplit:
    images = torch.arange(count, dtype=torch.uint8).view(count, 1, 1, 1)
    return MemorySplit.whole(images, np.arange(count) % 3)


@pytest.fixture
def streamed(tmp_path):
    root = write_folder(tmp_path / "source", {"train": 10, "test": 4})
    return ImageFolder(root=str(root), size=8, in_memory_mb=0).build(DataFacts(seed=0)).train


def order(batches: Batches, epoch: int = 0, start: int = 0) -> list[int]:
    return [n for batch in batches.epoch(epoch, start) for n in batch.index.tolist()]


def test_batch_holds_images_one_hot_targets_and_positions():
    for batch in Batches(memory(), 3, 5, shuffle=True, seed=0).epoch(0):
        assert batch.images().dtype == torch.uint8
        assert torch.equal(batch.images().flatten().long(), batch.index)
        assert batch.targets.dtype == torch.float32
        assert torch.equal(batch.targets.argmax(1), batch.index % 3)
        assert torch.equal(batch.targets.sum(1), torch.ones(len(batch)))


def test_index_is_the_place_in_the_source_whatever_the_split_leaves_out():
    part = memory().take(np.array([20, 3, 7, 11, 2]))
    for batch in Batches(part, 3, 2, shuffle=True, seed=0).epoch(0):
        assert torch.equal(batch.images().flatten().long(), batch.index)
        assert torch.equal(batch.targets.argmax(1), batch.index % 3)


def test_order_depends_on_seed_and_epoch_only():
    one = Batches(memory(), 3, 5, shuffle=True, seed=0)
    assert order(one, 1) == order(Batches(memory(), 3, 4, shuffle=True, seed=0), 1)
    assert order(one, 0) != order(one, 1)
    assert order(one) != order(Batches(memory(), 3, 5, shuffle=True, seed=1))
    assert order(Batches(memory(), 3, 5, shuffle=False, seed=0)) == list(range(23))


@pytest.mark.parametrize(("drop_last", "steps", "samples"), [(False, 5, 23), (True, 4, 20)])
def test_length_is_the_steps_of_an_epoch(drop_last, steps, samples):
    batches = Batches(memory(), 3, 5, shuffle=True, seed=0, drop_last=drop_last)
    assert len(batches) == len(list(batches.epoch(0))) == steps
    assert len(set(order(batches))) == samples


def test_ranks_share_every_global_batch_without_repeats():
    single = list(Batches(memory(), 3, 6, shuffle=True, seed=0).epoch(2))
    ranks = [
        list(Batches(memory(), 3, 6, shuffle=True, seed=0, rank=rank, world=4).epoch(2))
        for rank in range(4)
    ]
    assert {len(batches) for batches in ranks} == {len(single)}
    for whole, *parts in zip(single, *ranks, strict=True):
        shared = [n for part in parts for n in part.index.tolist()]
        assert sorted(shared) == sorted(whole.index.tolist())


def test_last_batch_may_leave_a_rank_empty():
    *_, last = Batches(memory(9), 3, 8, shuffle=False, seed=0, rank=1, world=2).epoch(0)
    assert len(last) == 0
    assert last.images().shape == (0, 1, 1, 1)
    assert last.targets.shape == (0, 3)


def test_resuming_gives_the_rest_of_the_epoch():
    batches = Batches(memory(), 3, 5, shuffle=True, seed=0)
    assert order(batches, 3, start=2) == order(batches, 3)[10:]


def test_resuming_decodes_no_skipped_image(streamed, monkeypatch):
    decoded = []
    batches = Batches(streamed, 2, 4, shuffle=True, seed=0)
    real = type(streamed).fetch
    monkeypatch.setattr(
        type(streamed), "fetch", lambda self, at: decoded.extend(at) or real(self, at)
    )
    rest = order(batches, 0, start=3)
    assert streamed.index[decoded].tolist() == rest
    assert len(rest) == len(streamed) - 12


def test_streamed_images_are_those_of_the_files_in_order(streamed):
    batches = list(Batches(streamed, 2, 4, shuffle=True, seed=0).epoch(0))
    images = torch.cat([batch.images() for batch in batches])
    index = torch.cat([batch.index for batch in batches]).numpy()
    places = [int(np.flatnonzero(streamed.index == each)[0]) for each in index]
    assert torch.equal(images, streamed.fetch(np.array(places)))


def test_leaving_an_epoch_early_stops_its_reader(streamed):
    def readers() -> int:  # the threads that decode stay
        return sum(not thread.name.startswith("files") for thread in threading.enumerate())

    before = readers()
    epoch = Batches(streamed, 2, 2, shuffle=True, seed=0).epoch(0)
    next(epoch)
    assert readers() == before + 1
    epoch.close()
    assert readers() == before


def test_image_that_breaks_while_streaming_is_named(streamed):
    streamed.files[streamed.index[0]].write_bytes(b"no image")
    epoch = Batches(streamed, 2, 4, shuffle=False, seed=0).epoch(0)
    with pytest.raises(AugcompressError, match=r"0\.png: not a readable image.*corrupt: skip"):
        list(epoch)


def test_batch_larger_than_the_split_is_an_error_when_incomplete_ones_are_dropped():
    with pytest.raises(AugcompressError, match="64 is more than the 23 training images"):
        Batches(memory(), 3, 64, shuffle=True, seed=0, drop_last=True)
