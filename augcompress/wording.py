"""What is wrong with a value, and what to write in its place, in one line of plain words."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "none": "null",
    "finite": "a finite number",
    "missing": "a list of more items",
}
"""What Pydantic's kinds of values are called, by the first word of its error types."""
_CURES = {"string": "put it in quotes", "list": "put it in [ ]", "dict": "write {field: value}"}
_CURES |= {"tuple": _CURES["list"], "model": _CURES["dict"]}
_OF_KEYS = {"missing": "is missing; add it", "extra_forbidden": "unknown key; leave it out"}
_BOUNDS = {
    "greater_than": ("small", "more than", "gt"),
    "greater_than_equal": ("small", "at least", "ge"),
    "less_than": ("large", "less than", "lt"),
    "less_than_equal": ("large", "at most", "le"),
}
_QUANTITY = re.compile(r"([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)\s*(%|[kKmMgG]i?[bB]?|[bB]|[mun]?s)")
_BYTES = {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_TIMES = {"s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_SHARES = {"%": 0.01, "": 1.0}
_COUNTS = {"k": 1e3, "m": 1e6, "g": 1e9, "": 1.0}
_UNITS = {"bytes": "b", "seconds": "s"}
MOST_LISTED = 16
"""Of more, only what is near is named."""


def wrong_value(problem: Mapping[str, Any], unit: str = "") -> str:
    """Of one of Pydantic's errors: `2 is too large; give less than 1`.

    `unit` is what a number is wanted in: bytes, mb, ms, …; empty: a count, or a share of one.
    """
    kind, context = problem["type"], problem.get("ctx", {})
    given = problem["input"]
    if kind == "value_error":
        return str(context["error"])
    if kind in _OF_KEYS:
        return _OF_KEYS[kind]
    if kind in ("too_short", "too_long"):
        return _of_length(context)
    if kind in _BOUNDS:
        too, words, key = _BOUNDS[kind]
        return f"{as_given(given)} is too {too}; give {words} {context[key]:.12g}"
    if kind == "literal_error":
        return _none_of(given, context["expected"])
    if kind == "string_pattern_mismatch":
        return f"{as_given(given)} is no plain name; use letters, digits, '.', '_' and '-' alone"
    word = kind.partition("_")[0]
    if word not in _WANTED:
        return f"{as_given(given)} does not fit; give {wanted(problem)}"
    if word == "bool":
        return f"{as_given(given)} is neither true nor false; write one of them"
    cure = "" if given is None else _CURES.get(word, "")
    meant = number_meant(given, unit, whole=word == "int") if word in ("int", "float") else ""
    what = wanted(problem).removeprefix("a ")
    return f"{as_given(given)} is no {what}; {meant or cure or 'give one'}"


def wanted(problem: Mapping[str, Any]) -> str:
    """What would be taken in place of what is wrong: `a whole number`, `at most 1`."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "value_error":
        return str(context["error"])
    if kind in _BOUNDS:
        return f"{_BOUNDS[kind][1]} {context[_BOUNDS[kind][2]]:.12g}"
    told = problem["msg"].removeprefix("Input should be ")
    return _WANTED.get(kind.partition("_")[0], told[:1].lower() + told[1:])


def number_meant(given: Any, unit: str, *, whole: bool) -> str:
    """`write 5000`, of a number that was written with another unit than it is wanted in; empty
    where that is not certain."""
    found = _QUANTITY.fullmatch(given.strip()) if isinstance(given, str) else None
    if found is None:
        return ""
    used, wished = found[2].lower(), _UNITS.get(unit, unit)
    scale = next((s for s in (_BYTES, _TIMES, _SHARES, _COUNTS) if {used, wished} <= s.keys()), {})
    value = float(found[1]) * scale.get(used, 0) / scale.get(wished, 1)
    if not scale or (whole and value != round(value)):
        return "write the number alone" + (f", in {unit}" if unit else "")
    return f"write {value:.12g}"


def as_given(value: Any) -> str:
    """A value as it would be written in JSON, shortened."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"


def unknown_name(name: str, known: Iterable[str]) -> str:
    """`unknown "techer"; did you mean teacher? known: teacher, …`."""
    return f"unknown {as_given(name)}{nearest(name, known, listed=True)}"


def nearest(name: str, known: Iterable[str], *, listed: bool = False) -> str:
    """`; did you mean …?`, or what is known; both, where it shall be `listed`."""
    known = list(known)
    close = alike(name, known)
    told = f"; did you mean {' or '.join(close)}?" if close else ""
    if known and (not close or (listed and len(known) <= MOST_LISTED)):
        told += f" known: {', '.join(known)}" if close else f"; known: {', '.join(known)}"
    return told


def alike(name: str, known: Iterable[str]) -> list[str]:
    """The names that one may stand for, at most three: the most similar, else those it is part of,
    such as `flip` of `horizontal_flip`."""
    every = {one.lower().replace("-", "_"): one for one in known}
    name = name[:100].lower().replace("-", "_")
    found = (
        difflib.get_close_matches(name, every, 1, 0.75)
        or [one for one in every if len(name) > 2 and name in one]
        or difflib.get_close_matches(name, every, 1, 0.65)
    )
    return [every[one] for one in found[:3]]


def are_alike(name: str, known: Iterable[str]) -> bool:
    """Is one of them spelt so alike that it must be meant?"""
    return bool(difflib.get_close_matches(name[:100], list(known), 1, 0.75))


def _of_length(context: Mapping[str, Any]) -> str:
    given, least = context["actual_length"], context.get("min_length")
    if given == 0:
        return f"is empty; give at least {least}"
    limit = f"at most {context['max_length']}" if least is None else f"at least {least}"
    return f"has {given} items; give {limit}"


def _none_of(given: Any, expected: str) -> str:
    names = re.findall(r"'([^']*)'", expected)
    if not names or not isinstance(given, str):
        return f"{as_given(given)} does not fit; give {expected}"
    return unknown_name(given, names)
