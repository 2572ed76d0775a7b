"""Measured numbers as people read them, units, intervals, three digits; and text for Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from augcompress.evidence.records import Measurement

_SHORT = {"validation": "val"}
_MARKUP = re.compile(r"[\\`*|~$\[\]]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def score_text(one: Measurement) -> str:
    """`val 97.2 % (95.9–98.1, n=144)`."""
    split = f"{_SHORT.get(one.split, one.split)} " if one.split else ""
    return split + value_text(one)


def value_text(one: Measurement) -> str:
    """A value in its unit with interval and n: fractions as percent, bytes as kB or MB."""
    number, unit = _scaled(one)
    return f"{number(one.value)}{unit}{_certainty(one, number, '–')}"


def difference_text(one: Measurement) -> str:
    """A difference with its sign, interval and n: `+2.17 points (+1.52 to +2.82, n=10000)`."""
    factor, unit = (100.0, " points") if one.unit == "fraction" else (1.0, f" {one.unit}")

    def number(value: float) -> str:
        return _signed(factor * value)

    return f"{number(one.value)}{unit}{_certainty(one, number, ' to ')}"


def _certainty(one: Measurement, number: Callable[[float], str], between: str) -> str:
    """Interval and n in brackets; nothing where there are none."""
    facts = []
    if one.low is not None and one.high is not None:
        facts.append(f"{number(one.low)}{between}{number(one.high)}")
    if one.n is not None:
        facts.append(f"n={one.n}")
    return f" ({', '.join(facts)})" if facts else ""


def _signed(number: float) -> str:
    return f"{number:+.3f}" if abs(number) < 0.1 else f"{number:+.2f}"


def markdown_text(text: object) -> str:
    """Any text for the inside of a line or of a table's cell of a Markdown page: on one line, and
    nothing in it is markup.  Underscores inside a word are none in Markdown, and stay."""
    plain = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKUP.sub(r"\\\g<0>", plain)


def bytes_text(size: float) -> str:
    """`830 B`, `47.2 kB`, `11.2 MB`: powers of 1000."""
    for unit in ("B", "kB", "MB"):
        if abs(size) < 999.5:
            return f"{three_digits(size)} {unit}"
        size /= 1000
    return f"{three_digits(size)} GB"


def count_text(count: float) -> str:
    """`830`, `270k`, `1.27M`, `4.1G`: powers of 1000."""
    for unit in ("", "k", "M", "G"):
        if abs(count) < 999.5:
            return f"{three_digits(count)}{unit}"
        count /= 1000
    return f"{three_digits(count)}T"


def duration_text(seconds: float) -> str:
    """`0.4 s`, `12 s`, `4 min`, `2.5 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5970 else f"{seconds / 3600:.1f} h"


def three_digits(number: float) -> str:
    """Three significant digits, never an exponent."""
    digits = 2 if abs(number) < 9.995 else 1 if abs(number) < 99.95 else 0
    text = f"{number:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(fraction: float) -> str:
    text = f"{100 * fraction:.1f}"
    return text.removesuffix(".0") if text in ("100.0", "0.0") else text


def _scaled(one: Measurement) -> Any:
    if one.unit == "fraction":
        return percent, " %"
    if one.unit in ("bytes", "byte"):
        return bytes_text, ""
    if one.unit in ("count", "parameters", "macs", "images"):
        return count_text, ""
    if one.unit == "images/s":
        return count_text, " images/s"
    unit = " times" if one.unit in ("ratio", "times", "factor") else f" {one.unit}".rstrip()
    return (lambda number: f"{number:.3g}"), unit
