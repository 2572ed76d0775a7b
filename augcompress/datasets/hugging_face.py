"""Image data sets in the formats of Hugging Face datasets, from a local folder."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from augcompress.component import FilePath, NotInKey
from augcompress.datasets.columns import Columns, Encoded, opened_library
from augcompress.datasets.data import Source
from augcompress.datasets.hashing import digest_of, file_hashes
from augcompress.datasets.left_out import endings_of, endings_text
from augcompress.datasets.parts import PARTS, naming_notes, parts_named
from augcompress.datasets.resizing import ResizedImages, draw_test
from augcompress.datasets.splits import FileSplit, unreadable
from augcompress.errors import AugcompressError, first_line
from augcompress.inference import files_below, image_endings
from augcompress.storage import cache_folder

SAVED = ("dataset_dict.json", "state.json")
"""What `save_to_disk` leaves: several splits, or one."""
DESCRIBING = ("metadata.csv", "metadata.jsonl", *SAVED, "dataset_info.json")
"""Files that say something of the images."""


class HuggingFace(ResizedImages):
    """A local folder as Hugging Face datasets reads it (https://huggingface.co/docs/datasets):
    parquet files, class folders, or what `save_to_disk` wrote; extra `hugging-face`.

    Nothing is fetched and no code of the data set is run.  A parquet file's split is what its name
    begins with (`train-00000-of-00002.parquet`), or its folder where the name is a number.  Images
    are prepared as `image_folder` does; parquet is unpacked once, into the cache folder.
    """

    kind: Literal["hugging_face"] = "hugging_face"
    path: Annotated[FilePath, NotInKey()]
    """The folder."""
    train: str = "train"
    """Name of the split to train on."""
    test: str | None = None
    """Name of the split to test on; None: what is called `test` or `eval`, else `validation`, `val`
    or `dev`; or a share of `train` where that is the only split.  A split of the last three names
    that is not tested on is the validation part."""
    image: str | None = None
    """Column with the images; None: the only one that may be."""
    label: str | None = None
    """Column with the classes; None: the only class label, or else `label`."""
    test_share: float = Field(0.2, gt=0, lt=1)
    """Share of the images that is the test part where `train` is the only split; the same images
    for every seed."""

    def read(self) -> Source:
        """Raises AugcompressError when the library is not installed, or finds no labelled images
        and no splits of these names."""
        found = self._load()
        named = self._named(list(found))
        splits = {part: found[name] for part, name in named.items()}
        columns = Columns.of(splits["train"].features, self.image, self.label)
        classes = columns.classes([*splits.values()])
        skipped: list[str] = []
        read = {
            part: self._part(split, named[part], columns, classes, skipped)
            for part, split in splits.items()
        }
        if "test" not in read and "validation" not in read:
            whole = read["train"]
            held_out, rest = draw_test(whole.labels, self.test_share, "data.test_share")
            read |= {"train": whole.take(rest), "test": whole.take(held_out)}
        return Source(
            classes=classes,
            train=read["train"],
            test=read.get("test", read["train"].take(np.arange(0))),
            resizing=self.resizing(),
            skipped=skipped,
            validation=read.get("validation"),
            notes=[*naming_notes(named, found), *self._left_out(found)],
        )

    def fingerprint(self) -> str:
        files = [file for file in data_files(Path(self.path)) if _is_data(file)]
        names = [file.relative_to(self.path).as_posix() for file in files]
        return digest_of(zip(names, file_hashes(files), strict=True))

    def _load(self) -> dict[str, Any]:
        """The library's data sets by split."""
        files = data_files(Path(self.path))
        library = opened_library()
        base = cache_folder() or Path(tempfile.gettempdir()) / "augcompress"
        cache = str(base / "hugging-face" / self.fingerprint()[:32])
        with _alone(library):
            try:
                return _loaded(library, Path(self.path), files, self._named, cache)
            except AugcompressError:
                raise
            except Exception as error:  # files may break any of the library's readers
                raise AugcompressError(
                    f"data.path: {self.path}: cannot be read by datasets ({first_line(error)});"
                    " write it again"
                ) from error

    def _left_out(self, found: dict[str, Any]) -> list[str]:
        """Says so where the library took not all files of class folders for images."""
        files = data_files(Path(self.path))
        if any(file.suffix == ".parquet" or file.name in DESCRIBING for file in files):
            return []
        read = sum(map(len, found.values()))
        told = endings_text(endings_of(file.name for file in files))
        return [] if read == len(files) else [f"data: {read} of {len(files)} files read: {told}"]

    def _named(self, splits: Sequence[str]) -> dict[str, str]:
        """Which split plays which part: those named in the settings, else as their names read."""
        others = [name for name in splits if name not in (self.train, self.test)]
        read = parts_named(others, f"data.path: {self.path}")
        if self.train in splits or "train" not in read:
            read["train"] = self.train
        if self.test is not None:
            read["test"] = self.test
        named = {part: read[part] for part in PARTS if part in read}
        missing = [name for name in named.values() if name not in splits]
        if len(splits) > 1 and not {"test", "validation"} & {*named}:
            missing.append("test")
        if missing:
            raise AugcompressError(
                f"data.path: {self.path} has the splits {', '.join(splits)} and no {missing[0]};"
                " name them in data.train and data.test"
            )
        return named

    def _part(
        self, data: Any, name: str, columns: Columns, classes: list[str], skipped: list[str]
    ) -> FileSplit:
        """A split; unreadable images are left out and named in `skipped`, where so asked."""
        rows = Encoded(data, columns.image, f"{self.path}: {name}")
        labels, hashes, kept = columns.labels(data, classes), rows.hashes(), np.arange(len(rows))
        if self.corrupt == "skip":
            bad = unreadable(rows, hashes, self.resizing())
            skipped += [f"{name} row {row}" for row in np.flatnonzero(bad)]
            kept = np.flatnonzero(~bad)
        if not self.fits_into_memory(len(kept)):
            return FileSplit(rows, labels, kept, hashes, self.resizing())
        found, hashes, labels = rows.take(kept), hashes.take(kept), labels[kept]
        index = np.arange(len(kept))
        return FileSplit(found, labels, index, hashes, self.resizing(), in_memory=True)


def data_files(folder: Path) -> list[Path]:
    """All files in a folder and below, but hidden ones, in a fixed order.

    Raises AugcompressError when there is no such folder, or a link in it leads back.
    """
    if not folder.is_dir():
        raise AugcompressError(f"data.path: {folder}: no such folder; check the path")
    found = files_below(folder, "data.path")
    if endless := found.not_followed + found.irregular:
        raise AugcompressError(
            f"data.path: {folder}/{endless[0]}: a link that leads back, or no regular file; remove"
            " it"
        )
    return sorted(folder / name for name in found.names)


def _is_data(file: Path) -> bool:
    suffix = file.suffix.lower()
    return suffix in (".parquet", ".arrow", *image_endings()) or file.name in DESCRIBING


def _loaded(
    library: Any,
    folder: Path,
    files: list[Path],
    named: Callable[[Sequence[str]], dict[str, str]],
    cache: str,
) -> dict[str, Any]:
    """Data sets by split; None for parquet splits that are not wanted."""
    if any((folder / name).is_file() for name in SAVED):
        found = library.load_from_disk(str(folder))
        return dict(found) if isinstance(found, dict) else {"train": found}
    if tables := [file for file in files if file.suffix == ".parquet"]:

        def table(parts: list[str]) -> Any:  # alone, so that it keeps its own features
            return library.load_dataset("parquet", data_files=parts, split="train", cache_dir=cache)

        parts = by_split(tables)
        wanted = {*named(list(parts)).values()}
        return {name: table(parts[name]) if name in wanted else None for name in parts}
    if any(file.suffix.lower() in image_endings() for file in files):
        return dict(library.load_dataset("imagefolder", data_dir=str(folder), cache_dir=cache))
    raise AugcompressError(
        f"data.path: {folder} holds no parquet files and no images; give the folder of a data set"
    )


def by_split(tables: Sequence[Path]) -> dict[str, list[str]]:
    """Parquet files by the split that their name begins with, else by their folder's name."""
    found: dict[str, list[str]] = {}
    for file in tables:
        head = re.split(r"[-.]", file.stem)[0]
        found.setdefault(file.parent.name if head.isdecimal() else head, []).append(str(file))
    return found


@contextlib.contextmanager
def _alone(library: Any) -> Iterator[None]:
    """The library without network, progress bars and log lines."""
    config, log = library.config, library.logging
    switches: dict[str, Any] = {"HF_HUB_OFFLINE": True, "HF_UPDATE_DOWNLOAD_COUNTS": False}
    before = {name: getattr(config, name, None) for name in switches}
    level, silent = log.get_verbosity(), library.are_progress_bars_disabled()
    log.set_verbosity(log.CRITICAL)
    library.disable_progress_bars()
    for name, value in switches.items():
        setattr(config, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)
        log.set_verbosity(level)
        if not silent:
            library.enable_progress_bars()
