"""Folders of Hugging Face datasets: splits, columns, classes; nothing fetched, nothing run."""

from __future__ import annotations

import json
import socket
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets_sources import pixels, save_image, write_folder, write_parquet
from PIL import Image
from pydantic import ValidationError

from augcompress.datasets import DataFacts, FileSplit, MemorySplit
from augcompress.datasets.hugging_face import HuggingFace
from augcompress.errors import AugcompressError

pytest.importorskip(  # a submodule, as this folder is called like the library
    "datasets.load", reason="datasets is not installed; pip install 'augcompress[hugging-face]'"
)
datasets = pytest.importorskip("datasets")
FACTS = DataFacts(seed=0)


def settings(root, **changes) -> HuggingFace:
    return HuggingFace(**({"path": str(root), "size": 8} | changes))


@pytest.fixture
def folder(tmp_path):
    return write_parquet(tmp_path / "set", {"train": 40, "test": 20})


def test_parquet_files_are_read_by_split(folder):
    data = settings(folder).build(FACTS)
    assert data.classes == ["cat", "dog"]
    assert (len(data.train), len(data.validation), len(data.test)) == (36, 4, 20)
    assert (data.size, data.channels) == ((8, 8), 3)


def test_pixels_and_labels_are_those_of_the_files(folder):
    data = settings(folder, size=(12, 10)).build(FACTS)
    images = torch.from_numpy(pixels(20, 12, 10, 3, seed=1)).permute(0, 3, 1, 2)
    assert torch.equal(data.test.fetch(np.arange(20)), images)
    assert data.test.labels.tolist() == [0, 1] * 10


def test_large_splits_are_decoded_when_asked_for(folder):
    held = settings(folder).build(FACTS)
    streamed = settings(folder, in_memory_mb=0).build(FACTS)
    assert isinstance(held.train, MemorySplit)
    assert isinstance(streamed.train, FileSplit)
    rows = np.array([3, 0, 11])
    for name in ("train", "test"):
        one, two = getattr(held, name), getattr(streamed, name)
        assert torch.equal(one.fetch(rows), two.fetch(rows))
        np.testing.assert_array_equal(one.labels, two.labels)
    assert streamed.mean == pytest.approx(held.mean)


def test_class_folders_are_read(tmp_path):
    folder = write_folder(tmp_path / "set", {"train": 10, "test": 5})
    data = settings(folder).build(FACTS)
    assert data.classes == ["cat", "dog"]
    assert np.bincount(data.test.labels).tolist() == [5, 5]
    assert data.notes == []
    (folder / "train" / "cat" / "a.heic").write_bytes(b"x")
    assert settings(folder).build(FACTS).notes == ["data: 30 of 31 files read: 30 .png, 1 .heic"]


def test_what_save_to_disk_wrote_is_read(folder, tmp_path):
    data = datasets.load_dataset("parquet", data_dir=str(folder), cache_dir=str(tmp_path / "c"))
    data.save_to_disk(tmp_path / "saved")
    first, again = (settings(place).build(FACTS) for place in (folder, tmp_path / "saved"))
    assert torch.equal(first.test.fetch(np.arange(20)), again.test.fetch(np.arange(20)))


def test_a_share_is_the_test_part_where_there_is_no_other_split(tmp_path):
    folder = write_parquet(tmp_path / "set", {"train": 40})
    one, two = (settings(folder).build(DataFacts(seed=seed)) for seed in (0, 3))
    assert np.bincount(one.test.labels).tolist() == [4, 4]
    np.testing.assert_array_equal(one.test.index, two.test.index)
    assert not {*one.test.index} & {*one.train.index, *one.validation.index}
    assert len(settings(folder, test_share=0.5).build(FACTS).test) == 20
    with pytest.raises(
        AugcompressError, match=r"data\.test_share: 0\.001 of 40 images leaves none"
    ):
        settings(folder, test_share=0.001).build(FACTS)


def test_splits_are_found_by_name(tmp_path):
    folder = write_parquet(tmp_path / "set", {"fit": 40, "held": 20, "extra": 4})
    data = settings(folder, train="fit", test="held").build(FACTS)
    assert (len(data.train) + len(data.validation), len(data.test)) == (40, 20)
    assert data.notes == [
        "data: fit is the train part, held is the test part",
        "data: no part, and not used: extra",
    ]
    message = "has the splits extra, fit, held and no train; name them in data.train and data.test"
    with pytest.raises(AugcompressError, match=message):
        settings(folder).build(FACTS)
    with pytest.raises(AugcompressError, match="and no test; name them"):
        settings(folder, train="fit").build(FACTS)


