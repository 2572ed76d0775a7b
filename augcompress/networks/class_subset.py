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


def cut_history(kind: str, history: Any, head: Sequence[str], classes: int, where: str) -> Any:
    """What a compression changed, as if it had met the network when it had so many classes.

    `head`: the layers that make the logits.  Raises AugcompressError when more than channels of
    one was changed.
    """
    sizes = history.get("sizes", {}) if isinstance(history, dict) else {}
    own = [name for name in head if name in sizes]
    rest = history
    if own:
        cut = {name: {k: _cut(k, v, classes) for k, v in sizes[name].items()} for name in own}
        others = [name for name in sizes if name not in own]
        rest = [*(each for name, each in history.items() if name != "sizes"), others]
        history = {**history, "sizes": {**sizes, **cut}}
    if changed := [name for name in head if _names(rest, name)]:
        raise AugcompressError(
            f"{where}: {kind} has changed the head {changed[0]}, which cannot be cut to"
            f" {classes} classes any more; cut the network first and compress it then, or leave the"
            " head out of layers"
        )
    return history


def _cut(key: str, size: int, classes: int) -> int:
    return classes if key.startswith("out_") else size


def _names(value: Any, layer: str) -> bool:
    """Does JSON data name a layer, or one that it has become a part of?"""
    if isinstance(value, str):
        return value == layer or layer.startswith(f"{value}.")
    if isinstance(value, dict):
        return any(_names(each, layer) for pair in value.items() for each in pair)
    return isinstance(value, list | tuple) and any(_names(each, layer) for each in value)
