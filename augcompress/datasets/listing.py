"""Which image files a data set has, of which class and part."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from augcompress.datasets.class_names import check_class_names, printable
from augcompress.datasets.compact import Files, Names
from augcompress.datasets.parts import PARTS
from augcompress.errors import AugcompressError
from augcompress.inference import identities

NUMBER_DIGITS = 18
"""Class names of digits only, and no more than these, are ordered by their numbers."""


@dataclass(frozen=True)
class Entry:
    """One image file."""

    name: str
    """Its path relative to the data set's folder, with `/`."""
    label: str
    """Its class."""
    part: str | None
    """`train`, `test` or `validation`; None where the part is still to be drawn."""


@dataclass(frozen=True, eq=False)
class Listing:
    """All image files of a data set, in a fixed order, in a few bytes each."""

    folder: Path
    names: Names
    """Paths relative to the folder, with `/`."""
    labels: np.ndarray
    """`(N,)` int64 class numbers."""
    parts: np.ndarray
    """`(N,)` int8: place in PARTS; -1 where the part is still to be drawn."""
    classes: list[str]
    notes: list[str] = field(default_factory=list)
    """What a user should know of the folder, in sentences."""

    @classmethod
    def of(cls, folder: Path, entries: Iterable[Entry], *, numeric: bool = False) -> Listing:
        """These files; classes in alphabetical order, or `numeric` ones by their numbers."""
        numbers: dict[str, int] = {}
        labels, parts = array("q"), array("b")

        def names() -> Iterator[str]:
            for entry in entries:
                labels.append(numbers.setdefault(entry.label, len(numbers)))
                parts.append(-1 if entry.part is None else PARTS.index(entry.part))
                yield entry.name

        listed = Names.of(names())
        classes = _in_order({*numbers}) if numeric else sorted(numbers)
        place = np.zeros(len(numbers), dtype=np.int64)
        place[[numbers[name] for name in classes]] = np.arange(len(classes))
        found = place[np.array(labels, dtype=np.int64)]
        return cls(folder, listed, found, np.array(parts, dtype=np.int8), classes)

    def __len__(self) -> int:
        return len(self.names)

    def files(self) -> Files:
        """The files' paths."""
        return Files(self.folder, self.names)

    def take(self, rows: np.ndarray) -> Listing:
        """The files of these rows `(M,)` only."""
        names, labels, parts = self.names.take(rows), self.labels[rows], self.parts[rows]
        return replace(self, names=names, labels=labels, parts=parts)

    def members(self, part: str) -> np.ndarray:
        """Rows of the files of a part, ascending."""
        return np.flatnonzero(self.parts == PARTS.index(part))

    def each_once(self) -> Listing:
        """Without the links to files that their class has already, in the same part.

        Raises AugcompressError naming a file that stands under two classes.
        """
        same = identities(self.files())
        order = np.lexsort((self.parts, same))
        repeated = same[order][1:] == same[order][:-1]
        one, other = order[:-1][repeated], order[1:][repeated]
        for first, second in zip(one, other, strict=True):
            if self.labels[first] != self.labels[second]:
                raise AugcompressError(
                    f"data: {self.names[first]} and {self.names[second]} are one file, by a link,"
                    " under two classes; remove the link"
                )
        again = np.sort(other[self.parts[one] == self.parts[other]])
        if not len(again):
            return self
        note = f"data: {len(again)} links lead to images that are there already and are left out"
        kept = self.take(np.delete(np.arange(len(self)), again))
        return replace(kept, notes=[*kept.notes, f"{note}: {self.names[again[0]]}"])

    def checked(self, found: Callable[[], str]) -> Listing:
        """Itself.  Raises AugcompressError, with what was `found`, when it has no image or one
        class, or its parts have other classes than another."""
        if not len(self):
            raise AugcompressError(
                f"data: no image in {found()}; put images into one folder per class"
            )
        if len(self.classes) == 1:
            raise AugcompressError(
                f"data: one class only ({printable(self.classes[0])}) in {found()}; give the images"
                " of at least two"
            )
        check_class_names(self.classes)
        if (self.parts >= 0).any():
            self._check_parts(found)
        return self

    def _check_parts(self, found: Callable[[], str]) -> None:
        classes = {part: {*np.unique(self.labels[self.members(part)])} for part in PARTS}
        held_out = "test" if classes["test"] else "validation"
        for part, missing in (("train", "train"), (held_out, "test and no validation")):
            if not classes[part]:
                raise AugcompressError(f"data: {found()}: no {missing} image; add some")
        if differing := classes["train"] ^ classes[held_out]:
            raise AugcompressError(
                f"data: train and {held_out} have different classes: {self._named(differing)} in"
                f" one of them only; add images or remove the class; found {found()}"
            )
        if unknown := classes["validation"] - classes["train"]:
            raise AugcompressError(
                f"data: {found()}: class {self._named(unknown)} has validation images and no"
                " training images; add some or remove the class"
            )

    def _named(self, numbers: Iterable[Any]) -> str:
        return ", ".join(sorted(self.classes[number] for number in numbers))


def _in_order(names: set[str]) -> list[str]:
    if all(name.isdecimal() and len(name) <= NUMBER_DIGITS for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)
