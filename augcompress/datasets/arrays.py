"""Images that are arrays already, in one `.npz` file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from augcompress.component import FilePath
from augcompress.datasets.base import DatasetSettings
from augcompress.datasets.data import Source
from augcompress.datasets.hashing import digest_of, file_hashes
from augcompress.datasets.images import direct
from augcompress.datasets.splits import MemorySplit
from augcompress.errors import AugcompressError

REQUIRED = ("x_train", "y_train", "x_test", "y_test")
PARTS = ("train", "test", "validation")


class Arrays(DatasetSettings):
    """Arrays `x_train, y_train, x_test, y_test` and, if there, `x_validation, y_validation` and
    `classes` (names).

    Images are `(N,H,W)`, `(N,H,W,C)` or `(N,C,H,W)` with 1 or 3 channels, uint8 or float in [0,1]
    (rounded to 1/255); labels are integers from 0.
    """

    kind: Literal["arrays"] = "arrays"
    path: FilePath
    """The `.npz` file; pickled objects in it are refused."""

    def read(self) -> Source:
        found = read_npz(Path(self.path))
        parts = {part: self._part(found, part) for part in PARTS if f"x_{part}" in found}
        train = parts["train"]
        for part, split in parts.items():
            if train.images.shape[1:] != split.images.shape[1:]:
                raise AugcompressError(
                    f"data.path: {self.path}: x_train holds images"
                    f" {tuple(train.images.shape[1:])} and x_{part}"
                    f" {tuple(split.images.shape[1:])} (C,H,W); make them alike"
                )
        channels, height, width = train.images.shape[1:]
        return Source(
            classes=self._classes(found),
            train=train,
            test=parts["test"],
            validation=parts.get("validation"),
            resizing=direct((height, width), "L" if channels == 1 else "RGB"),
        )

    def fingerprint(self) -> str:
        return digest_of([file_hashes([Path(self.path)])])

    def _part(self, found: dict[str, np.ndarray], part: str) -> MemorySplit:
        images = _as_bytes(found[f"x_{part}"], f"data.path: {self.path}: x_{part}")
        labels = _as_labels(found[f"y_{part}"], f"data.path: {self.path}: y_{part}")
        if len(images) != len(labels) or not len(images):
            raise AugcompressError(
                f"data.path: {self.path}: {len(images)} images in x_{part}, {len(labels)} labels"
                f" in y_{part}; give one label per image"
            )
        return MemorySplit.whole(torch.from_numpy(images), labels)

    def _classes(self, found: dict[str, np.ndarray]) -> list[str]:
        labels = [found[f"y_{part}"] for part in PARTS if f"y_{part}" in found]
        count = int(max(each.max() for each in labels)) + 1
        names = [str(name) for name in found.get("classes", np.arange(count))]
        if len(names) < count:
            raise AugcompressError(
                f"data.path: {self.path}: label {count - 1}, but classes names {len(names)};"
                " name every class"
            )
        return names


def read_npz(file: Path) -> dict[str, np.ndarray]:
    """The arrays of the file.  Raises AugcompressError when it is none, or lacks some."""
    try:
        with np.load(file, allow_pickle=False) as opened:
            found = dict(opened)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise AugcompressError(
            f"data.path: {file}: not a readable .npz file ({error}); save it with numpy.savez"
        ) from error
    needed = (*REQUIRED, "y_validation") if "x_validation" in found else REQUIRED
    missing = [name for name in needed if name not in found]
    if missing:
        raise AugcompressError(f"data.path: {file}: has no {', '.join(missing)}; add it")
    return found


def _as_bytes(images: np.ndarray, where: str) -> np.ndarray:
    images = _channels_first(images, where)
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if images.dtype.kind != "f":
        raise AugcompressError(f"{where}: dtype {images.dtype}; use uint8, or float in [0,1]")
    if not (images.min(initial=0) >= 0 and images.max(initial=0) <= 1):
        raise AugcompressError(f"{where}: floats outside [0,1]; divide by the largest value")
    return (images * 255).round().astype(np.uint8)


def _channels_first(images: np.ndarray, where: str) -> np.ndarray:
    if images.ndim == 3:
        return images[:, None]
    first, last = (images.ndim == 4 and images.shape[axis] in (1, 3) for axis in (1, -1))
    if first == last:
        raise AugcompressError(
            f"{where}: shape {images.shape}; use (N,H,W), (N,H,W,C) or (N,C,H,W) with C 1 or 3"
        )
    return images if first else images.transpose(0, 3, 1, 2)


def _as_labels(labels: np.ndarray, where: str) -> np.ndarray:
    if labels.dtype.kind not in "iu" or labels.size != len(labels) or labels.min(initial=0) < 0:
        raise AugcompressError(
            f"{where}: {labels.dtype} of shape {labels.shape}; use one integer from 0 per image"
        )
    return labels.reshape(-1).astype(np.int64)
