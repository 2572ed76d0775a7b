"""The parts of a data set: train, test and validation, and what else they are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from augcompress.errors import AugcompressError

PARTS = ("train", "test", "validation")
_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "development"), "validation"),
}
"""As Hugging Face datasets reads them."""
_FILLERS = ("dataset", "set", "data", "images", "imgs", "split", "part", "files")
KNOWN = "train, test (or testing, eval) and validation (or val, valid, dev), in any case"
"""What parts may be called, for messages."""


def part_named(name: str, *, among_others: bool = False) -> str | None:
    """The part that a name means, in any case: `Training`, `VAL`, `test_set`, `train2017`.

    `among_others`: the name may have other words too: `seg_train`.
    """
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()
    words = [_without_filler(word) for word in re.findall(r"[^\W\d_]+", spaced)]
    words = [word for word in words if word]
    meant = {_WORDS[word] for word in words if word in _WORDS}
    if len(meant) != 1 or not (among_others or len(words) == 1):
        return None
    return meant.pop()


def _without_filler(word: str) -> str:
    for filler in _FILLERS:
        if word.endswith(filler) and word.removesuffix(filler) in ("", *_WORDS):
            return word.removesuffix(filler)
    return word


def parts_named(names: Iterable[str], where: str) -> dict[str, str]:
    """Of names that mean a part: which part has which name.

    Raises AugcompressError, which begins with `where`, when two mean the same.
    """
    found: dict[str, str] = {}
    for name in names:
        part = part_named(name)
        if part is None:
            continue
        if part in found:
            raise AugcompressError(
                f"{where}: {found[part]} and {name} both mean the {part} part; merge them or"
                " rename one"
            )
        found[part] = name
    return found


def naming_notes(named: Mapping[str, str], given: Iterable[str] = ()) -> list[str]:
    """Says which part it is that is called otherwise, and which of the given names are none."""
    told = [f"{name} is the {part} part" for part, name in named.items() if name != part]
    unused = [name for name in given if name not in named.values()]
    notes = [f"data: {', '.join(told)}"] if told else []
    return [*notes, f"data: no part, and not used: {', '.join(unused)}"] if unused else notes
