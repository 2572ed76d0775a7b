"""Arrays in the store: made once, found as they were written, and never needed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from augcompress.errors import AugcompressError
from augcompress.storage import stored_arrays
from augcompress.storage.runs import clean
from augcompress.storage.store import Store
from augcompress.storage.stored_arrays import ARRAY_FILE, StoredArrays

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 3, 8, 9), dtype=np.uint8)


class Place:
    """A store, what was said, and how often the array was made."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root / ".store")
        self.store.root.mkdir()
        self.said: list[str] = []
        self.made = 0

    def images(self, key: str = "a", now: str = "a") -> np.ndarray:
        return StoredArrays(self.store, self.said.append)(key, self._make, lambda: now)

    def _make(self) -> np.ndarray:
        self.made += 1
        return IMAGES.copy()

    @property
    def entries(self) -> list[Path]:
        """The store's folders, whole or not."""
        return [path for path in self.store.root.iterdir() if path.is_dir()]


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path)


def test_an_array_is_made_once_for_each_key_and_then_mapped(place):
    for _ in range(3):
        found = place.images()
        np.testing.assert_array_equal(found, IMAGES)
        assert isinstance(found, np.memmap)
    assert place.made == 1
    place.images("b", "b")
    assert place.made == 2
    assert place.said == []


def test_what_is_written_to_it_stays_in_this_process(place):
    place.images()[:] = 7
    np.testing.assert_array_equal(place.images(), IMAGES)
    assert place.made == 1


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (1, 1, 1, 1)])
def test_the_smallest_arrays(place, shape):
    for _ in range(2):
        array = np.zeros(shape, np.uint8)
        found = StoredArrays(place.store, place.said.append)("a", array.copy, lambda: "a")
        np.testing.assert_array_equal(found, array)
    assert place.said == []


def truncated(entry: Path) -> None:
    os.truncate(entry / ARRAY_FILE, 2000)


def one_byte_changed(entry: Path) -> None:
    with (entry / ARRAY_FILE).open("r+b") as file:
        file.seek(2000)
        file.write(bytes([IMAGES.tobytes()[2000 - 128] ^ 1]))


def header_changed(entry: Path) -> None:
    text = (entry / ARRAY_FILE).read_bytes()
    (entry / ARRAY_FILE).write_bytes(text.replace(b"(50, 3, 8, 9)", b"(50, 3, 9, 8)"))


def array_gone(entry: Path) -> None:
    (entry / ARRAY_FILE).unlink()


def record_gone(entry: Path) -> None:
    (entry / "stage.json").unlink()


def of_another_key(entry: Path) -> None:
    record = json.loads((entry / "stage.json").read_text())
    (entry / "stage.json").write_text(json.dumps(record | {"key": "0" * 64}))


@pytest.mark.parametrize(
    "spoil", [truncated, one_byte_changed, header_changed, array_gone, record_gone, of_another_key]
)
def test_an_entry_that_is_not_as_it_was_written_is_said_and_made_again(place, spoil):
    place.images()
    spoil(place.entries[0])
    np.testing.assert_array_equal(place.images(), IMAGES)
    assert place.made == 2
    (line,) = place.said
    assert line.startswith(str(place.entries[0]))
    assert line.endswith("; doing decoding again")
    np.testing.assert_array_equal(place.images(), IMAGES)
    assert place.made == 2


def test_many_at_once_make_it_once(place, monkeypatch):
    starting = threading.Barrier(4)
    slowly = place._make
    monkeypatch.setattr(place, "_make", lambda: (threading.Event().wait(0.1), slowly())[1])
    found: list[np.ndarray] = []

    def one() -> None:
        starting.wait()
        found.append(place.images())

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert place.made == 1
    for images in found:
        np.testing.assert_array_equal(images, IMAGES)


def refused(*args, **kwargs):
    raise PermissionError(errno.EACCES, "Permission denied")


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def source_changes(place, monkeypatch) -> dict[str, str]:
    return {"now": "b"}


def disk_nearly_full(place, monkeypatch) -> dict[str, str]:
    usage = shutil.disk_usage(".")._replace(free=2 * IMAGES.nbytes - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    return {}


def disk_full(place, monkeypatch) -> dict[str, str]:
    monkeypatch.setattr(stored_arrays.np.lib.format, "write_array_header_1_0", no_space)
    return {}


def disk_full_at_the_end(place, monkeypatch) -> dict[str, str]:
    monkeypatch.setattr("augcompress.storage.store.sync", no_space)
    return {}


def read_only_store(place, monkeypatch) -> dict[str, str]:
    monkeypatch.setattr(Path, "mkdir", refused)
    return {}


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (source_changes, "files have changed while they were read"),
        (disk_nearly_full, "disk nearly full"),
        (disk_full, "No space left on device"),
        (disk_full_at_the_end, "No space left on device"),
        (read_only_store, "Permission denied"),
    ],
)
def test_what_cannot_be_stored_is_made_and_said(place, monkeypatch, happens, reason):
    with monkeypatch.context() as changed:
        found = place.images(**happens(place, changed))
    np.testing.assert_array_equal(found, IMAGES)
    (line,) = place.said
    assert reason in line
    assert line.endswith("; other commands will decode them again")
    assert place.entries == []


def test_whoever_waits_too_long_makes_it_without_storing(place, monkeypatch):
    monkeypatch.setattr(stored_arrays, "WAIT_S", 0.0)
    entry = place.store.entry("decoding", stored_arrays.digest_json("a"))
    with entry.writing():
        np.testing.assert_array_equal(place.images(), IMAGES)
    assert len(place.said) == 1
    assert "another process is working" in place.said[0]
    assert place.entries == []


def test_no_store_begins_with_an_array(place):
    place.store.root.rmdir()
    np.testing.assert_array_equal(place.images(), IMAGES)
    assert not place.store.root.exists()


def test_what_make_raises_passes_and_leaves_nothing(place):
    def fail() -> np.ndarray:
        raise AugcompressError("a.png: not a readable image; replace it")

    with pytest.raises(AugcompressError, match=r"^a\.png: not a readable image; replace it$"):
        StoredArrays(place.store, place.said.append)("a", fail, lambda: "a")
    np.testing.assert_array_equal(place.images(), IMAGES)
    assert place.said == []


def test_clean_frees_arrays_unless_one_is_being_made(place, tmp_path):
    place.images()
    size = sum(path.stat().st_size for path in place.entries[0].iterdir())
    with place.store.entry("decoding", stored_arrays.digest_json("b")).writing() as folder:
        (folder / ARRAY_FILE).write_bytes(b"half")
        assert clean(tmp_path, dry_run=True) == size
        held = place.images()
        assert clean(tmp_path) == size
        assert place.entries == [folder]
    np.testing.assert_array_equal(held, IMAGES)
    place.images()
    assert place.made == 2
