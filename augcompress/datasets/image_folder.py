"""A user's own images: a folder per class, or a table of paths and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from augcompress.component import FilePath, NotInKey
from augcompress.datasets.base import DatasetSettings
from augcompress.datasets.cache import remembered
from augcompress.datasets.data import Source
from augcompress.datasets.drawing import FIXED_SEED, stratified
from augcompress.datasets.hashing import digest_of, file_hashes
from augcompress.datasets.images import direct, load_image, scaled_from
from augcompress.datasets.listing import PARTS, Listing, list_folder, list_manifest
from augcompress.datasets.splits import FileSplit, MemorySplit, Split, content_key, decode
from augcompress.datasets.threads import in_threads
from augcompress.errors import AugcompressError

CROPPED_FROM = 96
"""Images of this side or more are resized by 256/224 and centre-cropped, as is the custom for
ImageNet; smaller ones are resized directly."""


class ImageFolder(DatasetSettings):
    """Image files in one folder per class, or listed in a manifest.

    Evaluation preprocessing: resize, then centre crop; an image that has the size is not resampled.
    Palette, transparent (over white), 16-bit and CMYK images are converted; EXIF orientation is
    applied.
    """

    kind: Literal["image_folder"] = "image_folder"
    root: Annotated[FilePath | None, NotInKey()] = None
    """Folder with `train/<class>/` and `test/<class>/`, perhaps `validation/<class>/` too, or with
    `<class>/` folders."""
    manifest: Annotated[FilePath | None, NotInKey()] = None
    """CSV or Parquet table with columns `path,label[,split]`; paths start at its folder, split is
    `train`, `test` or `validation`."""
    test: float = Field(0.2, gt=0, lt=1)
    """Share of the images that is the test part where the source does not divide them; the same
    images for every seed."""
    size: PositiveInt | tuple[PositiveInt, PositiveInt]
    """Side, or (height, width), of the images that networks see, in pixels."""
    resize: PositiveInt | None = None
    """Shorter side before the centre crop, in pixels.  None: size · 256/224 from 96 pixels on;
    below that, images are resized to the size directly."""
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    """How images are resampled."""
    mode: Literal["RGB", "L"] = "RGB"
    """Colour (3 channels) or grey (1 channel)."""
    decoding: Literal["auto", "full"] = "auto"
    """`auto`: a JPEG file is decoded at 1/2, 1/4 or 1/8 of its size where that is still at least
    twice the size it is resized to: several times as fast on photographs of a camera, and about a
    grey level different.  `full`: every pixel.  Networks see at work what they saw in training
    either way: `predict` and `predict.py` do the same."""
    corrupt: Literal["error", "skip"] = "error"
    """What to do about a file that cannot be decoded: stop and name it, or leave it out and count
    it."""
    in_memory_mb: Annotated[int, NotInKey()] = Field(1024, ge=0)
    """Sets smaller than this when decoded are held in memory; larger ones are decoded anew in each
    epoch.  In MiB."""

    @model_validator(mode="after")
    def _one_of_root_and_manifest(self) -> ImageFolder:
        if (self.root is None) == (self.manifest is None):
            raise ValueError("give either root or manifest")
        return self

    @model_validator(mode="after")
    def _crop_fits_into_resize(self) -> ImageFolder:
        if self.resize is not None and self.resize < max(self._size()):
            raise ValueError(f"resize must be at least the size, {max(self._size())}")
        return self

    def resizing(self) -> dict[str, Any]:
        """The evaluation preprocessing, for `images.load_image`."""
        size, side = self._size(), self.resize
        resizing = direct(size, self.mode, self.interpolation)
        if side is not None or max(size) >= CROPPED_FROM:
            side = side or round(max(size) * 256 / 224)
            resizing |= {"resize": side, "crop": list(size)}
        least = scaled_from(resizing) if self.decoding == "auto" else None
        return resizing | ({} if least is None else {"scaled_decoding": least})

    def read(self) -> Source:
        listing, skipped = self._list(), list[str]()
        if self.corrupt == "skip":
            bad = self._corrupt(listing)
            skipped = listing.take(np.flatnonzero(bad)).names[:]
            listing = listing.take(np.flatnonzero(~bad))
        whole = self._load(listing)
        train, test, validation = self._parts(listing)
        return Source(
            classes=listing.classes,
            train=whole.take(train),
            test=whole.take(test),
            validation=whole.take(validation) if len(validation) else None,
            resizing=self.resizing(),
            skipped=skipped,
        )

    def fingerprint(self) -> str:
        listing = self._list()
        labels = (listing.classes[number] for number in listing.labels)
        parts = (("", *PARTS)[place + 1] for place in listing.parts)
        hashes = file_hashes(listing.files())
        return digest_of(zip(listing.names, labels, parts, hashes, strict=True))

    def _size(self) -> tuple[int, int]:
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def _list(self) -> Listing:
        if self.manifest is not None:
            return list_manifest(Path(self.manifest))
        return list_folder(Path(str(self.root)))

    def _corrupt(self, listing: Listing) -> np.ndarray:
        """`(N,)` bool: which files cannot be decoded."""
        files, hashes = listing.files(), file_hashes(listing.files())
        key = content_key(hashes, self.resizing())

        def unreadable() -> list[str]:
            return sorted({hashes[place] for place in _unreadable(files, self.resizing())})

        bad = set(remembered("corrupt-content", key, unreadable))
        return np.fromiter((each in bad for each in hashes), dtype=bool, count=len(listing))

    def _load(self, listing: Listing) -> Split:
        files, labels, resizing = listing.files(), listing.labels, self.resizing()
        height, width = self._size()
        channels = 1 if self.mode == "L" else 3
        if len(files) * height * width * channels < self.in_memory_mb << 20:
            return replace(MemorySplit.whole(decode(files, resizing), labels), files=files)
        return FileSplit(files, labels, np.arange(len(files)), file_hashes(files), resizing)

    def _parts(self, listing: Listing) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places of the train, test and validation images, the last of which may be none."""
        if (listing.parts >= 0).any():
            train, test, validation = (listing.members(part) for part in PARTS)
            return train, test, validation
        labels = listing.labels
        test, train = stratified(labels, round(self.test * len(labels)), FIXED_SEED)
        if not len(test):
            raise AugcompressError(
                f"data.test: {self.test} of {len(labels)} images leaves none to test; add images"
            )
        return train, test, np.arange(0)


def _unreadable(files: Sequence[Path], resizing: dict[str, Any]) -> list[int]:
    def readable(file: Path) -> bool:
        try:
            load_image(file, resizing)
        except AugcompressError:
            return False
        return True

    return [place for place, fine in enumerate(in_threads(readable, files)) if not fine]
