"""Images that are arrays already, in one `.npz` file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from augcompress.component import FilePath
from augcompress.datasets.base import DatasetSettings
from augcompress.datasets.class_names import as_text
from augcompress.datasets.data import Source
from augcompress.datasets.hashing import digest_of, file_hashes
from augcompress.datasets.parts import PARTS, naming_notes, parts_named
from augcompress.datasets.splits import MemorySplit
from augcompress.errors import AugcompressError
from augcompress.inference import direct
from augcompress.untrusted import load_npz


class Arrays(DatasetSettings):
    """Arrays `x_train, y_train`, `x_test, y_test` and `x_validation, y_validation`, or one of the
    last two pairs, and, if there, `classes` (names).  `x_val` and the like are read as well.

    Images are `(N,H,W)`, `(N,H,W,C)` or `(N,C,H,W)` with 1 or 3 channels, uint8 or float in [0,1]
    (rounded to 1/255); labels are integers from 0.
    """

    kind: Literal["arrays"] = "arrays"
    path: FilePath
    """The `.npz` file; pickled objects in it are refused."""

    def read(self) -> Source:
        found, named = read_npz(Path(self.path))
        parts = {part: self._part(found, name) for part, name in named.items()}
        train = parts["train"]
        for part, split in parts.items():
            if train.images.shape[1:] != split.images.shape[1:]:
                raise AugcompressError(
                    f"data.path: {self.path}: x_train holds images"
                    f" {tuple(train.images.shape[1:])} and x_{named[part]}"
                    f" {tuple(split.images.shape[1:])} (C,H,W); make them alike"
                )
        channels, height, width = train.images.shape[1:]
        return Source(
            classes=self._classes(found, named),
            train=train,
            test=parts.get("test", train.take(np.arange(0))),
            validation=parts.get("validation"),
            resizing=direct((height, width), "L" if channels == 1 else "RGB"),
            notes=naming_notes(named, (n.removeprefix("x_") for n in found if n.startswith("x_"))),
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

    def _classes(self, found: dict[str, np.ndarray], named: dict[str, str]) -> list[str]:
        highest = max(int(found[f"y_{name}"].max()) for name in named.values())
        trained = len(found[f"y_{named['train']}"])
        if highest >= trained:
            raise AugcompressError(
                f"data.path: {self.path}: label {highest}, but {trained} training images; number"
                " the classes from 0, without gaps"
            )
        told = np.atleast_1d(found.get("classes", np.arange(highest + 1)))
        names = [as_text(name) for name in told.ravel().tolist()]
        if len(names) <= highest:
            raise AugcompressError(
                f"data.path: {self.path}: label {highest}, but classes names {len(names)};"
                " name every class"
            )
        return names


def read_npz(file: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of the file, their names in lower case; and what each part is called there.

    Raises AugcompressError when it is none, or lacks some.
    """
    try:
        found = {name.lower(): array for name, array in load_npz(file).items()}
    except (OSError, ValueError) as error:
        raise AugcompressError(
            f"data.path: {file}: not a readable .npz file ({error}); save it with numpy.savez"
        ) from error
    images = [name.removeprefix("x_") for name in found if name.startswith("x_")]
    named = parts_named(images, f"data.path: {file}: x_")
    pairs = {"train": "train", **({} if "validation" in named else {"test": "test"})} | named
    missing = [f"{x}_{p}" for p in pairs.values() for x in "xy" if f"{x}_{p}" not in found]
    if missing:
        raise AugcompressError(f"data.path: {file}: has no {', '.join(missing)}; add it")
    return found, {part: pairs[part] for part in PARTS if part in pairs}


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
    if images.ndim == 3 and 0 not in images.shape:
        return images[:, None]
    first, last = (images.ndim == 4 and images.shape[axis] in (1, 3) for axis in (1, -1))
    if first == last or 0 in images.shape:
        raise AugcompressError(
            f"{where}: shape {images.shape}; use (N,H,W), (N,H,W,C) or (N,C,H,W) with C 1 or 3"
        )
    return images if first else images.transpose(0, 3, 1, 2)


def _as_labels(labels: np.ndarray, where: str) -> np.ndarray:
    is_one_each = labels.ndim > 0 and labels.size == len(labels)
    if labels.dtype.kind not in "iu" or not is_one_each or labels.min(initial=0) < 0:
        raise AugcompressError(
            f"{where}: {labels.dtype} of shape {labels.shape}; use one integer from 0 per image"
        )
    return labels.reshape(-1).astype(np.int64)
