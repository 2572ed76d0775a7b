"""What need not be worked out twice: small JSON values under `~/.cache/augcompress`."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from augcompress.errors import AugcompressError
from augcompress.storage.files import write_aside


def cache_folder() -> Path | None:
    """`$XDG_CACHE_HOME/augcompress`, else `~/.cache/augcompress`; None where there is no home."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "augcompress" if Path(base).is_absolute() else None


def remembered(topic: str, key: str, compute: Callable[[], Any], *, keep: bool = True) -> Any:
    """The JSON value stored under `key`, else computed, and stored where `keep` and writable."""
    folder = cache_folder()
    if folder is None:
        return compute()
    file = folder / f"{topic}-{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    try:
        return json.loads(file.read_text())["value"]
    except (OSError, ValueError, KeyError, TypeError):
        value = compute()
    if keep:
        _store(file, value)
    return value


def _store(file: Path, value: Any) -> None:
    try:
        with write_aside(file) as aside:
            aside.write_text(json.dumps({"value": value}))
    except (OSError, AugcompressError):
        return  # a cache that cannot be written is no cache
