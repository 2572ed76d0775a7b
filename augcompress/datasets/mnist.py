"""MNIST and its drop-in relatives, read from their IDX files, zipped or not."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch

from augcompress.component import FilePath, NotInKey
from augcompress.datasets.base import DatasetSettings
from augcompress.datasets.data import Source
from augcompress.datasets.hashing import digest_of, file_hashes
from augcompress.datasets.splits import MemorySplit
from augcompress.errors import AugcompressError
from augcompress.inference import direct
from augcompress.untrusted import check_unfolded, require_regular

PARTS = {"train": "train", "test": "t10k"}


class IdxSettings(DatasetSettings):
    """A data set in MNIST's format."""

    folder: ClassVar[str]
    """Named like torchvision's class, which can download."""
    class_names: ClassVar[list[str]]

    root: FilePath
    """The folder that holds `<NAME>/raw/train-images-idx3-ubyte` (or `.gz`) and so on, as
    torchvision lays them out."""
    download: Annotated[bool, NotInKey()] = False
    """Download missing files into `root`."""

    def read(self) -> Source:
        self._fetch_missing()
        return Source(
            classes=list(self.class_names),
            train=self._part("train"),
            test=self._part("test"),
            resizing=direct((28, 28), "L"),
        )

    def fingerprint(self) -> str:
        self._fetch_missing()
        names = [name for part in PARTS for name in _names(part)]
        hashes = file_hashes([self._file(name) for name in names])
        return digest_of(zip(names, hashes, strict=True))

    def _part(self, part: str) -> MemorySplit:
        images, labels = (read_idx(self._file(name)) for name in _names(part))
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
            raise AugcompressError(
                f"data.root: {self._folder()}: {part} images {images.shape} and labels"
                f" {labels.shape} do not belong together; download them again"
            )
        if labels.max(initial=0) >= len(self.class_names):
            raise AugcompressError(
                f"data.root: {self._folder()}: {part} has a label {labels.max()} of"
                f" {len(self.class_names)} classes; download it again"
            )
        return MemorySplit.whole(torch.from_numpy(images[:, None]), labels)

    def _folder(self) -> Path:
        return Path(self.root) / self.folder / "raw"

    def _file(self, name: str) -> Path:
        for candidate in (self._folder() / name, self._folder() / f"{name}.gz"):
            if candidate.is_file():
                return candidate
        raise AugcompressError(
            f"data.root: no {name}(.gz) in {self._folder()}; set data.download: true, or data.root"
            f" to the folder that holds {self.folder}/raw"
        )

    def _fetch_missing(self) -> None:
        if not self.download:
            return
        try:
            for part in PARTS:
                for name in _names(part):
                    self._file(name)
        except AugcompressError:
            self._download()

    def _download(self) -> None:
        from torchvision import datasets

        try:
            getattr(datasets, self.folder)(self.root, download=True)
        except (OSError, RuntimeError) as error:
            raise AugcompressError(
                f"data.download: {self.folder}: {error}; check the network, or put the"
                f" files into {self._folder()}"
            ) from error


class Mnist(IdxSettings):
    """Handwritten digits, 28×28 grey, 60,000 + 10,000 (LeCun et al. 1998)."""

    folder: ClassVar[str] = "MNIST"
    class_names: ClassVar[list[str]] = [str(digit) for digit in range(10)]
    kind: Literal["mnist"] = "mnist"


class FashionMnist(IdxSettings):
    """Articles of clothing, 28×28 grey, 60,000 + 10,000 (Xiao et al. 2017, arXiv:1708.07747)."""

    folder: ClassVar[str] = "FashionMNIST"
    class_names: ClassVar[list[str]] = [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
        "Ankle boot",
    ]  # fmt: skip
    kind: Literal["fashion_mnist"] = "fashion_mnist"


class Kmnist(IdxSettings):
    """Cursive Japanese, 28×28 grey, 60,000 + 10,000 (Clanuwat et al. 2018, arXiv:1812.01718)."""

    folder: ClassVar[str] = "KMNIST"
    class_names: ClassVar[list[str]] = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]
    kind: Literal["kmnist"] = "kmnist"


def _names(part: str) -> tuple[str, str]:
    return f"{PARTS[part]}-images-idx3-ubyte", f"{PARTS[part]}-labels-idx1-ubyte"


def read_idx(file: Path) -> np.ndarray:
    """The uint8 array of an IDX file, unzipped in memory where it ends in `.gz`.

    Raises AugcompressError when the file is damaged or of another format.
    """
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(require_regular(file), "rb") as stream:
            shape = _idx_shape(stream.read)
            size = math.prod(shape)
            check_unfolded(size, file.stat().st_size)
            content = bytearray(stream.read(size + 1))
    except ValueError as error:
        raise AugcompressError(f"{file}: {error}; download it again") from error
    except (OSError, EOFError, zlib.error) as error:
        raise AugcompressError(f"{file}: cannot be read ({error}); download it again") from error
    if len(content) != size:
        raise AugcompressError(f"{file}: cut short or damaged; download it again")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _idx_shape(read: Callable[[int], bytes]) -> list[int]:
    head = read(4)
    if len(head) < 4 or head[:3] != b"\x00\x00\x08" or head[3] not in (1, 2, 3):
        raise ValueError("not an IDX file of bytes")
    sides = read(4 * head[3])
    if len(sides) < 4 * head[3]:
        raise ValueError("cut short or damaged")
    return [int.from_bytes(sides[at : at + 4], "big") for at in range(0, len(sides), 4)]
