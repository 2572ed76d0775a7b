"""NumPy's `.npz` files that a stranger wrote, and how far anything packed may unfold."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from augcompress.untrusted.json_data import require_regular

UNFOLDS = 200
"""How many times its size a packed file may unfold to; beyond 64 MiB, that is."""
FREE_BYTES = 64 * 2**20
_KINDS = "biufSU"
"""Numbers and text, as NumPy's letters for kinds of types."""


def load_npz(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file: numbers and text, as many bytes as their headers say.

    Raises OSError or ValueError when it is none, needs pickle, or unfolds to far more than it is.
    """
    path = require_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            check_unfolded(sum(one.file_size for one in members), path.stat().st_size)
            return {one.filename.removesuffix(".npy"): _array(archive, one) for one in members}
    except (OSError, ValueError):
        raise
    except Exception as error:  # whatever zipfile and NumPy raise on bytes that mean nothing
        raise ValueError(f"{type(error).__name__}: {error}") from error


def check_unfolded(size: int, packed: int) -> None:
    """Raises ValueError when `packed` bytes say that they stand for far more."""
    if size > FREE_BYTES and size > UNFOLDS * packed:
        raise ValueError(f"{packed} bytes would unfold to {size}")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        _check_header(file, member)
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _check_header(file: IO[bytes], member: zipfile.ZipInfo) -> None:
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): "read_array_header_1_0", (2, 0): "read_array_header_2_0"}
    if version not in readers:
        raise ValueError(f"{member.filename} has format {version}")
    shape, _, kind = getattr(np.lib.format, readers[version])(file)
    if kind.kind not in _KINDS:
        raise ValueError(f"{member.filename} holds {kind}, neither numbers nor text")
    wanted, found = math.prod(shape) * kind.itemsize, member.file_size - file.tell()
    if wanted != found:
        raise ValueError(f"{member.filename} has {found} bytes and its header says {wanted}")
