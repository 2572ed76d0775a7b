"""Work on many files at once, on threads that live as long as the process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain
from typing import TypeVar

from augcompress.system import available_cpus

MOST = 32
TURN = 8
"""Items that a thread takes at a time: on small images threads would otherwise spend their time
waiting for Python's lock."""
BLOCK = 1024
"""Items that are under way at a time, so that memory does not grow with their number."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """`work` of every item, in order, on all CPUs (decoding and hashing release Python's lock).

    `work` must not use `in_threads` itself.
    """
    turn = max(1, min(TURN, -(-len(items) // thread_count())))

    def some(start: int) -> list[Result]:
        return [work(items[place]) for place in range(start, min(start + turn, len(items)))]

    for first in range(0, len(items), BLOCK):
        starts = range(first, min(first + BLOCK, len(items)), turn)
        yield from chain.from_iterable(_pool().map(some, starts))


def thread_count() -> int:
    """Threads of this process: its share of the CPUs where several processes train together."""
    together = os.environ.get("LOCAL_WORLD_SIZE", "1")  # told by torch's launcher
    return min(MOST, max(1, available_cpus() // max(1, int(together))))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_count(), thread_name_prefix="files")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