@pytest.mark.parametrize(
    ("splits", "sizes"),
    [
        ({"train": 40, "validation": 10, "test": 20}, (40, 10, 20)),
        ({"training": 40, "dev": 10, "eval": 20}, (40, 10, 20)),
        ({"train": 40, "val": 10}, (36, 4, 10)),
    ],
)
def test_a_validation_split_is_used(tmp_path, splits, sizes):
    data = settings(write_parquet(tmp_path / "set", splits)).build(FACTS)
    assert (len(data.train), len(data.validation), len(data.test)) == sizes


def test_two_splits_of_one_meaning_and_one_tested_on(tmp_path):
    folder = write_parquet(tmp_path / "set", {"train": 40, "val": 10, "valid": 20})
    with pytest.raises(AugcompressError, match="val and valid both mean the validation part"):
        settings(folder).build(FACTS)
    data = settings(folder, test="val").build(FACTS)
    assert (len(data.train), len(data.validation), len(data.test)) == (40, 20, 10)


def test_links_that_lead_back_are_refused(tmp_path):
    folder = write_folder(tmp_path / "set", {"train": 10, "test": 5})
    (folder / "train" / "cat" / "up").symlink_to("..")
    with pytest.raises(AugcompressError, match="set/train/cat/up: a link that leads back"):
        settings(folder).fingerprint()


def test_numbered_files_belong_to_their_folder(folder):
    for split in ("train", "test"):
        (folder / "data" / split).mkdir()
        file = folder / "data" / f"{split}-00000-of-00001.parquet"
        file.rename(folder / "data" / split / "0000.parquet")
    (folder / "README.md").write_text("---\nconfigs: []\n---\n")
    assert len(settings(folder).build(FACTS).test) == 20


