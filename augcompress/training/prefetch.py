"""Batches on their way to the device while it computes on the ones before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from augcompress.batch import Batch

DEPTH = 2
"""Batches that are made ready while one is computed on."""

Ready = TypeVar("Ready")


def prefetched(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches, on `device`.

    For CUDA a thread reads and pins them and a stream of its own copies them, so that neither the
    host nor the device waits.  What `batches` raises is raised here; closing this generator stops
    the thread and closes `batches`.
    """
    if device.type == "cuda":
        return _through_pinned_memory(batches, device)
    return _one_by_one(batches, device)


def ready_ahead(
    batches: Iterator[Batch], prepare: Callable[[Batch], Ready], depth: int = DEPTH
) -> Iterator[Ready]:
    """`prepare` of every batch, in order; reading and preparing are done in a thread, which is at
    most `depth` batches ahead."""

    def following() -> Ready | None:
        batch = next(batches, None)
        return None if batch is None else prepare(batch)

    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[Ready | None]] = deque()
        try:
            waiting.extend(pool.submit(following) for _ in range(depth))
            while (ready := waiting.popleft().result()) is not None:
                waiting.append(pool.submit(following))
                yield ready
        finally:
            pool.shutdown(cancel_futures=True)
            _close(batches)


def _one_by_one(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    try:
        for batch in batches:
            yield batch.to(device)
    finally:
        _close(batches)


def _through_pinned_memory(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    stream = torch.cuda.Stream(device)

    def copied(batch: Batch) -> tuple[Batch, torch.cuda.Event]:
        with torch.cuda.stream(stream):
            there = _each_tensor(batch, Tensor.pin_memory).to(device)
            return there, stream.record_event()

    for batch, event in ready_ahead(batches, copied):
        computing = torch.cuda.current_stream(device)
        computing.wait_event(event)
        yield _each_tensor(batch, partial(_used_on, computing))


def _used_on(stream: torch.cuda.Stream, tensor: Tensor) -> Tensor:
    """The tensor, whose memory is not to be reused before `stream` is done with it."""
    tensor.record_stream(stream)
    return tensor


def _each_tensor(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The batch with `change` of every tensor in it."""
    return replace(
        batch, **{f.name: _changed(getattr(batch, f.name), change) for f in fields(batch)}
    )


def _changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, dict):
        return {name: change(tensor) for name, tensor in value.items()}
    return change(value) if isinstance(value, Tensor) else value


def _close(batches: Iterator[Batch]) -> None:
    close = getattr(batches, "close", None)
    if close is not None:
        close()
