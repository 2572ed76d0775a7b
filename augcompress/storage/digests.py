"""Digests of files, and of JSON data."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augcompress.errors import AugcompressError
from augcompress.storage.cache import remembered
from augcompress.untrusted import require_regular

LARGE_BYTES = 64 * 2**20
"""Digests of files that have more than this together are remembered from run to run, for as long
as the system has not seen them change."""
QUIET_S = 2.0
"""A file that changed later than this before now may change again within one tick of the file
system's clock, which nobody could see: its digest is not remembered."""

State = tuple[int, ...]
_known: dict[State, str] = {}


def digest_file(path: str | Path) -> str:
    """SHA-256 of a regular file's bytes.

    Raises AugcompressError when it is none, or cannot be read.
    """
    try:
        state = _state(require_regular(path))
        if state not in _known:
            with open(path, "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if not _is_quiet(state):
                return found
            _known[state] = found
        return _known[state]
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or error
        raise AugcompressError(f"{path}: {problem}; give a readable file") from error


def digests_of(files: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of files by name.

    Raises AugcompressError when one cannot be read.
    """

    def compute() -> dict[str, str]:
        return {name: digest_file(path) for name, path in files.items()}

    try:
        states = {name: _state(path) for name, path in files.items()}
    except OSError as error:
        raise AugcompressError(f"{error.filename}: {error.strerror}; try again") from error
    if sum(size for size, *_ in states.values()) <= LARGE_BYTES:
        return compute()
    quiet = all(map(_is_quiet, states.values()))
    return remembered("digests", digest_json(states), compute, keep=quiet)


def digest_json(payload: Any) -> str:
    """SHA-256 of JSON data, whatever the order of its keys."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _state(path: str | Path) -> State:
    """Whatever of a file changes when its bytes do: its time of change is the system's own."""
    found = os.stat(path)
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


def _is_quiet(state: State) -> bool:
    _, modified, changed, *_ = state
    has_times_of_change = os.name != "nt"
    return has_times_of_change and time.time_ns() - max(modified, changed) > QUIET_S * 1e9
