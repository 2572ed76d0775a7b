"""Work on threads: order, errors, bounds."""

from __future__ import annotations

import threading

import pytest

from augcompress.datasets import threads
from augcompress.datasets.threads import in_threads, thread_count


@pytest.fixture
def four(monkeypatch):
    """A pool of the test's own, of four threads."""
    monkeypatch.setattr(threads, "available_cpus", lambda: 4)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    threads._pool.cache_clear()
    yield
    threads._pool().shutdown()
    threads._pool.cache_clear()


@pytest.mark.parametrize("count", [0, 1, 3, 9, 100])
def test_results_are_in_order(four, count):
    assert list(in_threads(lambda n: n * n, range(count))) == [n * n for n in range(count)]


def test_few_items_are_shared_out_to_all_threads(four):
    together = threading.Barrier(4)
    used = set(in_threads(lambda _: together.wait(timeout=30), range(4)))
    assert used == {0, 1, 2, 3}


def test_errors_come_out(four):
    def fail(number: int) -> int:
        if number == 5:
            raise ValueError("item 5 is broken")
        return number

    with pytest.raises(ValueError, match="item 5 is broken"):
        list(in_threads(fail, range(40)))


def test_no_more_than_a_block_is_under_way(four, monkeypatch):
    monkeypatch.setattr(threads, "BLOCK", 16)
    done: list[int] = []
    results = in_threads(done.append, range(100))
    next(results)
    assert len(done) <= 16


def test_threads_live_on(four):
    pool, seen = threads._pool(), set()
    for _ in range(20):
        seen |= set(in_threads(lambda _: threading.get_ident(), range(50)))
    assert threads._pool() is pool
    assert 1 <= len(seen) <= 4
    assert threading.get_ident() not in seen


@pytest.mark.parametrize(
    ("cpus", "processes", "count"), [(8, "1", 8), (8, "4", 2), (2, "8", 1), (99, "1", 32)]
)
def test_processes_on_a_machine_share_its_cpus(monkeypatch, cpus, processes, count):
    monkeypatch.setattr(threads, "available_cpus", lambda: cpus)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert thread_count() == count
