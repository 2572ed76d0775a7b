"""A user's own images: a folder per class, or a table of paths and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from augcompress.component import FilePath, NotInKey
from augcompress.datasets.data import Source
from augcompress.datasets.folders import list_folder
from augcompress.datasets.hashing import digest_of, file_hashes
from augcompress.datasets.listing import Listing
from augcompress.datasets.manifests import list_manifest
from augcompress.datasets.parts import PARTS
from augcompress.datasets.resizing import ResizedImages, draw_test
from augcompress.datasets.splits import FileSplit, unreadable


class ImageFolder(ResizedImages):
    """Image files in one folder per class, or listed in a manifest.

    Evaluation preprocessing: resize, then centre crop; an image that has the size is not resampled.
    Palette, transparent (over white), 16-bit and CMYK images are converted; EXIF orientation is
    applied.
    """

    kind: Literal["image_folder"] = "image_folder"
    root: Annotated[FilePath | None, NotInKey()] = None
    """Folder with `train/<class>/`, `test/<class>/` and `validation/<class>/`, or one of the last
    two; or with `<class>/` folders."""
    manifest: Annotated[FilePath | None, NotInKey()] = None
    """CSV or Parquet table with columns `path,label[,split]`; paths start at its folder, split is
    `train`, `test` or `validation`, or what else these are called."""
    test: float = Field(0.2, gt=0, lt=1)
    """Share of the images that is the test part where the source does not divide them; the same
    images for every seed."""

    @model_validator(mode="after")
    def _one_of_root_and_manifest(self) -> ImageFolder:
        if (self.root is None) == (self.manifest is None):
            raise ValueError(
                f"{'neither' if self.root is None else 'both'} of root and manifest given; give one"
            )
        return self

    def read(self) -> Source:
        listing, skipped = self._list(), list[str]()
        if self.corrupt == "skip":
            files = listing.files()
            bad = unreadable(files, file_hashes(files), self.resizing())
            skipped = listing.take(np.flatnonzero(bad)).names[:]
            listing = listing.take(np.flatnonzero(~bad))
        in_memory = self.fits_into_memory(len(listing))
        whole = FileSplit.whole(
            listing.files(), listing.labels, self.resizing(), in_memory=in_memory
        )
        train, test, validation = self._parts(listing)
        return Source(
            classes=listing.classes,
            train=whole.take(train),
            test=whole.take(test),
            validation=whole.take(validation) if len(validation) else None,
            resizing=self.resizing(),
            skipped=skipped,
            notes=listing.notes,
        )

    def fingerprint(self) -> str:
        listing = self._list()
        labels = (listing.classes[number] for number in listing.labels)
        parts = (("", *PARTS)[place + 1] for place in listing.parts)
        hashes = file_hashes(listing.files())
        return digest_of(zip(listing.names, labels, parts, hashes, strict=True))

    def _list(self) -> Listing:
        if self.manifest is not None:
            return list_manifest(Path(self.manifest))
        return list_folder(Path(str(self.root)))

    def _parts(self, listing: Listing) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places of the train, test and validation images, the last of which may be none."""
        if (listing.parts >= 0).any():
            train, test, validation = (listing.members(part) for part in PARTS)
            return train, test, validation
        test, train = draw_test(listing.labels, self.test, "data.test")
        return train, test, np.arange(0)


class PreparedFolder(ImageFolder):
    """A folder of images that are resized as a file says that was trained elsewhere."""

    given: dict[str, Any]
    """The evaluation preprocessing, for `load_image`."""

    def resizing(self) -> dict[str, Any]:
        return dict(self.given)
