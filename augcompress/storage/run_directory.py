"""A run's own folder: the recipe, and each stage's files, linked from the store."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from augcompress.errors import AugcompressError
from augcompress.storage.files import (
    RECORD_FILE,
    STORE_FOLDER,
    digest_json,
    files_of,
    is_disk_full,
    link_or_copy,
    make_folder,
    remove_path,
    storage_errors,
    swap,
    write_aside,
)
from augcompress.storage.store import Store, StoreEntry


class RunDir:
    """A run's own folder: the recipe, and each stage's files as plain files."""

    def __init__(self, path: str | Path, store_root: str | Path | None = None) -> None:
        self.path = Path(path)
        self.store = Store(store_root or self.path.absolute().parent / STORE_FOLDER)

    def stage(self, name: str) -> Path:
        """The stage's folder in this run, be it there or not."""
        return self.path / name

    def check_free(self, stage: str) -> None:
        """Raises AugcompressError when the stage's folder holds what no stage has written: better
        before the work than after it."""
        _refuse_foreign(self.stage(stage))

    def link(self, entry: StoreEntry, stage: str) -> Path:
        """Make the stage's folder hold exactly the entry's files: hard links, else copies.

        Raises AugcompressError when the folder holds something that no stage has written.
        """
        folder = self.stage(stage)
        name = f"run-{digest_json(str(self.path.resolve()))[:16]}"
        busy = f"{self.path}: another process is writing this run; use another --run-dir"
        with self.store.lock(name, busy=busy, wait_s=30.0), storage_errors(self.path):
            _refuse_foreign(folder)
            if not _same_files(entry.path, folder):
                make_folder(self.path)
                self._sweep()
                self._link(entry, folder)
        return folder

    def write_text(self, name: str, text: str) -> Path:
        """Write one of the run's own files (recipe.yaml, spec.json, report.html), all or nothing.

        Raises AugcompressError when the disk is full or not writable.
        """
        path = self.path / name
        with storage_errors(self.path), write_aside(path) as aside:
            aside.write_text(text, encoding="utf-8")
        return path

    def remove_stale(self, stages: Iterable[str]) -> None:
        """Remove the folders of `stages`, which no longer belong to this run.

        A folder that no stage has written is left alone.
        """
        with storage_errors(self.path):
            for stage in stages:
                if (self.stage(stage) / RECORD_FILE).is_file():
                    remove_path(self.stage(stage))

    def _link(self, entry: StoreEntry, folder: Path) -> None:
        aside = self.path / f".new-{folder.name}"
        try:
            shutil.copytree(entry.path, aside, copy_function=link_or_copy)
        except OSError as error:
            remove_path(aside)
            if is_disk_full(error):
                raise
            raise AugcompressError(
                f"{entry.path}: was removed, or cannot be linked to {folder}; run the command again"
            ) from error
        swap(aside, folder)

    def _sweep(self) -> None:
        """Remove what a killed `link` has left."""
        for pattern in (".new-*", ".old-*"):
            for path in self.path.glob(pattern):
                remove_path(path)


def _same_files(left: Path, right: Path) -> bool:
    """Whether two folders hold the same files: hard links of each other."""
    ours, theirs = files_of(left), files_of(right)
    same_names = bool(ours) and ours.keys() == theirs.keys()
    return same_names and all(ours[name].samefile(theirs[name]) for name in ours)


def _refuse_foreign(folder: Path) -> None:
    if not folder.exists() or (folder / RECORD_FILE).is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise AugcompressError(
            f"{folder}: holds files that augcompress did not write; "
            "move them away or use another --run-dir"
        )
