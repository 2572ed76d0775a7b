"""YAML that a stranger wrote, as plain data: bounded in size and depth before it is built, and of
nothing but text, numbers, true, false, null, lists and mappings."""

from __future__ import annotations

import contextlib
import datetime
import io
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from augcompress.errors import first_line
from augcompress.untrusted.json_data import MAX_DEPTH, read_bytes

MAX_TEXT = 256 * 2**10
MAX_VALUES = 20_000
"""Keys and values, those that an alias stands for counted each time."""
_KINDS = ("str", "int", "float", "bool", "null", "map", "seq")
_TAGS = {f"tag:yaml.org,2002:{name}" for name in _KINDS}
_LARGEST = 2**63 - 1
_CURES = {
    "'\\t'": "indent with spaces, not with tabs",
    "duplicate key": "leave one out",
    "expected ':'": "write a space after each colon, and put other text in quotes",
    "mapping values are not allowed": "indent it like its neighbours, or put the text in quotes",
    "expected ',' or": "close what was opened with { or [",
    "expected <block end>": "indent it like its neighbours",
}
"""By words of what ruamel.yaml finds."""


def load_yaml(path: str | Path) -> tuple[Any, str]:
    """What a YAML file says, as `plain_yaml` reads it, and its text.

    Raises OSError or ValueError when it cannot be read.
    """
    try:
        text = read_bytes(path, MAX_TEXT + 1).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is no text; give a file in YAML, saved as UTF-8") from None
    return plain_yaml(text), text


def plain_yaml(text: str) -> Any:
    """What a YAML text says; dates are text, and numbers as keys too.

    Raises ValueError when it is no YAML, too large or too deep, or holds anything else.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    if len(text) > MAX_TEXT:
        raise ValueError(f"is longer than {MAX_TEXT >> 10} KiB; shorten it")
    try:
        _check_size(text)
        value = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}" if error.problem_mark else "it"
        raise ValueError(f"{line} is not YAML: {_said(str(error.problem))}") from error
    except _Refused as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # whatever the library raises on text that means nothing to it
        raise ValueError(f"is not YAML: {first_line(error)}; mend it") from error
    return _plain(value, ())


class _Refused(Exception):
    pass


def _said(problem: str) -> str:
    """What the library says, shortened, and what to do about it."""
    cure = next((cure for words, cure in _CURES.items() if words in problem), "mend it")
    return f"{problem.partition(' with value ')[0]}; {cure}"


def _check_size(text: str) -> None:
    """Count what the text stands for, aliases resolved, without building it."""
    from ruamel.yaml import YAML, events

    counted, starts, anchors = 0, list[tuple[str | None, int]](), dict[str, int]()
    for event in YAML(typ="safe", pure=True).parse(io.StringIO(text)):
        if isinstance(event, events.AliasEvent):
            if event.anchor not in anchors:
                raise _Refused(
                    f"*{event.anchor} stands inside itself or before its &anchor; write it out"
                )
            counted += anchors[event.anchor]
        elif isinstance(event, events.ScalarEvent | events.CollectionStartEvent):
            if event.tag not in (None, "!", *_TAGS):
                tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
                raise _Refused(
                    f"{tag} is no kind of value that a recipe has; write text or a number"
                )
            counted += 1
        if isinstance(event, events.ScalarEvent) and event.anchor:
            anchors[event.anchor] = 1
        elif isinstance(event, events.CollectionStartEvent):
            anchors.pop(event.anchor or "", None)
            starts.append((event.anchor, counted - 1))
        elif isinstance(event, events.CollectionEndEvent):
            anchor, start = starts.pop()
            anchors |= {anchor: counted - start} if anchor else {}
        if counted > MAX_VALUES:
            raise _Refused(f"holds more than {MAX_VALUES} values; shorten it")
        if len(starts) > MAX_DEPTH:
            raise _Refused(f"is deeper than {MAX_DEPTH} levels; flatten it")


def _plain(value: Any, where: tuple[Any, ...]) -> Any:
    if isinstance(value, dict):
        return dict(_plain_items(value, where))
    if isinstance(value, list):
        return [_plain(inner, (*where, place)) for place, inner in enumerate(value)]
    if isinstance(value, str):
        return _plain_text(value, where)
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise ValueError(f"{_path(where)}: the number has more than 64 bits; write a smaller one")
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime.date):
        return str(value)
    raise ValueError(f"{_path(where)}: is {type(value).__name__}; write text or a number")


def _plain_items(mapping: dict[Any, Any], where: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if not isinstance(key, str | int):
            kind = "nothing" if key is None else type(key).__name__
            raise ValueError(f"{_path(where)}: a key is {kind}, not text; put it in quotes")
        name = _plain_text(str(key), where)
        yield name, _plain(value, (*where, name))


def _plain_text(text: str, where: tuple[Any, ...]) -> str:
    with contextlib.suppress(UnicodeDecodeError):  # JSON writes some characters as two halves
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    wrong = (c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t")
    if (found := next(wrong, None)) is not None:
        raise ValueError(f"{_path(where)}: holds the character {found!a}; write plain text")
    return text


def _path(where: tuple[Any, ...]) -> str:
    return ".".join(map(str, where)) or "recipe"
