"""Whether quantising a file was worth it."""

from __future__ import annotations

from collections.abc import Iterable

from augcompress.evidence.formatting import bytes_text, value_text
from augcompress.evidence.records import Measurement


def gained_nothing(rows: Iterable[Measurement]) -> str:
    """A sentence where the shipped file is neither smaller than its own float file nor shown to be
    faster; empty where it is, or where the timing is too noisy to say.

    `rows` are those of `export`; of several timings the first counts.
    """
    every = list(rows)
    sizes = {one.role: one.value for one in every if one.name == "size_bytes"}
    speed = next((o for o in every if (o.name, o.baseline) == ("speedup", "float")), None)
    if speed is None or speed.low is None or speed.conditions.get("too_noisy"):
        return ""
    if not {"shipped", "float"} <= sizes.keys():
        return ""
    if sizes["shipped"] < sizes["float"] or speed.low > 1:
        return ""
    ours, theirs = bytes_text(sizes["shipped"]), bytes_text(sizes["float"])
    fast = value_text(speed).replace("times", "times as fast", 1)
    return (
        f"quantising gained nothing: {ours} against {theirs}, and {fast} as its float file; ship"
        " that one: leave the quantize stage out"
    )
