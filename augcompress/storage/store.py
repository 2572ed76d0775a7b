"""The store of finished stages, by content key."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from augcompress.errors import AugcompressError
from augcompress.storage.digests import digests_of
from augcompress.storage.files import (
    RECORD_FILE,
    STATE_FOLDER,
    files_of,
    make_folder,
    remove_path,
    storage_errors,
    swap,
    sync,
    write_aside,
)
from augcompress.storage.stage_record import StageRecord, changes, read_record

PARTS_FILE = "parts.json"
"""In `work`: seconds of the parts before this one, and when this one began."""
ENTRY_VERSION = 2
"""Version of `stage.json` and of the entries' layout; another version is a miss."""


class Store:
    """Finished stages by content key; an entry is never changed again."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def entry(self, stage: str, key: str) -> StoreEntry:
        """The place of a stage's result; `key` is a digest of everything that decides it."""
        return StoreEntry(self, stage, key)

    @contextmanager
    def lock(self, name: str, *, busy: str, wait_s: float = 0.0) -> Iterator[None]:
        """Hold the OS lock `name`, which dies with this process.

        Raises AugcompressError(`busy`) when another process holds it longer than `wait_s`.
        """
        make_folder(self.root)
        lock = FileLock(self.root / f".lock-{name}", timeout=wait_s)
        try:
            with storage_errors(self.root):
                lock.acquire()
        except Timeout as error:
            raise AugcompressError(busy) from error
        except NotImplementedError as error:
            raise AugcompressError(
                f"{self.root}: this file system has no locks; use a --run-dir on a local disk"
            ) from error
        try:
            yield
        finally:
            lock.release()


class StoreEntry:
    """One stage's place in the store: `path` when it is done, `work` while it is being made."""

    def __init__(self, store: Store, stage: str, key: str) -> None:
        self.store, self.stage, self.key = store, stage, key
        self.name = f"{stage}-{key[:16]}"
        self.path = store.root / self.name
        self.work = store.root / f".work-{self.name}"
        """Survives a kill: a killed stage resumes from `work/state`."""
        self.spent = 0.0
        """Seconds that went into the state that `writing` found."""

    @property
    def done(self) -> bool:
        """Whether the stage's result is there, whole."""
        return self.path.is_dir() and self.problem is None

    @property
    def problem(self) -> str | None:
        """Why the entry cannot be used although it is there, for people; None: nothing is wrong."""
        if not self.path.exists():
            return None
        try:
            wrong = self._mismatch(read_record(self.path))
        except (OSError, ValueError, AugcompressError) as error:
            return f"{self.path}: cannot be read ({error}); doing {self.stage} again"
        return f"{self.path}: {wrong}; doing {self.stage} again" if wrong else None

    def record(self) -> StageRecord:
        """What `commit` was given, with the version, the stage, the key and the files.

        Raises AugcompressError when the stage is not done.
        """
        problem = self.problem
        if problem is not None or not self.path.is_dir():
            raise AugcompressError(problem or f"{self.path}: is not there; run {self.stage}")
        return read_record(self.path)

    @contextmanager
    def writing(self, wait_s: float = 0.0, *, fresh: bool = False) -> Iterator[Path]:
        """Yield `work`, locked, holding nothing but the `state` of a killed run, if any, and with
        `fresh` not even that; and when its parts began.

        Raises AugcompressError when another process holds it, the disk is full or not writable.
        """
        busy = (
            f"{self.path}: another process is working on this stage; "
            "wait for it or use another --run-dir"
        )
        lock = self.store.lock(self.name, busy=busy, wait_s=wait_s)
        with lock, storage_errors(self.work, free=self._clean):
            make_folder(self.work)
            if fresh:
                remove_path(self.work / STATE_FOLDER)
            self.spent = self._seconds_of_state()
            self._clean()
            with write_aside(self.work / PARTS_FILE) as aside:
                aside.write_text(json.dumps([self.spent, time.time()]))
            yield self.work
            remove_path(self.work / PARTS_FILE)
            with contextlib.suppress(OSError):
                self.work.rmdir()  # nothing was written

    def commit(self, record: dict[str, Any], *, replace: bool = False) -> None:
        """Make `work` the entry, inside `writing`; an entry finished meanwhile is kept instead,
        unless this one shall `replace` it."""
        remove_path(self.work / STATE_FOLDER)
        remove_path(self.work / PARTS_FILE)
        files = files_of(self.work)
        for path in files.values():
            sync(path)
        told = {
            **record,
            **{"version": ENTRY_VERSION, "stage": self.stage, "key": self.key},
            "files": {name: path.stat().st_size for name, path in files.items()},
            "sha256": digests_of(files),
        }
        with write_aside(self.work / RECORD_FILE) as aside:
            aside.write_text(json.dumps(told, indent=2) + "\n")
        if self.done and not replace:
            remove_path(self.work)
            return
        swap(self.work, self.path)
        sync(self.store.root)

    def discard(self) -> None:
        """Forget the result and any unfinished work; runs that link it keep their files.

        Raises AugcompressError when another process is working on it.
        """
        if not self.path.exists() and not self.work.exists():
            return
        with self.writing():
            remove_path(self.path)
            remove_path(self.work)

    def _mismatch(self, record: StageRecord) -> str | None:
        if record.version != ENTRY_VERSION:
            return f"has format {record.version}, not {ENTRY_VERSION}"
        if record.key != self.key:
            return "belongs to another key"
        damaged = changes(self.path, record)
        return next((f"{name} {what}" for name, what in damaged.items()), None)

    def _seconds_of_state(self) -> float:
        """What all parts of an interrupted stage took, each until it last wrote its state."""
        written = [path.stat().st_mtime for path in (self.work / STATE_FOLDER).rglob("*")]
        try:
            before, started = json.loads((self.work / PARTS_FILE).read_text())
            return before + max(0.0, max(written) - started) if written else 0.0
        except (OSError, ValueError, TypeError):
            return 0.0

    def _clean(self) -> None:
        """Remove everything in `work` but the resume state and when its parts began."""
        for path in list(self.work.glob("*")):
            if path.name not in (STATE_FOLDER, PARTS_FILE):
                remove_path(path)
