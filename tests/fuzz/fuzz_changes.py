"""What strangers do to files: bytes changed, values replaced, text put in between."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

SNIPPETS = (
    "&a ", "*a", "<<: *a", "!!float ", "!!binary aGk=", "!!python/name:os.system ", "!!set ",
    "? [a, b]\n: c\n", "2020-01-01", "2020-01-01: 1\n", "{", "}", "[", "]", "[" * 50, "- " * 40,
    "\t", "\n", "\0", "\x1b[31m", '"\\ud800"', "\ufeff", "%YAML 1.1\n---\n", "---\n", ": ", "- ",
    "|\n", "'", '"', ".inf", ".nan", "0x" + "f" * 40, "1" + "0" * 400, "~", "${HOME}", "~nobody/x",
    "x: &a [*a, *a]\n", "x: &a {b: *a}\n", "kind: ", "../" * 30, "a" * 5000,
)  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 5),
    st.sampled_from([2**31, 2**63, -(2**63), 10**6, 10**30]),
    st.floats(width=32),
    st.sampled_from([math.inf, -math.inf, math.nan, 1e308, 5e-324]),
    st.text(max_size=12),
    st.sampled_from(["", "\x1b]0;x\x07", "a\0b", "../x", "~nobody/x", "é", "\u202e", "x" * 5000]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=6,
)


@st.composite
def changed_data(draw: st.DrawFn, data: Any) -> Any:
    """JSON data with up to three values replaced, removed, moved or put in."""
    data = copy.deepcopy(data)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(data))
        if not places:
            return draw(VALUES)
        holder, key = draw(st.sampled_from(places))
        what = draw(st.sampled_from(["replace", "replace", "remove", "add", "move", "nest"]))
        if what == "remove":
            del holder[key]
        elif what == "add" and isinstance(holder, dict):
            holder[draw(st.text(max_size=6))] = draw(VALUES)
        elif what == "move":
            other, place = draw(st.sampled_from(places))
            holder[key] = copy.deepcopy(other[place]) if _has(other, place) else None
        elif what == "nest":
            holder[key] = json.loads("[" * 40 + "]" * 40)
        else:
            holder[key] = draw(VALUES)
    return data


@st.composite
def changed_text(draw: st.DrawFn, text: str) -> str:
    """Text with lines moved and snippets put in."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.integers(0, 20)))
        put = draw(st.one_of(st.sampled_from(SNIPPETS), st.text(max_size=8)))
        text = text[:at] + put + text[end:]
    return text


@st.composite
def changed_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes that were set, cut out, doubled or cut off."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.sampled_from([1, 1, 2, 4, 8, 64]))
        what = draw(st.sampled_from(["set", "set", "set", "remove", "double", "end"]))
        if what == "set":
            put = draw(st.one_of(st.binary(min_size=1, max_size=8), st.just(b"\xff" * 4)))
            content = content[:at] + put + content[at + len(put) :]
        elif what == "remove":
            content = content[:at] + content[at + length :]
        elif what == "double":
            content = content[:at] + content[at : at + length] * 2 + content[at + length :]
        else:
            content = content[:at]
    return content


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(data, dict | list):
        for key in list(data) if isinstance(data, dict) else range(len(data)):
            yield data, key
            yield from _places(data[key])


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)
