"""What the first of several processes does alone, while the others wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from augcompress.running.context import Context
from augcompress.training import ALONE

T = TypeVar("T")


@contextmanager
def alone(context: Context) -> Iterator[None]:
    """Inside, this process waits for no other: what is shared out elsewhere it does by itself."""
    together, context.processes = context.processes, ALONE
    try:
        yield
    finally:
        context.processes = together


def agreed(context: Context, action: Callable[[], T]) -> T:
    """What `action` gives in the first process, in all of them; it must be picklable.

    Where it fails, all of them raise: the first says why.
    """
    return context.processes.agreed(lambda: _alone(context, action))


def led(context: Context, action: Callable[[], T]) -> T | None:
    """Likewise, but only the first process gets what it gives, the others None."""
    return context.processes.once(lambda: _alone(context, action))


def _alone(context: Context, action: Callable[[], T]) -> T:
    with alone(context):
        return action()
