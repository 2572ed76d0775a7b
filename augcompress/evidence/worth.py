"""Whether a network learned anything, and whether quantising a file was worth it."""

from __future__ import annotations

from collections.abc import Iterable

from augcompress.evidence.formatting import amount_text, bytes_text, speed_text, value_text
from augcompress.evidence.records import Measurement


def only_guesses(top1: Measurement) -> str:
    """A sentence where a top-1 is not shown to be above the share of the largest class; empty where
    it is, or where that share is not known or everything."""
    share = top1.conditions.get("largest_class")
    if not isinstance(share, float) or share == 1 or top1.low is None or top1.low > share:
        return ""
    split = f" on {top1.split}" if top1.split else ""
    return (
        f"top-1 of {value_text(top1)}{split} is no better than guessing: the largest class alone is"
        f" {amount_text(round(share, 3), '%')} of the images"
    )


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
    return (
        f"quantising gained nothing: {ours} against {theirs}, and"
        f" {speed_text(speed, 'its float file')}; ship that one: leave the quantize stage out"
    )
