"""Arrays that all stages need alike: worked out once, in the store, mapped into memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from augcompress.errors import AugcompressError, first_line
from augcompress.storage.digests import digest_json
from augcompress.storage.files import remove_path
from augcompress.storage.stage_record import DECODING
from augcompress.storage.store import Store, StoreEntry

ARRAY_FILE = "images.npy"
FREE_SHARE = 0.5
"""Of the disk's free space, what an array may take."""
WAIT_S = 600.0
"""How long to wait for another process that is making the same array."""


class StoredArrays:
    """Arrays in a store, by content key.  No run refers to them: they can be made again."""

    def __init__(self, store: Store, say: Callable[[str], None]) -> None:
        """`say` is given a sentence where something is not as it should be."""
        self.store, self.say = store, say

    def __call__(
        self, key: str, make: Callable[[], np.ndarray], key_now: Callable[[], str]
    ) -> np.ndarray:
        """The array of `key`, mapped into memory (written to, it changes in this process only);
        made and stored where it is not there.

        An array that cannot be stored is in memory, and `say` is told why; so is one whose key is
        another when it has been made, as its source has changed meanwhile.
        Where there is no store, as beside files that no stage has made, none begins with it.
        Raises what `make` raises.
        """
        if not self.store.root.is_dir():
            return make()
        entry = self.store.entry(DECODING, digest_json(key))
        if (found := _mapped(entry)) is not None:
            return found
        if entry.problem:
            self.say(entry.problem)
        with ExitStack() as held:
            try:
                folder = held.enter_context(entry.writing(wait_s=WAIT_S))
            except AugcompressError as error:
                self._say_why(entry, error)
                return make()
            if (found := _mapped(entry)) is not None:  # another process has made it meanwhile
                return found
            made = make()
            try:
                _check(made, folder, key == key_now())
                _write(folder / ARRAY_FILE, made)
                entry.commit({})
            except (OSError, AugcompressError) as error:
                remove_path(folder)
                self._say_why(entry, error)
                return made
        found = _mapped(entry)
        return made if found is None else found

    def _say_why(self, entry: StoreEntry, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or first_line(error)
        self.say(
            f"{entry.path}: decoded images are not kept ({reason}); other commands will decode them"
            " again"
        )


def _mapped(entry: StoreEntry) -> np.ndarray | None:
    """What the entry holds, where it is as it was written."""
    if not entry.done:
        return None
    try:
        return np.load(entry.path / ARRAY_FILE, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError):  # removed since, or no array
        return None


def _check(made: np.ndarray, folder: Path, same: bool) -> None:
    if not same:
        raise AugcompressError("files have changed while they were read; start again")
    if made.nbytes > FREE_SHARE * shutil.disk_usage(folder).free:
        raise AugcompressError("disk nearly full; free some space")


def _write(path: Path, array: np.ndarray) -> None:
    """What np.save writes; it hides why a write has failed."""
    array = np.ascontiguousarray(array)
    with path.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(array.data)
