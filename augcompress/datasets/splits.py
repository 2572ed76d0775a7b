"""Splits: images, in memory or decoded from files when asked for, with or without labels."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import PIL
import torch
from torch import Tensor

from augcompress.datasets.compact import Hashes
from augcompress.datasets.hashing import content_hash, digest_of
from augcompress.datasets.threads import in_threads
from augcompress.errors import AugcompressError
from augcompress.inference import load_image
from augcompress.storage import remembered

_COUNTED_BYTES = 8 << 20
"""Pixels whose values are counted at a time."""
_DECODING = "2"
"""Raised when the same files come to be decoded otherwise."""
_ADVICE = "replace or remove it, or set data.corrupt: skip"


class Split(Protocol):
    """Images, by position."""

    @property
    def labels(self) -> Any:
        """`(N,)` int64 class numbers; None where the images have no labels."""

    @property
    def index(self) -> np.ndarray:
        """`(N,)` int64: where each sample stands in the source that the split was cut from."""

    @property
    def prefetch(self) -> int:
        """How many batches are worth reading ahead; 0 where reading costs nothing."""

    def __len__(self) -> int: ...

    def fetch(self, positions: np.ndarray) -> Tensor:
        """The images at these positions, uint8 `(N,C,H,W)`."""

    def take(self, positions: np.ndarray) -> Split:
        """The split of these positions only, sharing the images."""

    def histogram(self) -> np.ndarray:
        """How often each pixel value 0-255 occurs, int64 `(C,256)`."""

    def hashes(self) -> Sequence[str]:
        """One content hash per sample: of the pixels in memory, of the file where streamed."""


class _Rows:
    """Some rows of a source: what its splits have in common."""

    all_labels: np.ndarray | None
    index: np.ndarray

    @property
    def labels(self) -> Any:
        return None if self.all_labels is None else self.all_labels[self.index]

    def __len__(self) -> int:
        return len(self.index)

    def take(self, positions: np.ndarray) -> Self:
        return replace(self, index=self.index[positions])  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class MemorySplit(_Rows):
    """Images held as one uint8 tensor."""

    images: Tensor
    """All images of the source, uint8 `(M,C,H,W)`; shared by the splits cut from it."""
    all_labels: np.ndarray | None
    """`(M,)` int64 class numbers of `images`; None where they have none."""
    index: np.ndarray
    """`(N,)` int64: the rows of `images` that belong to this split."""
    prefetch: int = 0
    files: Sequence[Path] = ()
    """The files of `images`, where they come from such."""

    @classmethod
    def whole(cls, images: Tensor, labels: np.ndarray | None) -> MemorySplit:
        """A split of all these images."""
        numbers = None if labels is None else labels.astype(np.int64)
        return cls(images.contiguous(), numbers, np.arange(len(images)))

    def fetch(self, positions: np.ndarray) -> Tensor:
        return self.images.index_select(0, torch.from_numpy(self.index[positions]))

    def histogram(self) -> np.ndarray:
        return _histogram(self)

    def hashes(self) -> list[str]:
        pixels = self.images.numpy()
        return [content_hash(pixels[row].tobytes()) for row in self.index]


@dataclass(frozen=True, eq=False)
class FileSplit(_Rows):
    """Images that stay in their files and are decoded when asked for."""

    files: Sequence[Path]
    """All files of the source."""
    all_labels: np.ndarray | None
    """`(M,)` int64 class numbers of `files`; None where they have none."""
    index: np.ndarray
    """`(N,)` int64: the `files` that belong to this split."""
    all_hashes: Hashes
    """Content hashes of `files`."""
    resizing: dict[str, Any]
    """The preprocessing of `load_image`."""
    prefetch: int = 4
    advice: str = _ADVICE
    """What to do about a file that cannot be decoded."""

    def fetch(self, positions: np.ndarray) -> Tensor:
        files = [self.files[row] for row in self.index[positions]]
        return decode(files, self.resizing, self.advice)

    def histogram(self) -> np.ndarray:
        key = content_key(self.hashes(), self.resizing)
        return np.array(remembered("histogram", key, lambda: _histogram(self).tolist()))

    def hashes(self) -> Hashes:
        return self.all_hashes.take(self.index)


def decode(files: Sequence[Path], resizing: dict[str, Any], advice: str = _ADVICE) -> Tensor:
    """All these images, uint8 `(N,C,H,W)`.  Raises AugcompressError naming an unreadable one, with
    `advice`."""
    images = np.empty((len(files), *image_shape(resizing)), dtype=np.uint8)

    def place(row: int) -> None:
        images[row] = load_image(files[row], resizing, advice=advice).transpose(2, 0, 1)

    for _ in in_threads(place, range(len(files))):
        pass  # the images are in place; an error surfaces here
    return torch.from_numpy(images)


def image_shape(resizing: dict[str, Any]) -> tuple[int, int, int]:
    """Channels, height and width of an image after this preprocessing."""
    height, width = resizing["crop"] or resizing["resize"]
    return 1 if resizing["mode"] == "L" else 3, height, width


def decoded_bytes(count: int, resizing: dict[str, Any]) -> int:
    """Memory that so many decoded images take."""
    return count * math.prod(image_shape(resizing))


def unreadable(items: Sequence[Any], resizing: dict[str, Any]) -> list[int]:
    """Places of the images, as `load_image` takes them, that cannot be decoded."""

    def readable(item: Any) -> bool:
        try:
            load_image(item, resizing)
        except AugcompressError:
            return False
        return True

    return [place for place, fine in enumerate(in_threads(readable, items)) if not fine]


def content_key(hashes: Sequence[str], resizing: dict[str, Any]) -> str:
    """What decoded pixels depend on: the files' content, the preprocessing, the decoder."""
    settings = json.dumps(resizing, sort_keys=True)
    return digest_of([each] for each in hashes) + settings + PIL.__version__ + _DECODING


def _histogram(split: Split) -> np.ndarray:
    image_bytes = split.fetch(np.arange(min(1, len(split)))).numel()
    step = max(1, _COUNTED_BYTES // max(1, image_bytes))
    total: Any = 0
    for start in range(0, len(split), step):
        images = split.fetch(np.arange(start, min(start + step, len(split))))
        channels = images.transpose(0, 1).flatten(1)  # (channels, values)
        total = total + torch.stack([torch.bincount(each, minlength=256) for each in channels])
    return total.numpy()
