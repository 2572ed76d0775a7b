"""Numbers as people read them: digits, units, intervals, signs; and text for Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from augcompress.errors import visible_line, visible_text
from augcompress.evidence.records import Measurement

TitledTable = tuple[str, Sequence[str], list[list[Any]]]
"""Title, columns and rows."""
_SHORT_SPLITS = {"validation": "val"}
_MARKUP = re.compile(r"[\\`*|~$\[\]]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def decimal_text(number: float, digits: int = 4) -> str:
    """A number of so many significant digits, never with an exponent."""
    if not math.isfinite(number):
        return str(number)
    if float(number).is_integer():
        return f"{int(number)}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(number))))
    text = f"{number:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def three_digits(number: float) -> str:
    """Three significant digits, and no exponent for what is large: `0.5`, `1.5e-07`, `1234`."""
    return f"{number:.3g}" if abs(number) < 999.5 else f"{number:.0f}"


def digits_to_tell(number: float, other: float) -> int:
    """How many digits it takes to see that two numbers differ; four where four will do."""
    for digits in range(4, 12):
        if decimal_text(number, digits) != decimal_text(other, digits):
            return digits
    return 4


def percent(fraction: float) -> str:
    """A share in percent, to one decimal and without the sign: `97.2`, `100`."""
    text = f"{100 * fraction:.1f}"
    return text.removesuffix(".0") if text in ("100.0", "0.0") else text


def share_text(value: float, low: float, high: float) -> str:
    """A share with its interval: `86.4 % (84.1–88.4)`."""
    return f"{percent(value)} % ({percent(low)}–{percent(high)})"


def amount_text(number: float, unit: str, digits: int = 4) -> str:
    """`0.95`, `12 ms`; of a share with the unit `%`: `10 %`; of a difference of shares, with the
    unit `points`: `1.5 points`.  Counts and ratios are written without unit."""
    if unit in ("%", "points"):
        number = round(100 * number, 10)
    text = decimal_text(number, digits)
    unit = "point" if unit == "points" and text == "1" else unit
    return text + ("" if unit in _NO_UNIT else f" {unit}")


_NO_UNIT = ("", "ratio", "count")


def range_text(low: float, high: float, unit: str = "", digits: int = 4) -> str:
    """`0.93–0.95 ms`; `-0.01 to 0.02` where a sign would be lost in the dash."""
    first = amount_text(low, unit, digits).removesuffix(f" {unit}")
    return f"{first}{' to ' if low < 0 else '–'}{amount_text(high, unit, digits)}"


def signed_text(number: float, decimals: int = 2) -> str:
    """`+0.52`; what is rounded to zero has no sign."""
    text = f"{number:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text


def p_text(p: float | None) -> str:
    """`0.012`, `<0.001`; `–` for None."""
    return "–" if p is None else "<0.001" if p < 0.0005 else f"{p:.3f}"


def bytes_text(size: float) -> str:
    """`830 B`, `47.2 kB`, `11.2 MB`: powers of 1000."""
    return _scaled(size, ("B", "kB", "MB", "GB"), " ")


def count_text(count: float) -> str:
    """`830`, `270k`, `1.27M`, `4.1G`: powers of 1000."""
    return _scaled(count, ("", "k", "M", "G", "T"), "")


def _scaled(number: float, units: tuple[str, ...], between: str) -> str:
    for unit in units[:-1]:
        if abs(number) < 999.5:
            return f"{three_digits(number)}{between}{unit}"
        number /= 1000
    return f"{three_digits(number)}{between}{units[-1]}"


def duration_text(seconds: float) -> str:
    """`0.4 s`, `12 s`, `4 min`, `2.5 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5970 else f"{seconds / 3600:.1f} h"


def score_text(one: Measurement | None) -> str:
    """`val 97.2 % (95.9–98.1, n=144)`; `–` for None."""
    if one is None:
        return "–"
    split = f"{_SHORT_SPLITS.get(one.split, one.split)} " if one.split else ""
    return split + value_text(one)


def value_text(one: Measurement | None) -> str:
    """A value in its unit with interval and n: fractions as percent, bytes as kB or MB; `–` for
    None."""
    if one is None:
        return "–"
    if one.text is not None:
        return one.text
    number, unit = _writer(one.unit)
    return f"{number(one.value)}{unit}{_certainty(one, number, '–')}"


def difference_text(one: Measurement) -> str:
    """A difference with its sign, interval and n: `+2.17 points (+1.52 to +2.82, n=10000)`."""
    factor, unit = (100.0, " points") if one.unit == "fraction" else (1.0, f" {one.unit}")

    def number(value: float) -> str:
        return signed_text(factor * value, 3 if abs(factor * value) < 0.1 else 2)

    return f"{number(one.value)}{unit}{_certainty(one, number, ' to ')}"


def speed_text(speedup: Measurement, other: str) -> str:
    """A speed against another's: `2.92 times as fast as the teacher (2.9–2.95, n=10)`, `1.25 times
    slower than the teacher (1.2–1.3, n=10)`, `as fast as the teacher`."""
    slower = speedup.value < 1
    ends = {"low": speedup.high, "high": speedup.low} if slower else {}

    def number(value: float) -> str:
        return three_digits(1 / value if slower and value else value)

    told = number(speedup.value)
    words = f"{told} times slower than" if slower else f"{told} times as fast as"
    facts = _certainty(speedup.model_copy(update=ends), number, "–")
    return f"{'as fast as' if told == '1' else words} {other}{facts}"


def size_text(ours: float, theirs: float, other: str) -> str:
    """A size against another's: `2.9 times smaller than the teacher's 40 kB`; sizes in bytes."""
    ratio = three_digits(max(ours, theirs) / min(ours, theirs))
    words = f"{ratio} times {'smaller' if ours < theirs else 'larger'} than"
    return f"{'as large as' if ratio == '1' else words} {other} {bytes_text(theirs)}"


