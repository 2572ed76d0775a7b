"""Images in folders and in manifests."""

from __future__ import annotations

import csv

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets_sources import save_image, write_folder
from PIL import Image
from pydantic import ValidationError

from augcompress.datasets import DataFacts, FileSplit, MemorySplit
from augcompress.datasets import hashing as hashing_module
from augcompress.datasets import splits as splits_module
from augcompress.datasets.image_folder import ImageFolder
from augcompress.errors import AugcompressError

FACTS = DataFacts(seed=0)


@pytest.fixture
def divided(tmp_path):
    return write_folder(tmp_path / "source", {"train": 20, "test": 10})


@pytest.fixture
def undivided(tmp_path):
    return write_folder(tmp_path / "source", {"": 20})


def folder(root, **settings) -> ImageFolder:
    return ImageFolder(**({"root": str(root), "size": 8} | settings))


def write_manifest(file, rows) -> ImageFolder:
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return ImageFolder(manifest=str(file), size=8)


def rows_of(root) -> list[dict]:
    files = sorted(root.rglob("*.png"))
    return [
        {"path": str(f.relative_to(root)), "label": f.parent.name, "split": f.parts[-3]}
        for f in files
    ]


def test_divided_folder(divided):
    data = folder(divided).build(FACTS)
    assert data.classes == ["cat", "dog"]
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 20)
    assert data.size == (8, 8)


def test_undivided_folder_gives_a_stratified_test_part(undivided):
    one, two = (folder(undivided, test=0.25).build(DataFacts(seed=seed)) for seed in (0, 1))
    assert np.bincount(one.test.labels).tolist() == [5, 5]
    np.testing.assert_array_equal(one.test.index, two.test.index)
    parts = [set(split.index) for split in (one.train, one.validation, one.test)]
    assert len(set.union(*parts)) == 40 == sum(map(len, parts))


def test_in_memory_and_streamed_are_the_same(divided):
    held, streamed = (folder(divided, in_memory_mb=mb).build(FACTS) for mb in (1, 0))
    assert isinstance(held.train, MemorySplit)
    assert isinstance(streamed.train, FileSplit)
    assert (held.mean, held.std) == (streamed.mean, streamed.std)
    for name in ("train", "validation", "test"):
        one, two = getattr(held, name), getattr(streamed, name)
        everything = np.arange(len(one))
        assert torch.equal(one.fetch(everything), two.fetch(everything))
        np.testing.assert_array_equal(one.labels, two.labels)


def test_labels_are_those_of_the_folders(tmp_path):
    for value, label in ((10, "dark"), (240, "light")):
        for part, number in (("train", 10), ("test", 2)):
            for n in range(number):
                file = tmp_path / "s" / part / label / "deep" / f"{n}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (value, value, n)).save(file)
    data = folder(tmp_path / "s").build(FACTS)
    reds = data.test.fetch(np.arange(4))[:, 0, 0, 0]
    assert [data.classes[label] for label in data.test.labels] == [
        "dark" if red == 10 else "light" for red in reds.tolist()
    ]


@pytest.mark.parametrize("in_memory_mb", [0, 1])
def test_copies_across_parts_are_counted(divided, in_memory_mb):
    for number in range(20):
        copy = divided / "test" / "cat" / f"copy{number}.png"
        copy.write_bytes((divided / "train" / "cat" / f"{number}.png").read_bytes())
    data = folder(divided, in_memory_mb=in_memory_mb).build(FACTS)
    assert data.copies.test_in_train == 18  # two of the twenty went to validation


@pytest.mark.parametrize("in_memory_mb", [0, 1])
def test_corrupt_image_is_skipped_only_when_asked(divided, in_memory_mb):
    for number in range(20):
        (divided / "train" / "dog" / f"bad{number}.png").write_bytes(b"no image")
    with pytest.raises(AugcompressError, match=r"bad\d+\.png: not a readable.*corrupt: skip"):
        folder(divided, in_memory_mb=in_memory_mb).build(FACTS)
    data = folder(divided, in_memory_mb=in_memory_mb, corrupt="skip").build(FACTS)
    assert sorted(data.skipped) == sorted(f"train/dog/bad{n}.png" for n in range(20))
    assert len(data.train) + len(data.validation) == 40


