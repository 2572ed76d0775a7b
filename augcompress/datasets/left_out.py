"""What is left out of the folders that are read, counted for people."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from augcompress.datasets.class_names import printable
from augcompress.errors import AugcompressError
from augcompress.inference import files_below, is_image

LINK = "a link to a folder above or to one that is read already"
NAMED = 4
"""So many endings are named."""


@dataclass
class LeftOut:
    """Files that were not read, and why."""

    where: str
    """The setting that names the folder, for messages."""
    reasons: dict[str, list[str]] = field(default_factory=dict)
    """Why, and the names."""
    endings: Counter[str] = field(default_factory=Counter)
    """Of files that are no images by their endings."""
    linked: bool = False
    """Was a link followed?"""

    def images_below(self, folder: Path, name: str = "") -> tuple[list[str], Counter[str]]:
        """The image files at any depth, and the endings of the others; `name` stands before the
        names of what is left out.

        Raises AugcompressError for a link to nothing that is called like an image.
        """
        found = files_below(folder, self.where)
        if broken := [each for each in found.broken if is_image(each)]:
            raise AugcompressError(
                f"{self.where}: {name}{broken[0]}: a link to nothing; restore what it points to or"
                " remove it"
            )
        self.linked |= found.linked
        self.add(LINK, found.not_followed, name)
        self.add("no regular file", found.irregular, name)
        others = endings_of(each for each in found.names if not is_image(each))
        self.endings += others
        return [each for each in found.names if is_image(each)], others

    def add(self, why: str, names: Sequence[str], before: str = "") -> None:
        """These files were left out."""
        if names:
            self.reasons.setdefault(why, []).extend(before + name for name in names)

    def notes(self, start: str = "data") -> list[str]:
        """What was left out and why, in sentences."""
        notes = [
            f"{start}: {len(names)} left out, {why}: {printable(names[0])}"
            for why, names in self.reasons.items()
        ]
        if self.endings:
            notes.append(
                f"{start}: {self.endings.total()} files left out, no images by their endings:"
                f" {endings_text(self.endings)}"
            )
        return notes


def endings_of(names: Iterable[str]) -> Counter[str]:
    """How often each ending occurs, in lower case."""
    return Counter(os.path.splitext(name)[1].lower() for name in names)


def endings_text(endings: Counter[str]) -> str:
    """`12 .heic, 3 without ending`."""
    told = [f"{count} {ending or 'without ending'}" for ending, count in endings.most_common(NAMED)]
    more = len(endings) - NAMED
    return ", ".join([*told, f"{more} others"] if more > 0 else told)
