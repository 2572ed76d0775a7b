"""Standard output: results alone, and with --json one object, whatever happens."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Iterator
from typing import Any, TextIO

_kept: io.StringIO | None = None  # what a command with --json writes, until it has ended
_results: TextIO | None = None


def results() -> TextIO:
    """Where a command writes what it found."""
    return _kept or _results or sys.stdout


@contextlib.contextmanager
def one_object(wanted: bool) -> Iterator[None]:
    """Keep what is written while a command runs, as it may yet fail: see `close_object`."""
    global _kept
    _kept = io.StringIO() if wanted else None
    try:
        yield
    finally:
        _kept = None


@contextlib.contextmanager
def results_alone() -> Iterator[None]:
    """Whatever else is printed (by plug-ins, by libraries) goes to standard error."""
    global _results
    _results = sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _results = None


def close_object(failure: dict[str, Any] | None = None) -> None:
    """Print what was kept as one object, with the failure in it; nothing, where neither is."""
    told = _kept.getvalue() if _kept is not None else ""
    if _kept is None or not (told or failure):
        return
    _kept.truncate(_kept.seek(0))
    if failure:
        found = json.loads(told) if told else {"version": 1}
        told = json.dumps({**found, "status": "failed", **failure}, indent=2) + "\n"
    sys.stdout.write(told)