def test_class_of_corrupt_images_only_is_an_error(divided):
    for file in (divided / "train" / "dog").iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(AugcompressError, match="no training image of class dog"):
        folder(divided, corrupt="skip").build(FACTS)


@pytest.mark.parametrize(
    ("settings", "resize", "crop"),
    [
        ({"size": 32}, [32, 32], None),
        ({"size": (24, 32)}, [24, 32], None),
        ({"size": 224}, 256, [224, 224]),
        ({"size": (96, 112)}, 128, [96, 112]),
        ({"size": 32, "resize": 40}, 40, [32, 32]),
    ],
)
def test_default_preprocessing(settings, resize, crop):
    resizing = ImageFolder(root="x", **settings).resizing()
    assert (resizing["resize"], resizing["crop"]) == (resize, crop)


@pytest.mark.parametrize(
    ("settings", "least"),
    [
        ({"size": 32}, 64),
        ({"size": (24, 32)}, 64),
        ({"size": 224}, 512),
        ({"size": 224, "interpolation": "nearest"}, None),
        ({"size": 224, "decoding": "full"}, None),
    ],
)
def test_scaled_decoding_is_part_of_the_preprocessing(settings, least):
    assert ImageFolder(root="x", **settings).resizing().get("scaled_decoding") == least


@pytest.mark.parametrize("in_memory_mb", [0, 1])
def test_decoding_decides_the_pixels_and_is_never_taken_for_the_other(tmp_path, in_memory_mb):
    for part, count in (("train", 10), ("test", 2)):
        for label in ("cat", "dog"):
            (tmp_path / part / label).mkdir(parents=True)
            for number in range(count):
                noise = np.random.default_rng(number).integers(0, 256, (64, 48, 3), np.uint8)
                Image.fromarray(noise).save(tmp_path / part / label / f"{number}.jpg")
    full, scaled = (
        folder(tmp_path, decoding=decoding, in_memory_mb=in_memory_mb).build(FACTS)
        for decoding in ("full", "auto")
    )
    assert not torch.equal(full.test.fetch(np.arange(4)), scaled.test.fetch(np.arange(4)))
    assert full.std != scaled.std
    assert "scaled_decoding" in scaled.resizing


def test_grey_has_one_channel(divided):
    data = folder(divided, mode="L").build(FACTS)
    assert data.channels == 1
    assert data.resizing["mode"] == "L"


def test_manifest_is_the_same_data_as_its_folder(divided):
    listed = write_manifest(divided / "rows.csv", rows_of(divided)).build(FACTS)
    found = folder(divided).build(FACTS)
    assert listed.classes == found.classes
    for name in ("train", "validation", "test"):
        assert sorted(getattr(listed, name).hashes()) == sorted(getattr(found, name).hashes())


def test_parquet_is_the_same_data_as_csv(divided):
    rows = rows_of(divided)
    pq.write_table(pa.Table.from_pylist(rows), divided / "rows.parquet")
    csv_rows = write_manifest(divided / "rows.csv", rows)
    parquet = ImageFolder(manifest=str(divided / "rows.parquet"), size=8)
    assert parquet.fingerprint() == csv_rows.fingerprint()
    one, two = parquet.build(FACTS), csv_rows.build(FACTS)
    assert one.test.hashes() == two.test.hashes()


def test_manifest_without_split_draws_a_test_part_and_orders_numbers(undivided):
    rows = [
        {"path": row["path"], "label": {"cat": "10", "dog": "9"}[row["label"]]}
        for row in rows_of(undivided)
    ]
    data = write_manifest(undivided / "rows.csv", rows).build(FACTS)
    assert data.classes == ["9", "10"]
    assert len(data.test) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "none.png"}, r"none\.png: no such file in"),
        ({"label": ""}, "row 1 has no path or no label"),
        ({"split": "extra"}, r"row 1: split 'extra'; write train, test \(or testing, eval\) and"),
        ({"path": "train/cat/1.png"}, "a path is listed twice"),
    ],
)
def test_wrong_manifest_rows_are_named(divided, change, message):
    rows = rows_of(divided)
    place = next(n for n, row in enumerate(rows) if row["path"] == "train/cat/0.png")
    rows.insert(0, rows.pop(place))
    rows[0] |= change
    settings = write_manifest(divided / "rows.csv", rows)
    with pytest.raises(AugcompressError, match=message):
        settings.build(FACTS)