def _certainty(one: Measurement, number: Callable[[float], str], between: str) -> str:
    """Interval and n in brackets; nothing where there are none."""
    facts = []
    if one.low is not None and one.high is not None:
        facts.append(f"{number(one.low)}{between}{number(one.high)}")
    if one.n is not None:
        facts.append(f"n={one.n}{_counted(one)}")
    return f" ({', '.join(facts)})" if facts else ""


def _counted(one: Measurement) -> str:
    """What n counts, where it is not samples: ` seeds`, ` folds`, ` processes`."""
    over = one.conditions.get("over")
    timed = one.name.startswith(("latency", "throughput", "speedup"))
    return f" {over}" if over else " processes" if timed else ""


def _writer(unit: str) -> tuple[Callable[[float], str], str]:
    """What writes a number of that unit, and what stands behind it."""
    if unit == "fraction":
        return percent, " %"
    if unit in ("bytes", "byte"):
        return bytes_text, ""
    if unit in ("count", "parameters", "macs", "images"):
        return count_text, ""
    if unit == "images/s":
        return count_text, " images/s"
    return three_digits, " times" if unit in ("ratio", "times", "factor") else f" {unit}".rstrip()


def markdown_text(text: object) -> str:
    """Any text for the inside of a line or of a table's cell of a Markdown page: on one line, and
    nothing in it is markup.  Underscores inside a word are none in Markdown, and stay."""
    plain = visible_text(" ".join(str(text).split()))
    plain = plain.replace("&", "&amp;").replace("<", "&lt;")
    return _MARKUP.sub(r"\\\g<0>", plain)


def cell_text(cell: Any) -> str:
    """A table's cell: `–` for None, yes or no, four digits of a float, a list with commas, anything
    else as it is."""
    if cell is None:
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, list):
        return ", ".join(map(cell_text, cell))
    return decimal_text(cell) if isinstance(cell, float) else visible_line(str(cell))
