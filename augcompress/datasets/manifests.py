"""Tables of images: `path,label[,split]`, as CSV or Parquet files."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from augcompress.datasets.class_names import as_text
from augcompress.datasets.compact import Names
from augcompress.datasets.listing import Entry, Listing
from augcompress.datasets.parts import KNOWN, part_named
from augcompress.errors import AugcompressError, require


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
        if not _is_there(file):
            raise AugcompressError(
                f"data.manifest: {name}: no such file in {manifest.parent}; correct the path"
            )
    return listing.each_once().checked(lambda: str(manifest))


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _has_repeats(names: Names) -> bool:
    hashed = np.fromiter(map(hash, names), dtype=np.int64, count=len(names))
    return len(np.unique(hashed)) < len(names) and len(set(names)) < len(names)


def _csv_rows(manifest: Path) -> Iterator[dict[str, Any]]:
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            reader.fieldnames = _columns(reader.fieldnames or [], manifest)
            yield from reader
    except (UnicodeDecodeError, csv.Error) as error:
        raise AugcompressError(
            f"data.manifest: {manifest}: not a UTF-8 CSV file ({error}); save it as one"
        ) from error


def _parquet_rows(manifest: Path) -> Iterator[dict[str, Any]]:
    parquet = require("pyarrow.parquet", extra="parquet")
    try:
        table = parquet.read_table(manifest)
    except Exception as error:  # whatever pyarrow raises on bytes from anywhere
        raise AugcompressError(
            f"data.manifest: {manifest}: not a readable Parquet file; write it again"
        ) from error
    table = table.rename_columns(_columns(table.column_names, manifest))
    for rows in table.to_batches(max_chunksize=1024):
        yield from rows.to_pylist()


def _columns(given: Sequence[str], manifest: Path) -> list[str]:
    """The columns' names in lower case."""
    columns = [name.strip().lower() for name in given]
    missing = [name for name in ("path", "label") if name not in columns]
    if missing:
        raise AugcompressError(
            f"data.manifest: {manifest}: no column {', '.join(missing)}; name the columns"
            " path,label[,split]"
        )
    return columns


def _row_entry(row: dict[str, Any], place: int, manifest: Path) -> Entry:
    path, label, split = (_text(row.get(name)) for name in ("path", "label", "split"))
    if not path or not label:
        raise AugcompressError(
            f"data.manifest: {manifest}: row {place} has no path or no label; fill it in"
        )
    part = part_named(split)
    if "split" in row and part is None:
        raise AugcompressError(
            f"data.manifest: {manifest}: row {place}: split '{split}'; write {KNOWN}"
        )
    return Entry(Path(path).as_posix(), label, part)


def _text(value: Any) -> str:
    return "" if value is None else as_text(value).strip()
