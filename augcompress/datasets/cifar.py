"""CIFAR-10 and CIFAR-100, through torchvision, which checks the files' checksums."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch

from augcompress.component import FilePath, NotInKey
from augcompress.datasets.base import DatasetSettings
from augcompress.datasets.data import Source
from augcompress.datasets.hashing import digest_of, file_hashes
from augcompress.datasets.splits import MemorySplit
from augcompress.errors import AugcompressError
from augcompress.inference import direct


class CifarSettings(DatasetSettings):
    """A data set in CIFAR's format."""

    origin: ClassVar[str]
    """torchvision's class."""
    folder: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    """As torchvision lays them out."""

    root: FilePath
    """The folder that holds `cifar-10-batches-py` or `cifar-100-python`."""
    download: Annotated[bool, NotInKey()] = False
    """Download missing files into `root`."""

    def read(self) -> Source:
        train, test = self._part(train=True), self._part(train=False)
        return Source(
            classes=list(train.classes),
            train=_in_memory(train),
            test=_in_memory(test),
            resizing=direct((32, 32), "RGB"),
        )

    def fingerprint(self) -> str:
        if self.download and not all((self._folder() / name).is_file() for name in self.files):
            self._part(train=True)
        self._check_present()
        hashes = file_hashes([self._folder() / name for name in self.files])
        return digest_of(zip(self.files, hashes, strict=True))

    def _part(self, *, train: bool) -> Any:
        from torchvision import datasets

        if not self.download:
            self._check_present()
        try:
            read = getattr(datasets, self.origin)
            return read(self.root, train=train, download=self.download)
        except OSError as error:
            raise AugcompressError(f"data.download: {error}; check the network") from error
        except RuntimeError as error:
            raise AugcompressError(
                f"data.root: {self._folder()}: a file's checksum is wrong, or its download failed;"
                " delete the folder and set data.download: true"
            ) from error

    def _folder(self) -> Path:
        return Path(self.root) / self.folder

    def _check_present(self) -> None:
        missing = [name for name in self.files if not (self._folder() / name).is_file()]
        if missing:
            raise AugcompressError(
                f"data.root: no {missing[0]} in {self._folder()}; set data.download: true, or"
                f" data.root to the folder that holds {self.folder}"
            )


class Cifar10(CifarSettings):
    """Photographs in 10 classes, 32×32 colour, 50,000 + 10,000 (Krizhevsky 2009)."""

    origin: ClassVar[str] = "CIFAR10"
    folder: ClassVar[str] = "cifar-10-batches-py"
    files: ClassVar[tuple[str, ...]] = (
        *(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta",
    )  # fmt: skip
    kind: Literal["cifar10"] = "cifar10"


class Cifar100(CifarSettings):
    """Photographs in 100 classes, 32×32 colour, 50,000 + 10,000 (Krizhevsky 2009)."""

    origin: ClassVar[str] = "CIFAR100"
    folder: ClassVar[str] = "cifar-100-python"
    files: ClassVar[tuple[str, ...]] = ("train", "test", "meta")
    kind: Literal["cifar100"] = "cifar100"


def _in_memory(part: Any) -> MemorySplit:
    images = torch.from_numpy(part.data).permute(0, 3, 1, 2)
    return MemorySplit.whole(images, np.asarray(part.targets))
