"""Class folders: which images lie in them, and which part of the data set they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from augcompress.datasets.class_names import printable
from augcompress.datasets.left_out import LINK, LeftOut, endings_text
from augcompress.datasets.listing import Entry, Listing
from augcompress.datasets.parts import KNOWN, PARTS, naming_notes, part_named, parts_named
from augcompress.errors import AugcompressError
from augcompress.inference import files_below, folders_in, images_in, is_image, visible

WHERE = "data.root"
NAMED = 4
"""So many folders are named at each level of a tree in a message, and so many levels."""
_BESIDE = "beside the parts"


def list_folder(root: Path) -> Listing:
    """`root/train/<class>/…`, `root/test/<class>/…` and perhaps `root/validation/<class>/…`,
    as `parts_named` reads their names; or `root/<class>/…`.

    Raises AugcompressError when folders are missing, empty, or nested in another way, or the parts'
    classes differ.
    """
    if not root.is_dir():
        raise AugcompressError(f"{WHERE}: {root}: no such folder; check the path")
    parts, left_out = divided(root), LeftOut(WHERE)
    if parts:
        _pass_over_the_rest(root, parts, left_out)
    else:
        _check_undivided(root)
    places: list[tuple[str | None, str]] = [*parts.items()] or [(None, "")]
    entries = (_part_entries(root, part, folder, left_out) for part, folder in places)
    listing = Listing.of(root, chain.from_iterable(entries))
    if left_out.linked:
        listing = listing.each_once()
    told = naming_notes(parts) if parts else _grouping_note(root)
    notes = [*told, *left_out.notes(), *listing.notes]
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
    """Says so where all classes hold the same folders, or no image but in folders: these may be the
    classes that are meant."""
    folders = folders_in(root, WHERE)
    below = {name: tuple(folders_in(root / name, WHERE)) for name in folders}
    inner = sorted({each for names in below.values() for each in names})
    same = len({*below.values()}) == 1
    if len(inner) < 2 or not (same or all(_holds_folders_alone(root / name) for name in folders)):
        return []
    return [
        f"data: the classes {_first(folders)} hold {'the same ' if same else ''}folders,"
        f" {_first(inner)}; if those are the classes, give a folder that holds them, or call the"
        " folders above train and test"
    ]


def _holds_folders_alone(folder: Path) -> bool:
    return bool(folders_in(folder, WHERE)) and not images_in(folder, WHERE)


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
    return f"{printable(folder.resolve().name)}/{{{', '.join(told)}}}"


def _part_entries(root: Path, part: str | None, folder: str, left_out: LeftOut) -> Iterator[Entry]:
    """The images of the class folders in a folder of the root."""
    top, start = root / folder, f"{folder}/" if folder else ""
    labels = folders_in(top, WHERE)
    links = [e.name for e in visible(top, WHERE) if e.is_symlink() and e.name not in labels]
    left_out.add(LINK, [name for name in links if (top / name).is_dir()], start)
    left_out.add("outside of the class folders", images_in(top, WHERE), start)
    for label in labels:
        names, others = left_out.images_below(top / label, f"{start}{label}/")
        if not names:
            instead = f" but {endings_text(others)}" if others else ""
            raise AugcompressError(
                f"{WHERE}: class folder {top / label} has no image{instead}; add some or remove it"
            )
        yield from (Entry(f"{start}{label}/{name}", label, part) for name in names)


def _pass_over_the_rest(root: Path, parts: dict[str, str], left_out: LeftOut) -> None:
    """Images beside the parts are counted.

    Raises AugcompressError naming a folder that has classes of train.
    """
    classes = {*folders_in(root / parts["train"], WHERE)}
    for name in sorted({*folders_in(root, WHERE)} - {*parts.values()}):
        if classes & {*folders_in(root / name, WHERE)}:
            raise AugcompressError(
                f"{WHERE}: {name}/ has classes of {parts['train']}/ and no name of a part; call it"
                f" {KNOWN}, or move it away; found {tree_text(root)}"
            )
        found = files_below(root / name, WHERE).names
        left_out.add(_BESIDE, [each for each in found if is_image(each)], f"{name}/")
    left_out.add(_BESIDE, images_in(root, WHERE))
