"""Splits: images, in memory or decoded from files when asked for, with or without labels."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import PIL
import torch
from torch import Tensor

from augcompress.datasets.compact import Hashes
from augcompress.datasets.hashing import content_hash, file_hashes
from augcompress.datasets.threads import in_threads
from augcompress.errors import AugcompressError
from augcompress.inference import load_image
from augcompress.storage import remembered

_COUNTED_BYTES = 8 << 20
"""Pixels whose values are counted at a time."""
_CHUNK = 1024
"""Images that are read, where they lie in a table, before they are decoded."""
_DECODING = "2"
"""Raised when the same files come to be decoded otherwise."""
_ADVICE = "replace or remove it, or set data.corrupt: skip"

Stored = Callable[[str, Callable[[], np.ndarray], Callable[[], str]], np.ndarray]
"""The array of this key, or else what the function makes; it is only stored when the second
function, which makes the key anew from the source as it then is, finds the same."""


def made_anew(key: str, make: Callable[[], np.ndarray], key_now: Callable[[], str]) -> np.ndarray:
    """`Stored`, where nothing is."""
    return make()


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
    files: Sequence[Any] = ()
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

    files: Sequence[Any]
    """All files of the source, or other images that `load_image` takes and that have `hashes`."""
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
    in_memory: bool = False
    """Shall all of `files` be decoded when the data set is built, and held?"""

    @classmethod
    def whole(
        cls, files: Sequence[Any], labels: Any, resizing: dict[str, Any], **more: Any
    ) -> Self:
        """A split of all these files."""
        numbers = None if labels is None else np.asarray(labels, dtype=np.int64)
        return cls(files, numbers, np.arange(len(files)), hashes_of(files), resizing, **more)

    def fetch(self, positions: np.ndarray) -> Tensor:
        files = [self.files[row] for row in self.index[positions]]
        return torch.from_numpy(decode(files, self.resizing, self.advice))

    def histogram(self) -> np.ndarray:
        key = content_key(self.hashes(), self.resizing)
        return np.array(remembered("histogram", key, lambda: _histogram(self).tolist()))

    def hashes(self) -> Hashes:
        return self.all_hashes.take(self.index)

    def decoded(self, stored: Stored) -> Tensor:
        """All images of the source, uint8 `(M,C,H,W)`.  Raises AugcompressError naming one that
        cannot be decoded."""
        images = stored(
            content_key(self.all_hashes, self.resizing),
            lambda: decode(self.files, self.resizing, self.advice),
            lambda: content_key(hashes_of(self.files), self.resizing),
        )
        return torch.from_numpy(images)

    def held(self, images: Tensor) -> MemorySplit:
        """The same samples, of images that are `decoded`."""
        return MemorySplit(images, self.all_labels, self.index, files=self.files)


def hashes_of(files: Sequence[Any]) -> Hashes:
    """One content hash per file, or of images that tell theirs."""
    own = getattr(files, "hashes", None)
    return own() if own is not None else file_hashes(files)


def decode(files: Sequence[Any], resizing: dict[str, Any], advice: str = _ADVICE) -> np.ndarray:
    """All these images, uint8 `(N,C,H,W)`.  Raises AugcompressError naming an unreadable one, with
    `advice`."""
    images = np.empty((len(files), *image_shape(resizing)), dtype=np.uint8)

    def place(at: tuple[int, Any]) -> None:
        row, file = at
        images[row] = load_image(file, resizing, advice=advice).transpose(2, 0, 1)

    for chunk in _chunks(files):
        for _ in in_threads(place, chunk):
            pass  # the images are in place; an error surfaces here
    return images


def image_shape(resizing: dict[str, Any]) -> tuple[int, int, int]:
    """Channels, height and width of an image after this preprocessing."""
    height, width = resizing["crop"] or resizing["resize"]
    return 1 if resizing["mode"] == "L" else 3, height, width


def decoded_bytes(count: int, resizing: dict[str, Any]) -> int:
    """Memory that so many decoded images take."""
    return count * math.prod(image_shape(resizing))


def unreadable(files: Sequence[Any], hashes: Hashes, resizing: dict[str, Any]) -> np.ndarray:
    """`(N,)` bool: which images cannot be decoded; remembered by their content."""

    def broken(at: tuple[int, Any]) -> bool:
        try:
            load_image(at[1], resizing)
        except AugcompressError:
            return True
        return False

    def find() -> list[str]:
        found = (each for chunk in _chunks(files) for each in in_threads(broken, chunk))
        return sorted({hashes[row] for row, bad in enumerate(found) if bad})

    bad = set(remembered("corrupt-content", content_key(hashes, resizing), find))
    return np.fromiter((each in bad for each in hashes), dtype=bool, count=len(files))


def _chunks(files: Sequence[Any]) -> Iterator[list[tuple[int, Any]]]:
    """Some files at a time with their rows, read by this thread alone."""
    for start in range(0, len(files), _CHUNK):
        yield [(row, files[row]) for row in range(start, min(start + _CHUNK, len(files)))]


def content_key(hashes: Hashes, resizing: dict[str, Any]) -> str:
    """What decoded pixels depend on: the files' content in its order, the preprocessing, the
    decoder."""
    content = hashlib.sha256(hashes.rows.tobytes()).hexdigest()
    return content + json.dumps(resizing, sort_keys=True) + PIL.__version__ + _DECODING


def _histogram(split: Split) -> np.ndarray:
    image_bytes = split.fetch(np.arange(min(1, len(split)))).numel()
    step = max(1, _COUNTED_BYTES // max(1, image_bytes))
    total: Any = 0
    for start in range(0, len(split), step):
        images = split.fetch(np.arange(start, min(start + step, len(split))))
        channels = images.transpose(0, 1).flatten(1)  # (channels, values)
        total = total + torch.stack([torch.bincount(each, minlength=256) for each in channels])
    return total.numpy()
