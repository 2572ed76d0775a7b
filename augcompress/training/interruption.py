"""SIGTERM and Ctrl-C wait until a step is whole and the resume state is written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Interruption:
    """Has anybody asked to stop?"""

    asked: bool = False


@contextmanager
def postponed() -> Iterator[Interruption]:
    """Inside, the first SIGTERM or SIGINT is only noted, and a second one raises KeyboardInterrupt
    at once.  One that this process was started to ignore stays ignored.  Outside the main thread,
    where Python delivers no signals, nothing changes."""
    noted = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def note(number: int, frame: Any) -> None:
        if noted.asked:
            raise KeyboardInterrupt
        noted.asked = True

    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {n: handler for n, handler in found.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, note)
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
