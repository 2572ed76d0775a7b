"""What rank 0 of several processes does alone, while the others wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from augcompress.running.context import Context
from augcompress.training import ALONE

T = TypeVar("T")


@contextmanager
def alone(context: Context) -> Iterator[None]:
    """Inside, this process counts as the only one: it does the work of all."""
    together, context.processes = context.processes, ALONE
    try:
        yield
    finally:
        context.processes = together


def broadcast(context: Context, action: Callable[[], T]) -> T:
    """What `action` returns in rank 0, in every process; it must be picklable.

    Where it fails, all of them raise: rank 0 says why.
    """
    return context.processes.broadcast(lambda: _alone(context, action))


def rank_zero_only(context: Context, action: Callable[[], T]) -> T | None:
    """Likewise, but only rank 0 gets what `action` returns, the others None."""
    return context.processes.rank_zero_only(lambda: _alone(context, action))


def _alone(context: Context, action: Callable[[], T]) -> T:
    with alone(context):
        return action()
