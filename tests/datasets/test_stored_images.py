"""Images in files are decoded once, whatever the data set; and anew when what decides changes."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from datasets_sources import pixels, save_image, write_folder, write_npz, write_parquet

from augcompress.datasets import DataFacts, DatasetSettings, FileSplit, Source, read_unlabelled
from augcompress.datasets.arrays import Arrays
from augcompress.datasets.hugging_face import HuggingFace
from augcompress.datasets.image_folder import ImageFolder
from augcompress.inference import direct
from augcompress.storage import StoredArrays
from augcompress.storage.store import Store

PARTS = ("train", "validation", "test")


@pytest.fixture
def stored(tmp_path) -> StoredArrays:
    def never(text: str) -> None:
        raise AssertionError(text)

    (tmp_path / ".store").mkdir()
    return StoredArrays(Store(tmp_path / ".store"), never)


def divided(root):
    return write_folder(root / "source", {"train": 12, "test": 6})


def image_folder(root, **settings):
    return ImageFolder(root=str(divided(root)), size=8, **settings)


def undivided(root, **settings):
    return ImageFolder(root=str(write_folder(root / "s", {"": 15})), size=8, **settings)


def manifest(root, **settings):
    files = sorted(divided(root).rglob("*.png"))
    with (root / "m.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "label", "split"])
        rows.writerows([f.relative_to(root), f.parent.name, f.parts[-3]] for f in files)
    return ImageFolder(manifest=str(root / "m.csv"), size=8, **settings)


def parquet(root, **settings):
    folder = write_parquet(root / "set", {"train": 24, "test": 12})
    return HuggingFace(path=str(folder), size=8, **settings)


def class_folders(root, **settings):
    pytest.importorskip("datasets.load", reason="Hugging Face datasets is not installed")
    return HuggingFace(path=str(divided(root)), size=8, **settings)


class Own(DatasetSettings):
    """A plug-in's data set, which leaves the decoding to us."""

    kind: Literal["own"] = "own"
    root: str

    def read(self) -> Source:
        resizing = direct((8, 8), "RGB")
        files = [Path(self.root, f"{n}.png") for n in range(36)]
        whole = FileSplit.whole(files, [n % 2 for n in range(36)], resizing, in_memory=True)
        return Source(
            ["a", "b"], whole.take(np.arange(24)), whole.take(np.arange(24, 36)), resizing
        )

    def fingerprint(self) -> str:
        return "own"


def plug_in(root):
    for number in range(36):
        save_image(root / "own" / f"{number}.png", number)
    return Own(root=str(root / "own"))


FILES = [image_folder, undivided, manifest, parquet, class_folders]


def same(one, two) -> None:
    for part in PARTS:
        first, second = getattr(one, part), getattr(two, part)
        rows = np.arange(len(first))
        assert torch.equal(first.fetch(rows), second.fetch(rows))
        np.testing.assert_array_equal(first.labels, second.labels)
        np.testing.assert_array_equal(first.index, second.index)
        assert list(first.hashes()) == list(second.hashes())
    for told in ("classes", "mean", "std", "copies", "skipped", "notes", "resizing"):
        assert getattr(one, told) == getattr(two, told)


@pytest.mark.parametrize("source", [*FILES, plug_in])
def test_a_second_opening_decodes_nothing_and_finds_the_same(tmp_path, stored, decoded, source):
    settings = source(tmp_path)
    plain = settings.build(DataFacts(seed=0))
    assert len(set(decoded)) == len(decoded) == sum(len(getattr(plain, part)) for part in PARTS)
    decoded.clear()
    same(settings.build(DataFacts(seed=0, stored=stored)), plain)
    assert decoded
    decoded.clear()
    same(settings.build(DataFacts(seed=0, stored=stored)), plain)
    assert decoded == []


@pytest.mark.parametrize("source", [image_folder, parquet])
def test_unreadable_and_copied_images_are_told_of_again(tmp_path, stored, decoded, source):
    settings = source(tmp_path, corrupt="skip")
    if source is image_folder:
        train = tmp_path / "source" / "train"
        (train / "cat" / "3.png").write_bytes(b"no image")
        shutil.copy(train / "dog" / "1.png", tmp_path / "source" / "test" / "cat" / "copy.png")
    else:
        content = [image.read_bytes() for image in sorted(divided(tmp_path).rglob("*.png"))]
        content[1], content[2] = b"no image", content[5]
        write_parquet(tmp_path / "set", {"train": 24}, image=content[:24])
    facts = DataFacts(seed=0, stored=stored)
    first, again = settings.build(facts), (decoded.clear(), settings.build(facts))[1]
    assert decoded == []
    same(first, again)
    assert len(again.skipped) == 1
    assert again.copies.two_classes == 1
    assert ("train/dog/1.png" if source is image_folder else "train row 5") in again.copies.example
    same(first, settings.build(DataFacts(seed=0)))


