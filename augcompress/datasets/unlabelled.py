"""Images without labels: a folder of them, and splits joined to one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from augcompress.datasets.hashing import digest_of, file_hashes
from augcompress.datasets.left_out import LeftOut
from augcompress.datasets.splits import FileSplit, Split, Stored, decoded_bytes, made_anew
from augcompress.errors import AugcompressError
from augcompress.inference import identities

IN_MEMORY_BYTES = 1 << 30
"""Folders that are smaller than this when decoded are held in memory."""
WHERE = "pretrain.unlabelled"
_ADVICE = "replace or remove it"


@dataclass(frozen=True, eq=False)
class Joined:
    """Splits one after the other, as one without labels."""

    parts: Sequence[Split]
    index: np.ndarray
    """`(N,)` int64: where each sample stands in the parts taken together."""

    @classmethod
    def of(cls, *parts: Split) -> Joined:
        """All samples of these splits."""
        return cls(parts, np.arange(sum(len(part) for part in parts)))

    @property
    def labels(self) -> None:
        return None

    @property
    def prefetch(self) -> int:
        return max(part.prefetch for part in self.parts)

    def __len__(self) -> int:
        return len(self.index)

    def fetch(self, positions: np.ndarray) -> Tensor:
        shares = list(self._shares(positions))
        images = torch.cat([part.fetch(own) for part, own, _ in shares])
        back = np.argsort(np.concatenate([rows for _, _, rows in shares]))
        return images[torch.from_numpy(back)] if len(shares) > 1 else images

    def take(self, positions: np.ndarray) -> Joined:
        return Joined(self.parts, self.index[positions])

    def histogram(self) -> np.ndarray:
        shares = self._shares(np.arange(len(self)))
        return sum(part.take(own).histogram() for part, own, _ in shares)  # type: ignore[return-value]

    def hashes(self) -> list[str]:
        found = [""] * len(self)
        for part, own, rows in self._shares(np.arange(len(self))):
            for row, each in zip(rows, part.take(own).hashes(), strict=True):
                found[row] = each
        return found

    def _shares(self, positions: np.ndarray) -> Iterator[tuple[Split, np.ndarray, np.ndarray]]:
        """Each part that has some of the samples, their positions in it, and their rows here."""
        places, start = self.index[positions], 0
        for part in self.parts:
            rows = np.flatnonzero((places >= start) & (places < start + len(part)))
            if len(rows):
                yield part, places[rows] - start, rows
            start += len(part)


def read_unlabelled(
    folder: Path, resizing: dict[str, Any], stored: Stored = made_anew
) -> tuple[Split, list[str]]:
    """The images of a folder, at any depth, resized as `load_image` does, without labels;
    and what was left out, in sentences.

    Raises AugcompressError when there are none, or one cannot be decoded.
    """
    names, notes = _names(folder)
    files = [folder / name for name in names]
    split = FileSplit.whole(files, None, resizing, advice=_ADVICE)
    if decoded_bytes(len(files), resizing) < IN_MEMORY_BYTES:
        return split.held(split.decoded(stored)), notes
    return split, notes


def digest_unlabelled(folder: Path) -> str:
    """Digest of the names and contents of a folder's images; decodes nothing.

    Raises AugcompressError when there are none.
    """
    names, _ = _names(folder)
    return digest_of(zip(names, file_hashes([folder / name for name in names]), strict=True))


def _names(folder: Path) -> tuple[list[str], list[str]]:
    """The image files, each once, and what was left out."""
    if not folder.is_dir():
        raise AugcompressError(f"{WHERE}: {folder}: no such folder; check the path")
    left_out = LeftOut(WHERE)
    names, _ = left_out.images_below(folder)
    if left_out.linked:
        _, first = np.unique(identities(folder / name for name in names), return_index=True)
        names = [names[place] for place in np.sort(first)]
    if not names:
        raise AugcompressError(f"{WHERE}: {folder}: holds no image; add some")
    return names, left_out.notes(WHERE)
