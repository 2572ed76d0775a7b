"""Content digests of source files, without decoding an image."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import time
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from augcompress.datasets.compact import Hashes
from augcompress.datasets.threads import in_threads
from augcompress.errors import AugcompressError
from augcompress.storage import remembered

SETTLED_S = 2.0
"""Files changed later than this before now are hashed again next time: a second change in the
same tick of the file system's clock could not be seen."""

HASH_HEX = 40
"""Hexadecimal digits of one file's hash."""


def file_hashes(files: Sequence[Path]) -> Hashes:
    """One hash per file's content, in order; a `.gz` counts as what it holds.

    Remembered under the files' absolute paths, sizes and times of change.
    Raises AugcompressError when a file cannot be read.
    """
    key, newest = hashlib.sha256(), 0
    for file in files:
        state = _state(file)
        key.update(os.fsencode(f"{os.path.abspath(file)}|{state}\n"))
        newest = max(newest, *state[1:])
    settled = time.time_ns() - newest > SETTLED_S * 1e9
    joined = remembered("hashes", key.hexdigest(), lambda: _hash_all(files), keep=settled)
    return Hashes.of([joined], HASH_HEX)


def digest_of(lines: Iterable[Sequence[str]]) -> str:
    """SHA-256 over the sorted lines of text fields."""
    digest = hashlib.sha256()
    for place, line in enumerate(sorted("\0".join(fields) for fields in lines)):
        text = line if place == 0 else f"\n{line}"
        digest.update(text.encode(errors="surrogateescape"))
    return digest.hexdigest()


def content_hash(content: bytes | memoryview) -> str:
    """The hash of one item's bytes."""
    return hashlib.blake2b(content, digest_size=HASH_HEX // 2).hexdigest()


def _state(file: Path) -> tuple[int, int, int]:
    try:
        found = os.stat(file)
    except OSError as error:
        raise AugcompressError(f"{file}: {error.strerror}; check the path") from error
    if not stat.S_ISREG(found.st_mode):
        raise AugcompressError(f"{file}: no regular file; give one")
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _hash_all(files: Sequence[Path]) -> str:
    return "".join(in_threads(_hash_file, files))


def _hash_file(file: Path) -> str:
    digest = hashlib.blake2b(digest_size=HASH_HEX // 2)
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rb") as stream:
            while chunk := stream.read(1 << 17):
                digest.update(chunk)
    except (OSError, EOFError, zlib.error) as error:
        raise AugcompressError(f"{file}: cannot be read ({error}); restore the file") from error
    return digest.hexdigest()
