"""Long lists of names, files and hashes in few bytes: tens a member instead of hundreds."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np


class Names(Sequence[str]):
    """Strings, as file names may be, in one block of bytes."""

    def __init__(self, content: bytes, ends: np.ndarray) -> None:
        """`content`: the names one after the other, encoded as the file system does; `ends`
        `(N,)` int64: where each ends."""
        self.content, self.ends = content, ends

    @classmethod
    def of(cls, names: Iterable[str]) -> Self:
        """These names; an iterator is never held whole."""
        content, ends = bytearray(), array("q")
        for name in names:
            content += os.fsencode(name)
            ends.append(len(content))
        return cls(bytes(content), np.array(ends, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, place: Any) -> Any:
        """A name; a list of them for a slice."""
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        row = range(len(self))[place]
        start = self.ends[row - 1] if row else 0
        return os.fsdecode(self.content[start : self.ends[row]])

    def take(self, rows: np.ndarray) -> Self:
        """The names of these rows `(M,)`."""
        return type(self).of(self[row] for row in rows)


class Files(Sequence[Path]):
    """Paths of files in one folder or below, made when asked for."""

    def __init__(self, folder: Path, names: Names) -> None:
        self.folder, self.names = folder, names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, place: Any) -> Any:
        """A path; a list of them for a slice."""
        if isinstance(place, slice):
            return [self.folder / name for name in self.names[place]]
        return self.folder / self.names[place]


class Hashes(Sequence[str]):
    """Content hashes of the same length, as bytes; members are hexadecimal."""

    def __init__(self, rows: np.ndarray) -> None:
        """`rows`: uint8 `(N,bytes of a hash)`."""
        self.rows = rows

    @classmethod
    def of(cls, hashes: Iterable[str], digits: int) -> Self:
        """These hashes, of so many hexadecimal digits each; one string may hold several."""
        content = bytearray()
        for each in hashes:
            content += bytes.fromhex(each)
        return cls(np.frombuffer(content, dtype=np.uint8).reshape(-1, digits // 2))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:
        """A hash in hexadecimal digits; Hashes for a slice."""
        if isinstance(place, slice):
            return type(self)(self.rows[place])
        return self.rows[place].tobytes().hex()

    def take(self, rows: np.ndarray) -> Self:
        """The hashes of these rows `(M,)`."""
        return type(self)(self.rows[rows])
