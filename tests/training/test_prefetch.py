"""Batches ahead of the step: order, errors, threads; on CUDA also the copies."""

from __future__ import annotations

import threading

import pytest
import torch

from augcompress.batch import Batch
from augcompress.training.prefetch import _each_tensor, prefetched, ready_ahead

CPU = torch.device("cpu")
BOTH = [lambda source: prefetched(source, CPU), lambda source: ready_ahead(source, lambda b: b)]


def numbered(count: int, read: list[int] | None = None, closed: list[str] | None = None):
    """Batches 0, 1, ...; notes which have been read, and that it was closed."""
    try:
        for number in range(count):
            if read is not None:
                read.append(number)
            images = torch.full((3, 1, 2, 2), number, dtype=torch.uint8)
            yield Batch(images, torch.ones(3, 2), torch.arange(3) + 3 * number)
    finally:
        if closed is not None:
            closed.append("closed")


def failing(after: int):
    """Batches, then an error."""
    yield from numbered(after)
    raise ValueError("the file is gone")


def test_cpu_batches_pass_as_they_are():
    found = list(prefetched(numbered(4), CPU))
    assert [int(batch.images()[0, 0, 0, 0]) for batch in found] == [0, 1, 2, 3]
    assert all(batch.index.device == CPU for batch in found)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_all_are_prepared_in_order_by_another_thread(depth):
    threads = set()

    def prepare(batch: Batch) -> int:
        threads.add(threading.get_ident())
        return int(batch.index[0])

    assert list(ready_ahead(numbered(7), prepare, depth)) == [0, 3, 6, 9, 12, 15, 18]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_no_more_than_the_depth_is_read_ahead():
    read: list[int] = []
    settled = threading.Event()

    def prepare(batch: Batch) -> Batch:
        if int(batch.index[0]) == 3 * 2:  # the third: two ahead of the first
            settled.set()
        return batch

    ahead = ready_ahead(numbered(50, read), prepare, depth=2)
    next(ahead)
    assert settled.wait(timeout=30)
    assert read == [0, 1, 2]
    ahead.close()
    assert read == [0, 1, 2]


@pytest.mark.parametrize("make", BOTH)
def test_errors_of_the_source_come_in_their_place(make):
    batches = make(failing(3))
    assert [int(next(batches).index[0]) for _ in range(3)] == [0, 3, 6]
    with pytest.raises(ValueError, match="the file is gone"):
        next(batches)


def test_errors_of_preparing_come_out():
    def prepare(batch: Batch) -> Batch:
        raise RuntimeError("no memory to pin")

    with pytest.raises(RuntimeError, match="no memory to pin"):
        next(ready_ahead(numbered(3), prepare))


@pytest.mark.parametrize("make", BOTH)
def test_leaving_early_stops_the_thread_and_closes_the_source(make):
    before, closed = threading.active_count(), []
    batches = make(numbered(50, closed=closed))
    next(batches)
    batches.close()
    assert closed == ["closed"]
    assert threading.active_count() == before


def test_a_source_without_close_will_do():
    assert len(list(prefetched(iter([*numbered(3)]), CPU))) == 3
    assert list(ready_ahead(iter([]), lambda batch: batch)) == []


def test_every_tensor_of_a_batch_is_changed():
    words = {"ids": torch.zeros(2), "mask": torch.zeros(2)}
    batch = Batch(words, None, torch.zeros(2), torch.zeros(2))
    found = _each_tensor(batch, lambda tensor: tensor + 1)
    assert isinstance(found.inputs, dict)
    assert found.targets is None
    for tensor in (*found.inputs.values(), found.index, found.view):
        assert tensor.tolist() == [1, 1]
    texts = Batch(["a"], torch.ones(1, 2), torch.zeros(1))
    assert _each_tensor(texts, lambda tensor: tensor).inputs == ["a"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_cuda_batches_arrive_whole_and_in_order():
    device = torch.device("cuda")
    for number, batch in enumerate(prefetched(numbered(40), device)):
        assert batch.images().device.type == "cuda"
        assert bool((batch.images() == number).all())
        assert batch.index.tolist() == [3 * number, 3 * number + 1, 3 * number + 2]
