"""Which image files there are, of which class and part: from folders or from a manifest."""

from __future__ import annotations

import csv
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from augcompress.datasets.compact import Files, Names
from augcompress.datasets.images import image_endings
from augcompress.errors import AugcompressError, require

REQUIRED = ("train", "test")
PARTS = (*REQUIRED, "validation")


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
        return Listing(self.folder, names, labels, parts, self.classes)

    def members(self, part: str) -> np.ndarray:
        """Rows of the files of a part, ascending."""
        return np.flatnonzero(self.parts == PARTS.index(part))


def list_folder(root: Path) -> Listing:
    """`root/train/<class>/…`, `root/test/<class>/…` and perhaps `root/validation/<class>/…`; or
    `root/<class>/…`.

    Raises AugcompressError when folders are missing or empty, or the parts' classes differ.
    """
    if not root.is_dir():
        raise AugcompressError(f"data.root: {root}: no such folder; check the path")
    given = [part for part in REQUIRED if (root / part).is_dir()]
    if len(given) == 1:
        absent = next(part for part in REQUIRED if part not in given)
        raise AugcompressError(f"data.root: {root} has {given[0]}/ but no {absent}/; add it")
    found = [part for part in PARTS if (root / part).is_dir()]
    parts: list[str | None] = [*found] if given else [None]
    entries = (entry for part in parts for entry in _part_entries(root, part))
    return _checked(Listing.of(root, entries), root)


def list_manifest(manifest: Path) -> Listing:
    """The rows `path,label[,split]` of a CSV or Parquet file; paths start at its folder.

    Raises AugcompressError when columns, values or files are missing.
    """
    if not manifest.is_file():
        raise AugcompressError(f"data.manifest: {manifest}: no such file; check the path")
    rows = _parquet_rows(manifest) if manifest.suffix == ".parquet" else _csv_rows(manifest)
    entries = (_row_entry(row, place, manifest) for place, row in enumerate(rows, start=1))
    listing = Listing.of(manifest.parent, entries, numeric=True)
    if _has_repeats(listing.names):
        raise AugcompressError(f"data.manifest: {manifest}: a path is listed twice; list it once")
    for name, file in zip(listing.names, listing.files(), strict=True):
        if not file.is_file():
            raise AugcompressError(
                f"data.manifest: {name}: no such file in {manifest.parent}; correct the path"
            )
    return _checked(listing, manifest)


def _has_repeats(names: Names) -> bool:
    hashed = np.fromiter(map(hash, names), dtype=np.int64, count=len(names))
    return len(np.unique(hashed)) < len(names) and len(set(names)) < len(names)


def _part_entries(root: Path, part: str | None) -> Iterator[Entry]:
    top = root / part if part else root
    folders = sorted(p.name for p in top.iterdir() if p.is_dir() and not p.name.startswith("."))
    for label in folders:
        names = images_below(top / label)
        if not names:
            raise AugcompressError(
                f"data.root: class folder {top / label} has no image; add some or remove it"
            )
        start = f"{part}/{label}" if part else label
        yield from (Entry(f"{start}/{name}", label, part) for name in names)


def images_below(folder: Path) -> list[str]:
    """Image files at any depth, relative to the folder, with `/`, sorted; hidden ones are left
    out."""
    found = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images = [n for n in names if Path(n).suffix.lower() in image_endings() and n[0] != "."]
        below = Path(place).relative_to(folder)
        found += [(below / name).as_posix() for name in images]
    return sorted(found)


def _csv_rows(manifest: Path) -> Iterator[dict[str, Any]]:
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            _check_columns(reader.fieldnames or [], manifest)
            yield from reader
    except (UnicodeDecodeError, csv.Error) as error:
        raise AugcompressError(
            f"data.manifest: {manifest}: not a UTF-8 CSV file ({error}); save it as one"
        ) from error


def _parquet_rows(manifest: Path) -> Iterator[dict[str, Any]]:
    parquet = require("pyarrow.parquet", extra="parquet")
    try:
        table = parquet.read_table(manifest)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise AugcompressError(
            f"data.manifest: {manifest}: not a readable Parquet file; write it again"
        ) from error
    _check_columns(table.column_names, manifest)
    for rows in table.to_batches(max_chunksize=1024):
        yield from rows.to_pylist()


def _check_columns(columns: Sequence[str], manifest: Path) -> None:
    missing = [name for name in ("path", "label") if name not in columns]
    if missing:
        raise AugcompressError(
            f"data.manifest: {manifest}: no column {', '.join(missing)}; name the columns"
            " path,label[,split]"
        )


def _row_entry(row: dict[str, Any], place: int, manifest: Path) -> Entry:
    path, label, part = (_text(row.get(name)) for name in ("path", "label", "split"))
    if not path or not label:
        raise AugcompressError(
            f"data.manifest: {manifest}: row {place} has no path or no label; fill it in"
        )
    if "split" in row and part not in PARTS:
        raise AugcompressError(
            f"data.manifest: {manifest}: row {place}: split '{part}'; write train or test,"
            " or validation"
        )
    return Entry(Path(path).as_posix(), label, part or None)


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _in_order(names: set[str]) -> list[str]:
    if all(name.isdecimal() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def _checked(listing: Listing, where: Path) -> Listing:
    if not len(listing):
        raise AugcompressError(f"data: no image in {where}; put images into one folder per class")
    classes = {part: {*np.unique(listing.labels[listing.members(part)])} for part in PARTS}
    differing = sorted(classes["train"] ^ classes["test"])
    if (listing.parts >= 0).any() and differing:
        names = ", ".join(sorted(listing.classes[number] for number in differing))
        raise AugcompressError(
            f"data: {where}: train and test have different classes: {names} is in"
            " one of them only; add images or remove the class"
        )
    unknown = sorted(listing.classes[number] for number in classes["validation"] - classes["train"])
    if unknown:
        raise AugcompressError(
            f"data: {where}: class {unknown[0]} has validation images and no training images; add"
            " some or remove the class"
        )
    return listing