def test_images_without_labels_are_decoded_once(tmp_path, stored, decoded):
    folder, resizing = write_folder(tmp_path / "s", {"": 5}), direct((8, 8), "L")
    rows = np.arange(10)
    plain = read_unlabelled(folder, resizing)[0].fetch(rows)
    assert torch.equal(read_unlabelled(folder, resizing, stored)[0].fetch(rows), plain)
    decoded.clear()
    assert torch.equal(read_unlabelled(folder, resizing, stored)[0].fetch(rows), plain)
    assert decoded == []


def other_bytes(root):
    save_image(root / "source" / "train" / "cat" / "0.png", 99)


def another_class(root):
    train = root / "source" / "train"
    (train / "cat" / "0.png").rename(train / "dog" / "moved.png")


def names_in_turn(root):
    """The same bytes and names in each folder, for other images."""
    one, two = (root / "source" / "train" / "cat" / f"{n}.png" for n in (0, 1))
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)


def one_more(root):
    save_image(root / "source" / "test" / "cat" / "new.png", 99)


def one_less(root):
    (root / "source" / "test" / "cat" / "0.png").unlink()


@pytest.mark.parametrize(
    "change",
    [other_bytes, another_class, names_in_turn, one_more, one_less],
    ids=lambda f: f.__name__,
)
def test_changed_files_are_decoded_anew(tmp_path, stored, decoded, change):
    settings = image_folder(tmp_path)
    settings.build(DataFacts(seed=0, stored=stored))
    change(tmp_path)
    decoded.clear()
    found = settings.build(DataFacts(seed=0, stored=stored))
    assert decoded
    same(found, settings.build(DataFacts(seed=0)))


@pytest.mark.parametrize(
    "changed",
    [
        {"size": 7},
        {"size": (8, 9)},
        {"resize": 9},
        {"interpolation": "nearest"},
        {"mode": "L"},
        {"decoding": "full"},
    ],
    ids=str,
)
def test_changed_settings_are_decoded_anew(tmp_path, stored, decoded, changed):
    settings = image_folder(tmp_path)
    settings.build(DataFacts(seed=0, stored=stored))
    other = ImageFolder(**(settings.model_dump() | changed))
    decoded.clear()
    found = other.build(DataFacts(seed=0, stored=stored))
    assert decoded
    same(found, other.build(DataFacts(seed=0)))


@pytest.mark.parametrize("what", ["PIL.__version__", "augcompress.datasets.splits._DECODING"])
def test_another_decoder_decodes_anew(tmp_path, stored, decoded, monkeypatch, what):
    settings = image_folder(tmp_path)
    settings.build(DataFacts(seed=0, stored=stored))
    decoded.clear()
    monkeypatch.setattr(what, "another")
    settings.build(DataFacts(seed=0, stored=stored))
    assert decoded


@pytest.mark.parametrize(
    "changed",
    [{"classes": ("dog", "cat")}, {"subset": 10}, {"validation": 0.3}, {"keep": {"cat": 0.5}}],
    ids=str,
)
def test_settings_that_leave_pixels_alone_share_what_is_decoded(tmp_path, stored, decoded, changed):
    settings = image_folder(tmp_path)
    settings.build(DataFacts(seed=0, stored=stored))
    other = ImageFolder(**(settings.model_dump() | changed))
    plain = other.build(DataFacts(seed=0))
    decoded.clear()
    same(
        other.build(DataFacts(seed=1, stored=stored)), other.build(DataFacts(seed=1, stored=stored))
    )
    same(other.build(DataFacts(seed=0, stored=stored)), plain)
    assert decoded == []


def test_a_relabelled_manifest_has_its_new_labels(tmp_path, stored):
    settings = manifest(tmp_path)
    before = settings.build(DataFacts(seed=0, stored=stored))
    table = tmp_path / "m.csv"
    table.write_text(table.read_text().replace("/dog/1.png,dog", "/dog/1.png,cat"))
    after = settings.build(DataFacts(seed=0, stored=stored))
    assert before.test.labels.sum() == after.test.labels.sum() + 1
    same(after, settings.build(DataFacts(seed=0)))


@pytest.mark.parametrize("source", ["streamed", "arrays"])
def test_nothing_is_stored_where_nothing_is_gained(tmp_path, stored, source):
    if source == "streamed":
        settings = image_folder(tmp_path, in_memory_mb=0)
    else:
        file = write_npz(tmp_path / "a.npz", x_train=pixels(60, 6, 5, 3))
        settings = Arrays(path=str(file))
    settings.build(DataFacts(seed=0, stored=stored))
    assert not list(stored.store.root.iterdir())