def test_wrong_manifest_files_are_named(divided):
    settings = write_manifest(divided / "rows.csv", [{"file": "a", "label": "b"}])
    with pytest.raises(AugcompressError, match="no column path; name the columns"):
        settings.build(FACTS)
    (divided / "rows.csv").write_bytes(b"path,label\n\xff\xfe,a\n")
    with pytest.raises(AugcompressError, match="not a UTF-8 CSV file"):
        settings.build(FACTS)
    (divided / "rows.parquet").write_bytes(b"text")
    with pytest.raises(AugcompressError, match="not a readable Parquet file"):
        ImageFolder(manifest=str(divided / "rows.parquet"), size=8).build(FACTS)
    with pytest.raises(AugcompressError, match=r"none\.csv: no such file"):
        ImageFolder(manifest=str(divided / "none.csv"), size=8).build(FACTS)


def test_missing_root_is_named(tmp_path):
    with pytest.raises(AugcompressError, match=r"data\.root: .*nowhere: no such folder"):
        folder(tmp_path / "nowhere").build(FACTS)


def test_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(AugcompressError, match=r"no image in .*one folder per class"):
        folder(tmp_path).build(FACTS)


def test_empty_class_folder_is_named(divided):
    (divided / "train" / "emu").mkdir()
    with pytest.raises(AugcompressError, match=r"class folder .*emu has no image"):
        folder(divided).build(FACTS)


def test_classes_of_train_and_test_must_agree(divided):
    save_image(divided / "test" / "emu" / "0.png", seed=99)
    with pytest.raises(AugcompressError, match="different classes: emu in one of them only"):
        folder(divided).build(FACTS)


def test_train_without_test_is_an_error(tmp_path):
    write_folder(tmp_path / "s", {"train": 3})
    with pytest.raises(AugcompressError, match="has train/ but no test/"):
        folder(tmp_path / "s").build(FACTS)


def test_too_small_a_test_share_is_an_error(undivided):
    with pytest.raises(AugcompressError, match=r"data\.test: 0.01 of 40 images leaves none"):
        folder(undivided, test=0.01).build(FACTS)


@pytest.mark.parametrize("given", [{}, {"root": "a", "manifest": "b"}])
def test_either_root_or_manifest(given):
    with pytest.raises(ValidationError, match="of root and manifest given; give one"):
        ImageFolder(size=8, **given)


def test_resize_below_size_is_refused():
    with pytest.raises(ValidationError, match="is less than the size; give at least 32"):
        ImageFolder(root="a", size=32, resize=30)


def test_second_fingerprint_reads_no_file_again(divided, settled, monkeypatch):
    first = folder(divided).fingerprint()
    read = []
    monkeypatch.setattr(hashing_module, "_hash_file", read.append)
    assert folder(divided).fingerprint() == first
    assert read == []


def test_renamed_class_changes_the_fingerprint(divided):
    first = folder(divided).fingerprint()
    for part in ("train", "test"):
        (divided / part / "cat").rename(divided / part / "lynx")
    assert folder(divided).fingerprint() != first


def test_unwritable_cache_is_no_obstacle(divided, cache):
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file where the folder should be")
    assert folder(divided).fingerprint() == folder(divided).fingerprint()
    assert cache.is_file()


def test_damaged_cache_entry_is_computed_again(divided, cache, settled):
    first = folder(divided).fingerprint()
    for file in cache.iterdir():
        file.write_text("{")
    assert folder(divided).fingerprint() == first


def test_files_changed_just_now_are_not_remembered(divided, cache):
    folder(divided).fingerprint()
    assert not list(cache.glob("hashes-*"))


def test_statistics_of_streamed_images_are_remembered(divided, monkeypatch):
    first = folder(divided, in_memory_mb=0).build(FACTS)
    monkeypatch.setattr(splits_module, "_histogram", None)
    assert folder(divided, in_memory_mb=0).build(FACTS).mean == first.mean
