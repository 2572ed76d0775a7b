"""A run's own folder: the recipe, and each stage's files, linked from the store."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from augcompress.errors import AugcompressError
from augcompress.evidence import ORDER
from augcompress.storage.digests import digest_file, digest_json, digests_of
from augcompress.storage.files import (
    RECORD_FILE,
    STORE_FOLDER,
    files_of,
    is_disk_full,
    link_or_copy,
    make_folder,
    remove_files,
    remove_path,
    storage_errors,
    swap,
    write_aside,
)
from augcompress.storage.stage_record import changed_files, strangers, unchanged_files
from augcompress.storage.store import Store, StoreEntry
from augcompress.untrusted import load_json

RECIPE_FILE, SPEC_FILE = "recipe.yaml", "spec.json"
PENDING_FILE = "pending.json"
"""Names the stages that a command has set out to do and has not done yet."""
CHANGED_FOLDER = "changed"
"""Where a run keeps what became of a stage's files that somebody has changed."""


class RunDir:
    """A run's own folder: the recipe, and each stage's files as plain files."""

    def __init__(self, path: str | Path, store_root: str | Path | None = None) -> None:
        self.path = Path(path)
        self.store = Store(store_root or self.path.absolute().parent / STORE_FOLDER)

    def stage(self, name: str) -> Path:
        """The stage's folder in this run, be it there or not."""
        return self.path / name

    def check_free(self, stages: Iterable[str]) -> None:
        """Raises AugcompressError when the folders of `stages` hold what no stage has written, and
        what would go with them: better before the work than after it."""
        for stage in stages:
            _refuse_strangers(self.stage(stage))

    def link(self, entry: StoreEntry, stage: str) -> list[str]:
        """Make the stage's folder hold the entry's files: hard links, else copies.  Returns what
        had to be said of files that had been changed, in sentences.

        Raises AugcompressError when it would replace something that no stage has written.
        """
        folder = self.stage(stage)
        name = f"run-{digest_json(str(self.path.resolve()))[:16]}"
        busy = f"{self.path}: another process is writing this run; use another --run-dir"
        with self.store.lock(name, busy=busy, wait_s=30.0), storage_errors(self.path):
            self._sweep()
            if _holds(folder, entry):
                return []
            _refuse_strangers(folder)
            make_folder(self.path)
            kept = self._keep_changed(stage)
            self._link(entry, folder)
        return kept

    def check_recipe(self, text: str) -> None:
        """Raises AugcompressError when another recipe than `text` stands in a folder that is no
        run, and would be overwritten."""
        recipe, is_run = self.path / RECIPE_FILE, (self.path / SPEC_FILE).is_file()
        if recipe.exists() and not is_run and recipe.read_bytes() != text.encode():
            raise AugcompressError(
                f"{recipe}: is there already, in a folder that is no run; use another --run-dir"
            )

    def write_text(self, name: str, text: str) -> Path:
        """Write one of the run's own files (recipe.yaml, spec.json, report.html), all or nothing.

        Raises AugcompressError when the disk is full or not writable.
        """
        path = self.path / name
        with storage_errors(self.path), write_aside(path) as aside:
            aside.write_text(text, encoding="utf-8")
        return path

    def add_pending(self, stages: Iterable[str]) -> None:
        """What stands in the folders of `stages` is not this recipe's until each is carried out."""
        if wanted := {*pending_stages(self.path), *stages}:
            self._write_pending(wanted)

    def remove_pending(self, stage: str) -> None:
        """What stands in the folder of `stage` is this recipe's now."""
        if stage in (pending := set(pending_stages(self.path))):
            self._write_pending(pending - {stage})

    def _write_pending(self, stages: set[str]) -> None:
        if stages:
            self.write_text(PENDING_FILE, json.dumps(sorted(stages)) + "\n")
            return
        with storage_errors(self.path):
            (self.path / PENDING_FILE).unlink(missing_ok=True)

    def remove_stale(self, stages: Iterable[str]) -> list[str]:
        """Remove the files of `stages`, which no longer belong to this run.  Returns what had to
        be said of files that had been changed, in sentences.

        A folder that no stage has written is left alone.  Raises AugcompressError when one holds
        something else beside a stage's files.
        """
        known = [stage for stage in stages if (self.stage(stage) / RECORD_FILE).is_file()]
        self.check_free(known)
        with storage_errors(self.path):
            kept = [line for stage in known for line in self._keep_changed(stage)]
            for folder in map(self.stage, known):
                remove_files(unchanged_files(folder), folder)
        return kept

    def _keep_changed(self, stage: str) -> list[str]:
        """Move files that somebody has changed out of the stage's folder; a sentence for each."""
        folder, kept = self.stage(stage), list[str]()
        for name in changed_files(folder):
            place = self.path / CHANGED_FOLDER / stage / name
            place = place.with_name(f"{digest_file(folder / name)[:8]}-{place.name}")
            make_folder(place.parent)
            os.replace(folder / name, place)
            kept.append(f"{name} had been changed since {stage} wrote it; what it was is {place}")
        return kept

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
        for stage in ORDER:
            for begun in (".new", ".old"):
                remove_path(self.path / f"{begun}-{stage}")


def pending_stages(run: Path) -> list[str]:
    """The stages whose folders in a run directory hold what another recipe, or one whose last work
    has failed, has left; none where that cannot be read."""
    try:
        told = load_json(run / PENDING_FILE)
    except (OSError, ValueError, AugcompressError):
        return []
    return [name for name in ORDER if name in told] if isinstance(told, list) else []


def _holds(folder: Path, entry: StoreEntry) -> bool:
    """Whether a folder holds the entry's files, with the same content."""
    ours, theirs = files_of(entry.path), files_of(folder)
    if not ours or not ours.keys() <= theirs.keys():
        return False
    others = {name: path for name, path in theirs.items() if name in ours}
    unlike = {name for name, path in others.items() if not path.samefile(ours[name])}
    return digests_of({name: ours[name] for name in unlike}) == digests_of(
        {name: others[name] for name in unlike}
    )


def _refuse_strangers(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise AugcompressError(
            f"{folder}: is no folder of its own; move it away or use another --run-dir"
        )
    if found := strangers(folder):
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise AugcompressError(
            f"{folder}: holds files that augcompress did not write: {', '.join(found[:3])}{more};"
            " move them away or use another --run-dir"
        )
