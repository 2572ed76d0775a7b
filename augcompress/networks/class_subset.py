"""A network for some of the classes that it knows: which rows of its head stay, and what that means
for the compressions that it went through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from augcompress.errors import AugcompressError

MOST = 6
"""Classes that a sentence names."""


def rows_of(known: Sequence[str] | None, wanted: Sequence[str]) -> list[int] | None:
    """Where the wanted classes stand among the known ones; None where there is nothing to cut:
    they are the same, or not all of them known."""
    if known is None or list(known) == list(wanted) or not set(wanted) <= set(known):
        return None
    return [list(known).index(name) for name in wanted]


def listed(classes: Sequence[str]) -> str:
    """The first of them, by name."""
    return ", ".join(classes[:MOST]) + (" …" if len(classes) > MOST else "")


def cut_history(kind: str, history: Any, head: str, classes: int, where: str) -> Any:
    """What a compression changed, as if it had met the network when it had so many classes.

    Raises AugcompressError when more than channels of the head was changed.
    """
    sizes = history.get("sizes", {}) if isinstance(history, dict) else {}
    if head in sizes:
        own = {k: classes if k.startswith("out_") else size for k, size in sizes[head].items()}
        others = {name: each for name, each in sizes.items() if name != head}
        history = {**history, "sizes": {**others, head: own}}
        rest: Any = [*(each for name, each in history.items() if name != "sizes"), [*others]]
    else:
        rest = history
    if _names(rest, head):
        raise AugcompressError(
            f"{where}: {kind} has changed the head {head}, which cannot be cut to {classes} classes"
            " any more; cut the network first and compress it then, or leave the head out of"
            " layers"
        )
    return history


def _names(value: Any, layer: str) -> bool:
    """Does JSON data name a layer, or one that it has become a part of?"""
    if isinstance(value, str):
        return value == layer or layer.startswith(f"{value}.")
    if isinstance(value, dict):
        return any(_names(each, layer) for pair in value.items() for each in pair)
    return isinstance(value, list | tuple) and any(_names(each, layer) for each in value)
