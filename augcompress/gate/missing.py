"""What to say of a limit on a number that was not taken: what is near, and how to get it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from augcompress.evidence import Limit, Measurement

TIMED = ("latency", "throughput", "speedup", "load_ms", "peak_memory")
MOST_NAMES = 12


class Unjudged(Exception):
    """A limit that cannot be judged: why not, and what to do."""


def not_measured(limit: Limit, own: Sequence[Measurement]) -> str:
    """`latency was not measured; nearest that was: latency_ms; run: …`."""
    label = f" of {limit.label}" if limit.label else ""
    split = f" on {limit.split}" if limit.split else ""
    versus = f" against {limit.baseline}" if limit.baseline and not limit.compares else ""
    what = f"{limit.measure}{label}{split}{versus} was not measured"
    near = _near(limit, own)
    return f"{what}{f'; {near}' if near else ''}; run: {command(limit)}"


def no_baseline(limit: Limit, differs: str | None, left_out: str = "") -> str:
    """What the baseline lacks; `differs` is the condition under which it was measured instead, and
    `left_out` why its numbers do not count."""
    if differs is not None:
        return (
            f"{limit.baseline}'s {limit.measure} was measured with {differs}; measure both under"
            " the same conditions"
        )
    if left_out:
        return f"{limit.baseline} has no {limit.measure} on the same images: {left_out}"
    stages = {
        "teacher": "augcompress train-teacher, then augcompress export",
        "float": "augcompress export",
        "previous": "the stage before",
        "reference": "augcompress export in the reference run, with the same data",
    }
    how = stages[limit.baseline or "float"]
    return f"{limit.baseline} has no {limit.measure} on the same images; run: {how}"


def no_label(limit: Limit, known: Sequence[str]) -> str:
    """A class that the measure has no number for."""
    if not known:
        return f"{limit.measure} has no number for each class; leave label out"
    near = difflib.get_close_matches(limit.label or "", known, n=1)
    listed = list(dict.fromkeys([*near, *known]))
    more = ", …" if len(listed) > MOST_NAMES else ""
    return (
        f"{limit.measure} of {limit.label}: there is no such class; choose among:"
        f" {', '.join(listed[:MOST_NAMES])}{more}"
    )


def command(limit: Limit) -> str:
    """What takes a measure: of the shipped file, `export`, and of a timing also the script."""
    if limit.measure.startswith(TIMED):
        return "augcompress export, or bench.py on the target device and check --timing FILE"
    if limit.split == "validation":
        return "the stage that makes the network"
    return "augcompress export"


def _near(limit: Limit, own: Iterable[Measurement]) -> str:
    taken = [one for one in own if one.name == limit.measure]
    if taken:
        places = [_place(one) for one in taken]
        return f"it was measured {', '.join(dict.fromkeys(places))}"
    names = {one.name for one in own}
    close = difflib.get_close_matches(limit.measure, sorted(names), n=1, cutoff=0.5)
    return f"nearest that was: {close[0]}" if close else ""


def _place(one: Measurement) -> str:
    split = f"on {one.split}" if one.split else ""
    versus = f"against {one.baseline}" if one.baseline else ""
    return " ".join(text for text in (split, versus) if text) or "on its own"
