"""Where a run's files live: the store of finished stages, and the run directories that link them.

Nothing appears under a final name before it is whole: everything is written aside and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from augcompress.errors import AugcompressError

FORMAT_VERSION = 1
"""Version of `stage.json` and of the entries' layout; another version is a miss."""

RECORD_FILE = "stage.json"
STATE_FOLDER = "state"
STORE_FOLDER = ".store"

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL_WORDS = (
    "No space left on device",
    "Disk quota exceeded",
    "PytorchStreamWriter failed",
    "inline_container.cc",  # torch.save, when its stream is cut short
)


class storage_errors:
    """Turns a full disk and missing rights into AugcompressError; other errors pass.

    Libraries wrap the system's error in their own classes, so a full disk is also known by words.
    `free` is called on a full disk, to make room.
    """

    def __init__(self, folder: str | Path, free: Callable[[], None] | None = None) -> None:
        self.folder, self.free = folder, free

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, AugcompressError) or not isinstance(error, Exception):
            return
        if is_disk_full(error):
            if self.free is not None:
                self.free()
            raise AugcompressError(
                f"{self.folder}: disk full; free some space (augcompress runs clean) or use "
                "another --run-dir"
            ) from error
        if isinstance(error, OSError) and error.errno in _FORBIDDEN:
            raise AugcompressError(
                f"{error.filename or self.folder}: {error.strerror or 'permission denied'}; "
                "make it accessible or use another --run-dir"
            ) from error


