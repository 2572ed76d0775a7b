"""Class names: text, each once, at least two."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from typing import Any

from augcompress.errors import AugcompressError, visible_line


def as_text(value: Any) -> str:
    """A name or path that may be stored as bytes; what is not UTF-8 stays recognisable as such."""
    return os.fsdecode(value) if isinstance(value, bytes) else str(value)


def printable(name: str) -> str:
    """The name for people, on one line: what is not UTF-8 is replaced."""
    return visible_line(name.encode(errors="replace").decode())


def check_class_names(names: Sequence[Any]) -> None:
    """Raises AugcompressError when names cannot be told apart, or are no text, or fewer than two.

    Names are the same when they look it: blanks around them and Unicode's several ways to write a
    letter with an accent do not count.
    """
    seen: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise AugcompressError(f"data: a class is called {name!r}; name it with text")
        if name != name.encode(errors="replace").decode():
            raise AugcompressError(f"data: class {name!a} is not UTF-8; rename it")
        plain = unicodedata.normalize("NFC", name.strip())
        if plain in seen:
            raise AugcompressError(
                f"data: two classes look the same, {seen[plain]!r} and {name!r}; merge them or"
                " rename one"
            )
        seen[plain] = name
    if len(names) < 2:
        raise AugcompressError(
            f"data: one class only ({', '.join(names)}), there is nothing to tell apart; give at"
            " least two"
        )
