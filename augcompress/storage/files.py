"""Files written aside and renamed: nothing appears under a final name before it is whole."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from augcompress.errors import AugcompressError

try:
    import fcntl
except ImportError:  # Windows, which replaces no file that is open
    fcntl = None  # type: ignore[assignment]

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
    What a killed process has left of an earlier try goes.
    """
    path = Path(path)
    if path.is_dir():
        raise AugcompressError(f"{path}: is a folder, where a file is to be; move it away")
    aside = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    make_folder(path.parent)
    for left in leftovers(path):
        left.unlink(missing_ok=True)
    try:
        with _held(aside) as mode:
            yield aside
            if mode is not None:
                aside.chmod(mode)  # some libraries make a file anew that only its owner may read
            sync(aside)
            os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def leftovers(path: Path) -> list[Path]:
    """What killed processes have left of `write_aside(path)`: files that nobody holds."""
    name = re.compile(rf"\.{re.escape(path.stem)}-[0-9a-f]{{8}}{re.escape(path.suffix)}")
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    return [found for found in beside if name.fullmatch(found.name) and not _is_held(found)]


@contextmanager
def _held(aside: Path) -> Iterator[int | None]:
    """Hold a lock on a new file: it dies with this process, and tells who finds the file.  Yields
    the rights that new files have."""
    if fcntl is None:
        yield None
        return
    with aside.open("xb") as file:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield stat.S_IMODE(os.fstat(file.fileno()).st_mode)


def _is_held(aside: Path) -> bool:
    if fcntl is None:
        return True
    try:
        with aside.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises AugcompressError when that is impossible, or libraries could not write there.
    """
    if any("\ud800" <= character <= "\udfff" for character in str(path)):  # undecoded bytes
        raise AugcompressError(f"{path}: is not UTF-8; rename it or use another --run-dir")
    try:
        with storage_errors(path):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AugcompressError(
            f"{path}: cannot be made a folder ({error.strerror}); use another --run-dir"
        ) from error


def files_of(folder: Path) -> dict[str, Path]:
    """All files below a folder by their relative name, sorted."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in found}


def link_or_copy(source: str, target: str) -> str:
    """A second name for a file, or a copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno in _FULL or isinstance(error, FileNotFoundError):
            raise
        shutil.copy2(source, target)
    return target


def swap(new: Path, folder: Path) -> None:
    """Rename `new` to `folder`; what was there goes."""
    old = folder.with_name(f".old-{folder.name}")
    remove_path(old)
    if folder.exists():
        os.rename(folder, old)
    os.rename(new, folder)
    remove_path(old)


def remove_files(files: Iterable[Path], folder: Path) -> None:
    """Remove these files below `folder`, in this order, then the folders that are empty, and
    `folder` itself where it is."""
    for file in files:
        file.unlink(missing_ok=True)
    if folder.is_dir() and not folder.is_symlink():
        for place, _, _ in os.walk(folder, topdown=False):
            with contextlib.suppress(OSError):  # something is left there
                os.rmdir(place)


def remove_path(path: Path) -> None:
    """Remove a file or a folder, be it there or not."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file or a folder's names are on the disk."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