def is_disk_full(error: BaseException) -> bool:
    """Whether a write failed for want of space, be it that a library has wrapped the error."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    return any(words in str(error) for words in _FULL_WORDS)


@contextmanager
def write_aside(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what is written there becomes `path` at the end.

    A reader sees the old file or the new one, never half of one; after an error, the old one.
    """
    path = Path(path)
    aside = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    make_folder(path.parent)
    try:
        yield aside
        _sync(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises AugcompressError when that is impossible.
    """
    try:
        with storage_errors(path):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AugcompressError(
            f"{path}: cannot be made a folder ({error.strerror}); use another --run-dir"
        ) from error


def digest_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes.

    Raises AugcompressError when it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AugcompressError(f"{path}: {error.strerror}; give a readable file") from error


def digest_json(payload: Any) -> str:
    """SHA-256 of JSON data, whatever the order of its keys."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """Finished stages by content key; an entry is never changed again."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def entry(self, stage: str, key: str) -> Entry:
        """The place of a stage's result; `key` is a digest of everything that decides it."""
        return Entry(self, stage, key)

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


class Entry:
    """One stage's place in the store: `path` when it is done, `work` while it is being made."""

    def __init__(self, store: Store, stage: str, key: str) -> None:
        self.store, self.stage, self.key = store, stage, key
        self.name = f"{stage}-{key[:16]}"
        self.path = store.root / self.name
        self.work = store.root / f".work-{self.name}"
        """Survives a kill: a killed stage resumes from `work/state`."""

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
            record = self._read()
        except (OSError, ValueError) as error:
            return f"{self.path}: cannot be read ({error}); doing {self.stage} again"
        wrong = self._mismatch(record)
        return f"{self.path}: {wrong}; doing {self.stage} again" if wrong else None

    def record(self) -> dict[str, Any]:
        """What `commit` was given, with `version`, `stage`, `key` and `files` (bytes by name).

        Raises AugcompressError when the stage is not done.
        """
        problem = self.problem
        if problem is not None or not self.path.is_dir():
            raise AugcompressError(problem or f"{self.path}: is not there; run {self.stage}")
        return self._read()

    @contextmanager
    def writing(self, wait_s: float = 0.0, *, fresh: bool = False) -> Iterator[Path]:
        """Yield `work`, locked, holding nothing but the `state` of a killed run, if any, and with
        `fresh` not even that.

        Raises AugcompressError when another process holds it, the disk is full or not writable.
        """
        busy = (
            f"{self.path}: another process is working on this stage; "
            "wait for it or use another --run-dir"
        )
        lock = self.store.lock(self.name, busy=busy, wait_s=wait_s)
        with lock, storage_errors(self.work, free=self._clean):
            make_folder(self.work)
            self._clean()
            if fresh:
                remove(self.work / STATE_FOLDER)
            yield self.work
            with contextlib.suppress(OSError):
                self.work.rmdir()  # nothing was written

    def commit(self, record: dict[str, Any], *, replace: bool = False) -> None:
        """Make `work` the entry, inside `writing`; an entry finished meanwhile is kept instead,
        unless this one shall `replace` it."""
        remove(self.work / STATE_FOLDER)
        files = {name: path.stat().st_size for name, path in files_of(self.work).items()}
        for path in files_of(self.work).values():
            _sync(path)
        head = {"version": FORMAT_VERSION, "stage": self.stage, "key": self.key}
        with write_aside(self.work / RECORD_FILE) as aside:
            aside.write_text(json.dumps({**record, **head, "files": files}, indent=2) + "\n")
        if self.done and not replace:
            remove(self.work)
            return
        _swap(self.work, self.path)
        _sync(self.store.root)

    def discard(self) -> None:
        """Forget the result and any unfinished work; runs that link it keep their files.

        Raises AugcompressError when another process is working on it.
        """
        if not self.path.exists() and not self.work.exists():
            return
        with self.writing():
            remove(self.path)
            remove(self.work)

    def _read(self) -> dict[str, Any]:
        record = json.loads((self.path / RECORD_FILE).read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError(f"{RECORD_FILE} holds no object")
        return record

    def _mismatch(self, record: dict[str, Any]) -> str | None:
        if record.get("version") != FORMAT_VERSION:
            return f"has format {record.get('version')}, not {FORMAT_VERSION}"
        if record.get("key") != self.key:
            return "belongs to another key"
        files = {name: path.stat().st_size for name, path in files_of(self.path).items()}
        wanted = record.get("files")
        if not isinstance(wanted, dict):
            return "does not list its files"
        damaged = [name for name, size in wanted.items() if files.get(name) != size]
        return f"{damaged[0]} is missing or has another size" if damaged else None

    def _clean(self) -> None:
        """Remove everything in `work` but the resume state."""
        for path in list(self.work.glob("*")):
            if path.name != STATE_FOLDER:
                remove(path)


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

    def link(self, entry: Entry, stage: str) -> Path:
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
                    remove(self.stage(stage))

    def _link(self, entry: Entry, folder: Path) -> None:
        aside = self.path / f".new-{folder.name}"
        try:
            shutil.copytree(entry.path, aside, copy_function=link_or_copy)
        except OSError as error:
            remove(aside)
            if is_disk_full(error):
                raise
            raise AugcompressError(
                f"{entry.path}: was removed, or cannot be linked to {folder}; run the command again"
            ) from error
        _swap(aside, folder)

    def _sweep(self) -> None:
        """Remove what a killed `link` has left."""
        for pattern in (".new-*", ".old-*"):
            for path in self.path.glob(pattern):
                remove(path)


def files_of(folder: Path) -> dict[str, Path]:
    """All files below a folder by their relative name, sorted."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in found}


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


def link_or_copy(source: str, target: str) -> str:
    """A second name for a file, or a copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno in _FULL or isinstance(error, FileNotFoundError):
            raise
        shutil.copy2(source, target)
    return target


def _swap(new: Path, folder: Path) -> None:
    """Rename `new` to `folder`; what was there goes."""
    old = folder.with_name(f".old-{folder.name}")
    remove(old)
    if folder.exists():
        os.rename(folder, old)
    os.rename(new, folder)
    remove(old)


def remove(path: Path) -> None:
    """Remove a file or a folder, be it there or not."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file or a folder's names are on the disk."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
