"""Content digests of source files, without decoding an image."""

from __future__ import annotations

import gzip
import hashlib
import os
import time
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from augcompress.datasets.cache import remembered
from augcompress.errors import AugcompressError

SETTLED_S = 2.0
"""Files changed later than this before now are hashed again next time: a second change in the
same tick of the file system's clock could not be seen."""

HASH_HEX = 40
"""Hexadecimal digits of one file's hash."""


def file_hashes(files: Sequence[Path]) -> list[str]:
    """One hash per file's content, in order; a `.gz` counts as what it holds.

    Remembered under the files' absolute paths, sizes and times of change.
    Raises AugcompressError when a file cannot be read.
    """
    states = [_state(file) for file in files]
    key = "\n".join(f"{os.path.abspath(f)}|{s}" for f, s in zip(files, states, strict=True))
    newest = max((max(state[1:]) for state in states), default=0)
    settled = time.time_ns() - newest > SETTLED_S * 1e9
    joined = remembered("hashes", key, lambda: _hash_all(files), keep=settled)
    return [joined[at : at + HASH_HEX] for at in range(0, len(joined), HASH_HEX)]


def digest_of(lines: Iterable[Sequence[str]]) -> str:
    """SHA-256 over the sorted lines of text fields."""
    joined = sorted("\0".join(line) for line in lines)
    return hashlib.sha256("\n".join(joined).encode()).hexdigest()


def content_hash(content: bytes | memoryview) -> str:
    """The hash of one item's bytes."""
    return hashlib.blake2b(content, digest_size=HASH_HEX // 2).hexdigest()


def _state(file: Path) -> tuple[int, int, int]:
    try:
        found = os.stat(file)
    except OSError as error:
        raise AugcompressError(f"{file}: {error.strerror}; check the path") from error
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _hash_all(files: Sequence[Path]) -> str:
    with ThreadPoolExecutor() as pool:
        return "".join(pool.map(_hash_file, files))


def _hash_file(file: Path) -> str:
    digest = hashlib.blake2b(digest_size=HASH_HEX // 2)
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    except (OSError, EOFError, zlib.error) as error:
        raise AugcompressError(f"{file}: cannot be read ({error}); restore the file") from error
    return digest.hexdigest()