def test_plain_tables_need_no_declared_features(tmp_path):
    save_image(tmp_path / "one.png", 0)
    content = (tmp_path / "one.png").read_bytes()
    (tmp_path / "set").mkdir()
    for split, count in (("train", 20), ("test", 4)):
        columns = {"picture": [content] * count, "label": ["dog", "cat"] * (count // 2)}
        pq.write_table(pa.table(columns), tmp_path / "set" / f"{split}.parquet")
    data = settings(tmp_path / "set").build(FACTS)
    assert data.classes == ["cat", "dog"]
    assert data.test.labels.tolist() == [1, 0, 1, 0]


def test_whole_numbers_are_ordered_as_numbers(tmp_path):
    folder = write_parquet(tmp_path / "set", {"train": 40, "test": 20}, label=[10, 9])
    data = settings(folder).build(FACTS)
    assert data.classes == ["9", "10"]
    assert data.test.labels[:4].tolist() == [1, 0, 1, 0]


def test_columns_may_be_named_and_must_be_where_several_fit(tmp_path):
    folder = write_parquet(tmp_path / "set", {"train": 40, "test": 20}, labels=["x", "y", "z"])
    assert settings(folder).build(FACTS).classes == ["cat", "dog"]
    assert settings(folder, label="labels").build(FACTS).classes == ["x", "y", "z"]
    with pytest.raises(
        AugcompressError, match=r"data\.image: no column img; the columns are image"
    ):
        settings(folder, image="img").build(FACTS)


def test_columns_that_are_not_sure_are_listed(tmp_path):
    both = write_parquet(
        tmp_path / "a", {"train": 8, "test": 4}, label=None, labels=[0, 5], kind=[1]
    )
    assert settings(both).build(FACTS).classes == ["0", "5"]
    none = write_parquet(tmp_path / "b", {"train": 8, "test": 4}, label=None, breed=[0, 1])
    message = "none is sure to be the label; name one of the columns image, breed"
    with pytest.raises(AugcompressError, match=message):
        settings(none).build(FACTS)
    two = write_parquet(tmp_path / "c", {"train": 8, "test": 4}, mask=[b"x"])
    with pytest.raises(AugcompressError, match="image and mask may be the image; name one of"):
        settings(two).build(FACTS)


def test_rows_without_a_class_are_an_error(tmp_path):
    names = datasets.ClassLabel(names=["cat", "dog"])
    features = datasets.Features({"image": datasets.Image(), "label": names})
    (tmp_path / "set").mkdir()
    for split, labels in (("train", [0, 1] * 10), ("test", [0, -1])):
        images = [Image.fromarray(each) for each in pixels(len(labels), 8, 8, 3)]
        made = datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)
        made.to_parquet(tmp_path / "set" / f"{split}.parquet")
    with pytest.raises(AugcompressError, match="row 1 has label -1, no class; take a split with"):
        settings(tmp_path / "set").build(FACTS)


@pytest.mark.parametrize("names", [["dog", "cat"], None], ids=["other order", "undeclared"])
def test_splits_must_mean_the_same_classes(names, folder):
    kind = datasets.Value("int64") if names is None else datasets.ClassLabel(names=names)
    features = datasets.Features({"image": datasets.Image(), "label": kind})
    images = [Image.fromarray(each) for each in pixels(2, 8, 8, 3)]
    made = datasets.Dataset.from_dict({"image": images, "label": [0, 1]}, features=features)
    made.to_parquet(folder / "data" / "odd.parquet")
    with pytest.raises(AugcompressError, match="label means other classes in train than in test"):
        settings(folder, test="odd").build(FACTS)


@pytest.fixture
def damaged(tmp_path):
    save_image(tmp_path / "one.png", 0)
    good = (tmp_path / "one.png").read_bytes()
    (tmp_path / "set").mkdir()
    columns = {"image": [good, good, b"no image"] * 10, "label": [0, 1, 1] * 10}
    pq.write_table(pa.table(columns), tmp_path / "set" / "train.parquet")
    return tmp_path / "set"


def test_an_unreadable_image_is_named(damaged):
    with pytest.raises(AugcompressError, match=r"set: train row 2: not a readable image"):
        settings(damaged).build(FACTS)


@pytest.mark.parametrize("in_memory_mb", [0, 1024])
def test_unreadable_images_may_be_skipped(damaged, in_memory_mb):
    data = settings(damaged, corrupt="skip", in_memory_mb=in_memory_mb).build(FACTS)
    assert len(data.train) + len(data.validation) + len(data.test) == 20
    assert data.skipped[:2] == ["train row 2", "train row 5"]
    assert data.train.fetch(np.arange(len(data.train))).shape[1:] == (3, 8, 8)


def test_copies_in_test_are_counted_in_memory_and_streamed(folder):
    data = folder / "data"
    (data / "test-00000-of-00001.parquet").write_bytes(
        (data / "train-00000-of-00001.parquet").read_bytes()
    )
    for in_memory_mb in (0, 1024):
        built = settings(folder, in_memory_mb=in_memory_mb).build(FACTS)
        assert built.copies.test_in_train == 36


def test_nothing_is_fetched_printed_or_run(folder, monkeypatch, capfd):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *place, **how: asked.append(place))
    monkeypatch.setattr(socket.socket, "connect", lambda *place: asked.append(place))
    (folder / "set.py").write_text("raise SystemExit('run')")
    bars = datasets.are_progress_bars_disabled()
    assert len(settings(folder).build(FACTS).test) == 20
    assert asked == []
    assert capfd.readouterr() == ("", "")
    assert datasets.are_progress_bars_disabled() == bars
    assert not datasets.config.HF_HUB_OFFLINE


def test_the_cache_is_the_packages_own_and_follows_content(folder, cache, tmp_path):
    settings(folder).build(FACTS)
    (place,) = (cache / "hugging-face").iterdir()
    write_parquet(tmp_path / "set", {"train": 44, "test": 20})
    assert len(settings(folder).build(FACTS).train) == 40
    assert {*(cache / "hugging-face").iterdir()} > {place}


@pytest.mark.parametrize("content", [{}, {"notes.txt": "x"}, {"train.parquet": "x"}])
def test_a_folder_without_data_is_an_error(content, tmp_path):
    (tmp_path / "set").mkdir()
    for name, text in content.items():
        (tmp_path / "set" / name).write_text(text)
    message = "cannot be read by datasets" if "train.parquet" in content else "holds no parquet"
    with pytest.raises(AugcompressError, match=message) as caught:
        settings(tmp_path / "set").build(FACTS)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(AugcompressError, match=r"absent: no such folder; check the path"):
        settings(tmp_path / "absent").fingerprint()


def test_a_crop_larger_than_the_image_is_refused(tmp_path):
    with pytest.raises(ValidationError, match="is less than the size; give at least 64"):
        settings(tmp_path, size=64, resize=32)


def test_resizing_is_recorded_as_json(folder):
    told = settings(folder, size=96, mode="L").resizing()
    assert json.loads(json.dumps(told)) == told
    assert (told["resize"], told["crop"], told["mode"]) == (110, [96, 96], "L")


def test_without_the_library_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets.load", None)
    with pytest.raises(AugcompressError, match=r"pip install 'augcompress\[hugging-face\]'"):
        settings(folder).build(FACTS)
