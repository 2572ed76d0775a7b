"""Images without labels: read from a folder at any depth, and joined to other splits."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from PIL import Image

from augcompress.datasets import (
    Batches,
    FileSplit,
    Joined,
    MemorySplit,
    digest_unlabelled,
    read_unlabelled,
    unlabelled,
)
from augcompress.datasets.sampling import Balanced
from augcompress.errors import AugcompressError

RESIZING = {"resize": [4, 4], "crop": None, "interpolation": "bilinear", "mode": "L"}


@pytest.fixture
def folder(tmp_path):
    """Five grey images, the darkest first by name, in folders of two depths."""
    for number, name in enumerate(("a/b/0.png", "a/1.png", "c/2.png", "3.png", "4.png")):
        place = tmp_path / "images" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 7), (10 * number,) * 3).save(place)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    (tmp_path / "images" / ".hidden.png").write_bytes(b"no image")
    return tmp_path / "images"


def split_of(values) -> MemorySplit:
    values = torch.tensor(values, dtype=torch.uint8)
    return MemorySplit.whole(values.view(-1, 1, 1, 1).expand(-1, 1, 4, 4), np.array(values))


def first_pixels(images: torch.Tensor) -> list[int]:
    return images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("in_memory_bytes", [1 << 30, 0])
def test_folder_is_read_at_any_depth_and_resized(folder, monkeypatch, in_memory_bytes):
    monkeypatch.setattr(unlabelled, "IN_MEMORY_BYTES", in_memory_bytes)
    found, notes = read_unlabelled(folder, RESIZING)
    assert isinstance(found, MemorySplit if in_memory_bytes else FileSplit)
    images = found.fetch(np.arange(5))
    assert images.shape == (5, 1, 4, 4)
    assert first_pixels(images) == [30, 40, 10, 0, 20]  # by name: 3, 4, a/1, a/b/0, c/2
    assert found.labels is None
    assert notes == ["pretrain.unlabelled: 1 files left out, no images by their endings: 1 .txt"]


def test_each_file_is_read_once_whatever_links_there_are(folder):
    (folder / "c" / "up").symlink_to("..")
    (folder / "c" / "one.png").symlink_to("../a/1.png")
    os.mkfifo(folder / "a" / "pipe.png")
    found, notes = read_unlabelled(folder, RESIZING)
    assert sorted(first_pixels(found.fetch(np.arange(len(found))))) == [0, 10, 20, 30, 40]
    assert notes[0].endswith(" is read already: c/up")
    assert notes[1].endswith(": 1 left out, no regular file: a/pipe.png")


@pytest.mark.parametrize("in_memory_bytes", [1 << 30, 0])
def test_unreadable_file_is_named(folder, monkeypatch, in_memory_bytes):
    monkeypatch.setattr(unlabelled, "IN_MEMORY_BYTES", in_memory_bytes)
    (folder / "a/1.png").write_bytes(b"half an image")
    with pytest.raises(
        AugcompressError, match=r"a/1\.png: not a readable .* replace or remove it$"
    ):
        read_unlabelled(folder, RESIZING)[0].fetch(np.arange(5))


def test_folder_that_is_not_there_or_empty_is_refused(tmp_path):
    with pytest.raises(AugcompressError, match=r"pretrain\.unlabelled: .*no such folder"):
        digest_unlabelled(tmp_path / "nowhere")
    with pytest.raises(AugcompressError, match=r"pretrain\.unlabelled: .*holds no image"):
        read_unlabelled(tmp_path, RESIZING)


def test_digest_is_of_names_and_content(folder, tmp_path):
    before = digest_unlabelled(folder)
    moved = folder.rename(tmp_path / "elsewhere")
    assert digest_unlabelled(moved) == before
    Image.new("L", (9, 7), 99).save(moved / "c/2.png")
    assert digest_unlabelled(moved) != before


def test_joined_splits_are_one_without_labels():
    joined = Joined.of(split_of([1, 2, 3]), split_of([7, 8]))
    assert len(joined) == 5
    assert joined.labels is None
    assert first_pixels(joined.fetch(np.array([4, 0, 3, 0]))) == [8, 1, 7, 1]
    part = joined.take(np.array([3, 2]))
    assert first_pixels(part.fetch(np.array([0, 1]))) == [7, 3]
    assert part.index.tolist() == [3, 2]


def test_joined_splits_count_and_hash_like_one():
    joined = Joined.of(split_of([1, 2, 3]), split_of([7, 8]))
    whole = split_of([1, 2, 3, 7, 8])
    assert joined.hashes() == whole.hashes()
    np.testing.assert_array_equal(joined.histogram(), whole.histogram())


def test_batches_of_images_without_labels_have_no_targets(folder):
    split, _ = read_unlabelled(folder, RESIZING)
    batches = Batches(split, None, 2, shuffle=True, seed=0, repeat=2)
    found = list(batches.epoch(0))
    assert [batch.targets for batch in found] == [None] * 5
    assert np.bincount(torch.cat([batch.index for batch in found])).tolist() == [2] * 5
    with pytest.raises(AugcompressError, match="class_balance: these images have no labels"):
        Batches(split, None, 2, shuffle=True, seed=0, balance=Balanced())
