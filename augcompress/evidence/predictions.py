"""What a model answered, image by image; and arrays on disk, without pickle and time stamps."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from augcompress.errors import AugcompressError
from augcompress.untrusted import load_npz

PREDICTIONS_FILE = "predictions.npz"


@dataclass(frozen=True)
class Predictions:
    """A model's class probabilities for samples of known label, in the order of `index`."""

    probabilities: np.ndarray
    """(samples, classes) float32, rows sum to 1."""
    labels: np.ndarray
    """(samples,) int64, the true class."""
    index: np.ndarray
    """(samples,) int64, the samples' positions in the data set."""
    classes: tuple[str, ...] = ()
    """Names of the columns; empty: not known."""
    split: str = ""
    """train, validation or test; empty: not known."""
    data: str = ""
    """Digest of the data set's content; empty: not known."""

    def __post_init__(self) -> None:
        kinds = {"probabilities": np.float32, "labels": np.int64, "index": np.int64}
        for name, kind in kinds.items():
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=kind))
        samples = len(self.probabilities)
        if self.probabilities.ndim != 2 or {self.labels.shape, self.index.shape} != {(samples,)}:
            raise ValueError(
                "predictions need (samples, classes), (samples,), (samples,), not "
                f"{self.probabilities.shape}, {self.labels.shape}, {self.index.shape}"
            )
        if self.classes and len(self.classes) != self.probabilities.shape[1]:
            raise ValueError(
                f"predictions of {self.probabilities.shape[1]} classes have {len(self.classes)}"
                " class names"
            )

    @property
    def chosen(self) -> np.ndarray:
        """(samples,) the most probable class of each sample."""
        return self.probabilities.argmax(axis=1)

    @property
    def right(self) -> np.ndarray:
        """(samples,) booleans: is the most probable class the true one?"""
        return self.chosen == self.labels

    def save(self, path: str | Path) -> None:
        """Write an .npz without pickle or time stamp: equal predictions are equal bytes."""
        arrays = {name: getattr(self, name) for name in ("probabilities", "labels", "index")}
        told = {name: np.array(getattr(self, name), "U") for name in ("classes", "split", "data")}
        save_arrays(path, arrays | told)

    @classmethod
    def load(cls, path: str | Path) -> Predictions:
        """Read what `save` wrote.

        Raises AugcompressError when the file is missing, damaged or holds something else.
        """
        arrays = load_arrays(path, "predictions")
        try:
            return cls(
                arrays["probabilities"],
                arrays["labels"],
                arrays["index"],
                classes=tuple(map(str, arrays.get("classes", ()))),
                split=str(arrays.get("split", "")),
                data=str(arrays.get("data", "")),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise AugcompressError(
                f"{path}: is no predictions file ({error}); repeat the stage with --force"
            ) from error


def save_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an .npz without pickle or time stamp: equal arrays are equal bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3  # the same bytes on every system
            with archive.open(member, "w", force_zip64=True) as file:
                _write_array(file, array)


def load_arrays(path: str | Path, what: str) -> dict[str, np.ndarray]:
    """Read an .npz of `what` (predictions, …); what needs pickle is refused.

    Raises AugcompressError when the file is missing or damaged.
    """
    try:
        return load_npz(path)
    except FileNotFoundError as error:
        raise AugcompressError(
            f"{path}: there is no such file; run the stage that writes it"
        ) from error
    except (OSError, ValueError) as error:
        raise AugcompressError(
            f"{path}: is no {what} file ({error}); repeat the stage with --force"
        ) from error


def _write_array(file: IO[bytes], array: np.ndarray) -> None:
    np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)


def over_classes(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`rows` in an order of which every beginning has their classes in about the proportion that
    all of them have; within a class their order stays.  `labels` are the rows' classes, (rows,)."""
    places = np.empty(len(rows))
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        places[own] = (np.arange(len(own)) + 0.5) / len(own)
    return rows[np.argsort(places, kind="stable")]
