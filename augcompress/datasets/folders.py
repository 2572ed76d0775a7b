"""Class folders: which images lie in them, and which part of the data set they belong to."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from augcompress.datasets.class_names import printable
from augcompress.datasets.listing import Entry, Listing
from augcompress.datasets.parts import KNOWN, PARTS, naming_note, part_named, parts_named
from augcompress.datasets.walking import files_below, folders_in, images_in, is_image, visible
from augcompress.errors import AugcompressError

WHERE = "data.root"
NAMED = 4
"""So many folders are named at each level of a tree in a message, and so many levels."""
_LINK = "a link to a folder above or to one that is read already"


def list_folder(root: Path) -> Listing:
    """`root/train/<class>/…`, `root/test/<class>/…` and perhaps `root/validation/<class>/…`,
    as `parts_named` reads their names; or `root/<class>/…`.

    Raises AugcompressError when folders are missing, empty, or nested in another way, or the parts'
    classes differ.
    """
    if not root.is_dir():
        raise AugcompressError(f"{WHERE}: {root}: no such folder; check the path")
    parts, reading = divided(root), _Reading(root)
    if parts:
        reading.pass_over_the_rest(parts)
    else:
        _check_undivided(root)
    places: list[tuple[str | None, str]] = [*parts.items()] or [(None, "")]
    listing = Listing.of(root, chain.from_iterable(reading.part(*each) for each in places))
    if reading.linked:
        listing = listing.each_once()
    told = naming_note(parts) if parts else _grouping_note(root)
    notes = [*told, *reading.notes(), *listing.notes]
    return replace(listing, notes=notes).checked(lambda: tree_text(root))


def divided(root: Path) -> dict[str, str]:
    """Which folder holds which part; none where the folders are classes.

    Raises AugcompressError when folders are called like parts and hold no classes, or one part is
    there alone.
    """
    folders = folders_in(root, WHERE)
    nested = [name for name in folders if folders_in(root / name, WHERE)]
    found = parts_named(nested, f"{WHERE}: {root}") or _among_others(nested)
    flat = {name: part for name in folders if name not in nested and (part := part_named(name))}
    if flat and len({*flat.values(), *found}) > 1:
        raise AugcompressError(
            f"{WHERE}: {', '.join(flat)} has no class folders; put the images into one folder per"
            f" class, or move it away; found {tree_text(root)}"
        )
    if found and ("train" not in found or len(found) < 2):
        absent = "test" if "train" in found else "train"
        raise AugcompressError(
            f"{WHERE}: {root} has {', '.join(found.values())}/ but no {absent}/; add it, or give"
            f" the folder of the classes, which is then divided; found {tree_text(root)}"
        )
    return {part: found[part] for part in PARTS if part in found}


def _among_others(names: list[str]) -> dict[str, str]:
    """The parts of names with other words in them, where there are train and another, once each."""
    meant = {name: part_named(name, among_others=True) for name in names}
    found = {part: name for name, part in meant.items() if part}
    once = len(found) == sum(part is not None for part in meant.values())
    return found if once and "train" in found and len(found) > 1 else {}


def _check_undivided(root: Path) -> None:
    """Raises AugcompressError when the parts lie below the classes, or there is a single class
    folder."""
    folders = folders_in(root, WHERE)
    for name in folders:
        below = {part_named(each) for each in folders_in(root / name, WHERE)}
        if "train" in below and {"test", "validation"} & below:
            raise AugcompressError(
                f"{WHERE}: the parts lie below {name}/; give the folder that holds train/ and"
                f" test/, with the classes in each; found {tree_text(root)}"
            )
    if len(folders) == 1:
        raise AugcompressError(
            f"{WHERE}: one class only ({printable(folders[0])}), there is nothing to tell apart;"
            f" give the folder that holds the class folders, {root / folders[0]} perhaps; found"
            f" {tree_text(root)}"
        )


def _grouping_note(root: Path) -> list[str]:
    """Says so where all classes hold the same folders, which may be the classes that are meant."""
    folders = folders_in(root, WHERE)
    below = {tuple(folders_in(root / name, WHERE)) for name in folders}
    same = below.pop() if len(below) == 1 else ()
    if len(same) < 2:
        return []
    return [
        f"data: the classes {_first(folders)} hold the same folders, {_first(same)}; if those are"
        f" the classes, give a folder that holds them, or call the folders above train and test"
    ]


def _first(names: Sequence[str]) -> str:
    more = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    return ", ".join([*map(printable, names[:NAMED]), *more])


def tree_text(folder: Path, depth: int = NAMED) -> str:
    """The folders and how many images are in each, in a line: `imgs/{cat/{9 images}, dog/{}}`."""
    folders = folders_in(folder, WHERE)
    images = len(images_in(folder, WHERE))
    told = [f"{images} images"] if images else []
    if depth:
        told += [tree_text(folder / name, depth - 1) for name in folders[:NAMED]]
        told += [f"{len(folders) - NAMED} more"] if len(folders) > NAMED else []
    return f"{printable(folder.name)}/{{{', '.join(told)}}}"


@dataclass
class _Reading:
    """Class folders read one after the other, and what was left out of them."""

    root: Path
    endings: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Why, and the names."""
    linked: bool = False

    def part(self, part: str | None, folder: str) -> Iterator[Entry]:
        """The images of the class folders in a folder of the root."""
        top, start = self.root / folder, f"{folder}/" if folder else ""
        labels = folders_in(top, WHERE)
        links = [e.name for e in visible(top, WHERE) if e.is_symlink() and e.name not in labels]
        self._leave_out(_LINK, [f"{start}{n}" for n in links if (top / n).is_dir()])
        loose = images_in(top, WHERE)
        self._leave_out("outside of the class folders", [start + name for name in loose])
        for label in labels:
            for name in self._images(start + label):
                yield Entry(f"{start}{label}/{name}", label, part)

    def _images(self, folder: str) -> list[str]:
        found = files_below(self.root / folder, WHERE)
        if broken := [name for name in found.broken if is_image(name)]:
            raise AugcompressError(
                f"{WHERE}: {folder}/{broken[0]}: a link to nothing; restore what it points to or"
                " remove it"
            )
        self.linked |= found.linked
        again = [f"{folder}/{name}" for name in found.not_followed]
        self._leave_out(_LINK, again)
        self._leave_out("no regular file", [f"{folder}/{name}" for name in found.irregular])
        images = [name for name in found.names if is_image(name)]
        others = Counter(os.path.splitext(n)[1].lower() for n in found.names if not is_image(n))
        if not images:
            instead = f" but {_endings_text(others)}" if others else ""
            raise AugcompressError(
                f"{WHERE}: class folder {self.root / folder} has no image{instead}; add some or"
                " remove it"
            )
        self.endings += others
        return images

    def pass_over_the_rest(self, parts: dict[str, str]) -> None:
        """Folders beside the parts are counted.

        Raises AugcompressError naming one that has the classes of train.
        """
        classes = {*folders_in(self.root / parts["train"], WHERE)}
        for name in set(folders_in(self.root, WHERE)) - {*parts.values()}:
            if classes & {*folders_in(self.root / name, WHERE)}:
                raise AugcompressError(
                    f"{WHERE}: {name}/ has classes of {parts['train']}/ and no name of a part; call"
                    f" it {KNOWN}, or move it away; found {tree_text(self.root)}"
                )
            images = [n for n in files_below(self.root / name, WHERE).names if is_image(n)]
            beside = [f"{name}/{image}" for image in images]
            self._leave_out("beside the parts", beside)
        loose = images_in(self.root, WHERE)
        self._leave_out("beside the parts", loose)

    def _leave_out(self, why: str, names: list[str]) -> None:
        if names:
            self.left_out.setdefault(why, []).extend(names)

    def notes(self) -> list[str]:
        """What was left out and why, in sentences."""
        notes = [
            f"data: {len(names)} left out, {why}: {printable(names[0])}"
            for why, names in self.left_out.items()
        ]
        if self.endings:
            notes.append(
                f"data: {self.endings.total()} files left out, no images by their endings:"
                f" {_endings_text(self.endings)}"
            )
        return notes


def _endings_text(endings: Counter[str]) -> str:
    """`12 .heic, 3 without ending`."""
    told = [f"{count} {ending or 'without ending'}" for ending, count in endings.most_common(NAMED)]
    more = len(endings) - NAMED
    return ", ".join([*told, f"{more} others"] if more > 0 else told)
