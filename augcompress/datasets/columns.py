"""The columns of a Hugging Face data set: which hold images and classes, and what is in them."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from augcompress.datasets.compact import Hashes
from augcompress.datasets.hashing import HASH_HEX, content_hash
from augcompress.errors import AugcompressError, require


def opened_library() -> Any:
    """Hugging Face datasets; a folder called `datasets` is no substitute.

    Raises AugcompressError when it is not installed.
    """
    require("datasets.load", extra="hugging-face")
    return require("datasets", extra="hugging-face")


@dataclass(frozen=True)
class Columns:
    """Which columns hold the images and the classes."""

    image: str
    label: str
    names: tuple[str, ...]
    """Class names where the label is a class number; empty: its values are the names."""

    @classmethod
    def of(cls, features: Mapping[str, Any], image: str | None, label: str | None) -> Columns:
        """The columns of these names, or the only ones that may be meant.

        Raises AugcompressError listing the columns.
        """
        pictures = [name for name, feature in features.items() if _is_image(feature)]
        numbers = [name for name, feature in features.items() if hasattr(feature, "str2int")]
        labels = numbers or [name for name in features if name in ("label", "labels")]
        chosen = _chosen("label", label, labels, features)
        names = tuple(getattr(features[chosen], "names", ()))
        return cls(_chosen("image", image, pictures, features), chosen, names)

    def classes(self, parts: Sequence[Any]) -> list[str]:
        """Class names: as declared, or the values that occur, in order.

        Raises AugcompressError when the parts declare different ones.
        """
        if self.names:
            told = {tuple(getattr(part.features.get(self.label), "names", ())) for part in parts}
            if told != {self.names}:
                raise AugcompressError(
                    f"data.label: {self.label} means other classes in train than in test; declare"
                    " the same names"
                )
            return list(self.names)
        values = {value for part in parts for value in part.unique(self.label)}
        wrong = [value for value in values if not isinstance(value, int | str)]
        if wrong:
            raise AugcompressError(
                f"data.label: {self.label} holds {wrong[0]!r}, no class; name another column"
            )
        return [str(value) for value in sorted(values, key=lambda v: (isinstance(v, str), v))]

    def labels(self, data: Any, classes: list[str]) -> np.ndarray:
        """`(N,)` int64 class numbers.

        Raises AugcompressError when a row has no class.
        """
        values = data[self.label][:]
        numbers = {name: number for number, name in enumerate(classes)}
        found = [v if self.names else numbers[str(v)] for v in values]
        wrong = [row for row, v in enumerate(found) if v is None or not 0 <= v < len(classes)]
        if wrong:
            raise AugcompressError(
                f"data.label: row {wrong[0]} has {self.label} {values[wrong[0]]}, no class; take a"
                " split with labels"
            )
        return np.array(found, dtype=np.int64)


def _is_image(feature: Any) -> bool:
    """An image, or what becomes one: encoded bytes, alone or with a path."""
    if isinstance(feature, Mapping):
        return {*feature} == {"bytes", "path"}
    return type(feature).__name__ == "Image" or getattr(feature, "dtype", "") == "binary"


def _chosen(what: str, given: str | None, fitting: list[str], columns: Mapping[str, Any]) -> str:
    known = ", ".join(columns)
    if given is not None and given not in columns:
        raise AugcompressError(f"data.{what}: no column {given}; the columns are {known}")
    if given is None and len(fitting) != 1:
        found = f"{' and '.join(fitting)} may be" if fitting else "none is sure to be"
        raise AugcompressError(f"data.{what}: {found} the {what}; name one of the columns {known}")
    return given or fitting[0]


class Encoded(Sequence[Any]):
    """The images of a split as they are stored, for `load_image`: files, or bytes that name their
    row when they cannot be decoded."""

    def __init__(self, data: Any, column: str, where: str) -> None:
        image = opened_library().Image(decode=False)
        self.data = data.select_columns([column]).cast_column(column, image)
        self.column, self.where, self.rows = column, where, np.arange(len(data))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:
        row = int(self.rows[place])
        stored = self.data[row][self.column] or {"bytes": b""}
        if stored["bytes"] is None:
            return Path(stored["path"])
        return _Content(stored["bytes"], f"{self.where} row {row}")

    def take(self, rows: np.ndarray) -> Encoded:
        """The images of these rows, which keep their names."""
        taken = copy.copy(self)
        taken.rows = self.rows[rows]
        return taken

    def hashes(self) -> Hashes:
        """One content hash per image."""
        items = (self[row] for row in range(len(self)))
        contents = (i.read_bytes() if isinstance(i, Path) else i.getvalue() for i in items)
        return Hashes.of(map(content_hash, contents), HASH_HEX)


class _Content(io.BytesIO):
    """An encoded image that knows where it comes from."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.origin = name

    def __str__(self) -> str:
        return self.origin
