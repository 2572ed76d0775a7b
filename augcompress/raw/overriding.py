"""`--set a.b=1`: changing a recipe's raw data by dotted path."""

from __future__ import annotations

import os
from typing import Any

from augcompress.component import PlacedText
from augcompress.errors import UsageError
from augcompress.untrusted import plain_yaml
from augcompress.wording import as_given


def override_value(raw: dict[str, Any], override: str) -> None:
    """Apply one `--set a.b.0.c=value` in place; the value is read as YAML, and relative paths in it
    start at the current folder.

    Raises UsageError when it is no assignment or the path runs into a plain value.
    """
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UsageError(f"--set {override[:60]}: sets nothing; write section.field=value")
    try:
        value = plain_yaml(text)
    except ValueError as error:
        raise UsageError(f"--set {path}: {as_given(str(text))} cannot be read: {error}") from error
    set_value(raw, path, placed(value, os.getcwd()))


def set_value(raw: dict[str, Any], path: str, value: Any, by: str = "--set") -> None:
    """Set what stands at a dotted path, in place; `by` names who asks, for messages.

    Raises UsageError when the path runs into a plain value or past the end of a list.
    """
    place: Any = raw
    parts = path.split(".")
    for depth, part in enumerate(parts):
        where = ".".join(parts[: depth + 1])
        key: Any = part
        if isinstance(place, list):
            if not part.isdecimal() or len(part) > 9 or int(part) >= len(place):
                raise UsageError(f"{by} {where}: {no_item(len(place))}")
            key = int(part)
        elif not isinstance(place, dict):
            outer = ".".join(parts[:depth])
            told = f"{outer} is {as_given(place)}, with nothing inside; set {outer}"
            raise UsageError(f"{by} {where}: {told}")
        if depth == len(parts) - 1:
            place[key] = value
        else:
            if isinstance(place, dict) and place.get(key) is None:
                place[key] = {}  # a section, or items of the usual list: see `with_usual_lists`
            place = place[key]


def no_item(count: int) -> str:
    """What is wrong with a place that a list does not have."""
    told = f"its {count} items are 0 to {count - 1}" if count > 1 else "its one item is 0"
    return f"the list has no such item; {told if count else 'it is empty'}"


def placed(value: Any, folder: str) -> Any:
    """The same, with texts that start at a folder of their own should they be paths."""
    if isinstance(value, dict):
        return {name: placed(one, folder) for name, one in value.items()}
    if isinstance(value, list):
        return [placed(one, folder) for one in value]
    if not isinstance(value, str):
        return value
    text = PlacedText(value)
    text.folder = folder
    return text
