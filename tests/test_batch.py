"""Batches of any inputs: images, encoded texts, raw texts."""

from __future__ import annotations

import pytest
import torch

from augcompress.batch import Batch

INPUTS = {
    "tensor": torch.arange(15.0).view(5, 1, 1, 3),
    "dict": {"ids": torch.arange(10).view(5, 2), "mask": torch.arange(10).view(5, 2) % 2},
    "texts": ["a", "b", "c", "d", "e"],
}


def batch_of(inputs, *, labelled: bool = True) -> Batch:
    targets = torch.eye(5) if labelled else None
    return Batch(inputs, targets, torch.arange(5) + 10, torch.arange(5) + 20)


def plain(batch: Batch) -> list:
    """All that the batch holds, as lists."""
    inputs = batch.inputs if isinstance(batch.inputs, dict) else {"": batch.inputs}
    values = [*inputs.values(), batch.targets, batch.index, batch.view]
    return [each.tolist() if isinstance(each, torch.Tensor) else each for each in values]


def rows(batch: Batch, places: list[int]) -> list:
    return [None if each is None else [each[place] for place in places] for each in plain(batch)]


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("labelled", [True, False])
def test_take_keeps_what_belongs_together(kind, labelled):
    batch = batch_of(INPUTS[kind], labelled=labelled)
    taken = batch.take(torch.tensor([3, 0, 3]))
    assert plain(taken) == rows(batch, [3, 0, 3])
    assert type(taken.inputs) is type(batch.inputs)


@pytest.mark.parametrize("kind", INPUTS)
def test_pieces_are_the_batch_in_order(kind):
    batch = batch_of(INPUTS[kind])
    assert batch.pieces(1)[0] is batch
    assert [plain(piece) for piece in batch.pieces(2)] == [
        rows(batch, [0, 1]),
        rows(batch, [2, 3, 4]),
    ]
    assert [len(piece) for piece in batch.pieces(9)] == [1] * 5


def test_pieces_share_memory_with_the_batch():
    batch = batch_of(INPUTS["tensor"])
    second = batch.pieces(2)[1]
    assert second.images().data_ptr() == batch.images()[2:].data_ptr()
