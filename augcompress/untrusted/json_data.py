"""JSON that a stranger wrote, bounded in size and depth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_JSON_BYTES = 16 * 2**20
MAX_DEPTH = 32
"""Lists and mappings inside each other."""


def load_json(path: str | Path) -> Any:
    """The value in a JSON file: at most 16 MiB, at most 32 levels deep.

    Raises OSError or ValueError when it cannot be read, is no JSON or larger than that.
    """
    return parse_json(read_bytes(path, MAX_JSON_BYTES + 1))


def read_bytes(path: str | Path, at_most: int) -> bytes:
    """The first bytes of a regular file.

    Raises OSError or ValueError when it is none, or cannot be read.
    """
    with require_regular(path).open("rb") as file:
        return file.read(at_most)


def require_regular(path: str | Path) -> Path:
    """The path, where a file is or nothing: what a pipe or a device would give has no end.

    Raises OSError or ValueError for anything else.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ValueError("is no regular file")
    return path


def parse_json(content: str | bytes) -> Any:
    """The value that a JSON text stands for, within the same bounds.

    Raises ValueError when it is none, or larger than that.
    """
    if len(content) > MAX_JSON_BYTES:
        raise ValueError(f"is larger than {MAX_JSON_BYTES >> 20} MiB")
    try:
        value = json.loads(content)
    except RecursionError:
        raise ValueError(f"is deeper than {MAX_DEPTH} levels") from None
    check_depth(value)
    return value


def check_depth(value: Any) -> None:
    """Raises ValueError when lists and mappings stand more than 32 levels inside each other."""
    layer = [value]
    for _ in range(MAX_DEPTH + 1):
        layer = [inner for outer in layer for inner in _inside(outer)]
        if not layer:
            return
    raise ValueError(f"is deeper than {MAX_DEPTH} levels")


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
