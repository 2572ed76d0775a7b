"""Classes that can be told apart, whatever the data's format: names, numbers, labels."""

from __future__ import annotations

import csv
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets_sources import pixels, save_image, write_folder, write_npz, write_parquet

from augcompress.datasets import DataFacts, DatasetSettings, MemorySplit, Source
from augcompress.datasets.arrays import Arrays
from augcompress.datasets.hugging_face import HuggingFace
from augcompress.datasets.image_folder import ImageFolder
from augcompress.errors import AugcompressError
from augcompress.inference import direct

FACTS = DataFacts(seed=0)


class Given(DatasetSettings):
    """What a plug-in may return."""

    kind: str = "given"
    names: tuple = ()
    labels: tuple = ()

    def read(self):
        images = torch.zeros(len(self.labels), 1, 2, 2, dtype=torch.uint8)
        whole = MemorySplit.whole(images, np.array(self.labels))
        return Source([*self.names], whole, whole, direct((2, 2), "L"))

    def fingerprint(self):
        return ""


def arrays(tmp_path, **changed):
    return Arrays(path=str(write_npz(tmp_path / "a.npz", **changed))).build(FACTS)


def manifest(tmp_path, rows, columns=("path", "label")):
    for row in rows:
        save_image(tmp_path / row[0], seed=len(row[0]))
    with (tmp_path / "rows.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return ImageFolder(manifest=str(tmp_path / "rows.csv"), size=8)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "one class only"),
        (("cat",), "one class only (cat), there is nothing to tell apart"),
        (("cat", "dog", "cat"), "two classes look the same, 'cat' and 'cat'"),
        (("cat", " cat"), "two classes look the same"),
        (("caf\u00e9", "cafe\u0301"), "two classes look the same"),
        (("cat", b"dog"), "a class is called b'dog'; name it with text"),
        (("cat", 3), "a class is called 3; name it with text"),
        (("cat", " "), "a class is called ' '; name it with text"),
        (("cat", "\ud800"), r"class '\ud800' is not UTF-8"),
    ],
)
def test_names_that_cannot_be_told_apart_are_refused(names, message):
    with pytest.raises(AugcompressError, match=f"^data: {re.escape(message)}"):
        Given(names=names, labels=(0, 1, 0, 1)).build(FACTS)


@pytest.mark.parametrize("label", [2, 10**12, -1])
def test_labels_that_are_no_class_are_refused(label):
    with pytest.raises(AugcompressError, match=f"data: label {label}, but there are 2 classes"):
        Given(names=("cat", "dog"), labels=(0, 1, 0, label)).build(FACTS)


def test_one_class_is_refused_in_every_format(tmp_path):
    table = write_parquet(tmp_path / "set", {"train": 8, "test": 4}, label=[0])
    rows = [(f"{number}.png", "cat") for number in range(4)]
    builds = [
        lambda: arrays(tmp_path, y_train=np.zeros(60, int), y_test=np.zeros(30, int)),
        lambda: HuggingFace(path=str(table), size=8).build(FACTS),
        lambda: ImageFolder(
            root=str(write_folder(tmp_path / "f", {"": 9}, ("cat",))), size=8
        ).read(),
        lambda: manifest(tmp_path, rows).build(FACTS),
    ]
    for build in builds:
        with pytest.raises(AugcompressError, match="one class only"):
            build()


@pytest.mark.parametrize("largest", [60, 10**6, 10**12, 2**63])
def test_array_labels_far_beyond_the_images_are_refused_at_once(tmp_path, largest):
    labels = np.arange(60, dtype=np.uint64) % 3
    labels[5] = largest
    with pytest.raises(AugcompressError, match=f"label {largest}, but 60 training images; number"):
        arrays(tmp_path, y_train=labels)


def test_names_stored_as_bytes_are_text(tmp_path):
    names = np.array(["Äpfel".encode(), b"dog", b"emu"])
    assert arrays(tmp_path, classes=names).classes == ["Äpfel", "dog", "emu"]
    with pytest.raises(AugcompressError, match=r"class 'caf\\udce9' is not UTF-8; rename it"):
        arrays(tmp_path, classes=np.array([b"caf\xe9", b"dog", b"emu"]))
    with pytest.raises(AugcompressError, match="label 2, but classes names 1"):
        arrays(tmp_path, classes=np.array("abc"))
    names = [f"{number}.png" for number in range(20)]
    for number, name in enumerate(names):
        save_image(tmp_path / name, number)
    rows = {"path": [n.encode() for n in names], "label": [b"cat", b"dog"] * 10}
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet")
    data = ImageFolder(manifest=str(tmp_path / "rows.parquet"), size=8).build(FACTS)
    assert data.classes == ["cat", "dog"]


def test_large_numbers_are_names_like_others_in_a_manifest(tmp_path):
    labels = ["1000000000000", "7", "9" * 5000]
    rows = [(f"{number}.png", labels[number % 3]) for number in range(30)]
    data = manifest(tmp_path, rows).build(FACTS)
    assert sorted(data.classes) == sorted(labels)
    assert manifest(tmp_path, [r for r in rows if len(r[1]) < 99]).read().classes == [
        "7",
        labels[0],
    ]


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (("x_train", "x_val", "x_test"), (60, 12, 30)),
        (("X_Train", "X_dev", "X_eval"), (60, 12, 30)),
        (("x_train", "x_valid", None), (54, 6, 12)),
    ],
)
def test_arrays_by_other_names_are_recognised(tmp_path, names, sizes):
    found = {}
    for name, count in zip(names, (60, 12, 30), strict=True):
        if name is not None:
            found[name] = pixels(count, 6, 5, 3, seed=count)
            found[name.replace("x", "y").replace("X", "Y", 1)] = np.arange(count) % 3
    np.savez(tmp_path / "a.npz", **found)
    data = Arrays(path=str(tmp_path / "a.npz")).build(FACTS)
    assert (len(data.train), len(data.validation), len(data.test)) == sizes


def test_arrays_that_are_no_part_are_said(tmp_path):
    data = arrays(tmp_path, x_holdout=pixels(3, 6, 5, 3), y_holdout=np.arange(3), other=[1])
    assert data.notes == ["data: no part, and not used: holdout"]


def test_arrays_of_one_meaning_are_refused(tmp_path):
    twice = {
        f"{x}_{part}": v
        for part in ("val", "dev")
        for x, v in (("x", pixels(3, 6, 5, 3)), ("y", np.arange(3)))
    }
    with pytest.raises(AugcompressError, match="val and dev both mean the validation part"):
        arrays(tmp_path, **twice)


@pytest.mark.parametrize("columns", [("path", "label", "split"), ("Path", " Label", "SPLIT")])
def test_manifest_splits_by_other_names(tmp_path, columns):
    parts = ["Training"] * 8 + ["VAL"] * 4
    rows = [(f"{n}.png", "ab"[n % 2], part) for n, part in enumerate(parts)]
    for number, row in enumerate(rows):
        save_image(tmp_path / row[0], number)
    data = manifest(tmp_path, rows, columns).build(FACTS)
    assert len(data.train) + len(data.validation) == 8
    assert len(data.test) == 4
    assert data.notes[0].startswith("data: there is no test part: the validation images are it")


@pytest.mark.parametrize(
    ("split", "missing"), [("train", "test and no validation"), ("val", "train"), ("test", "train")]
)
def test_manifest_of_one_part_is_refused(tmp_path, split, missing):
    rows = [(f"{n}.png", "ab"[n % 2], split) for n in range(4)]
    settings = manifest(tmp_path, rows, ("path", "label", "split"))
    with pytest.raises(AugcompressError, match=rf"rows\.csv: no {missing} image; add some"):
        settings.build(FACTS)


def test_manifest_that_lists_a_file_by_a_link_is_like_a_folder(tmp_path):
    rows = [(f"{n}.png", "ab"[n % 2]) for n in range(12)]
    manifest(tmp_path, rows)
    (tmp_path / "link.png").symlink_to("0.png")
    (tmp_path / "rows.csv").write_text(
        "path,label\n" + "".join(f"{path},{label}\n" for path, label in [*rows, ("link.png", "a")])
    )
    settings = ImageFolder(manifest=str(tmp_path / "rows.csv"), size=8)
    assert "1 links lead to images that are there already" in settings.build(FACTS).notes[0]
    (tmp_path / "rows.csv").write_text((tmp_path / "rows.csv").read_text()[:-2] + "b\n")
    with pytest.raises(
        AugcompressError, match=r"0\.png and link\.png are one file, by a link, und"
    ):
        settings.build(FACTS)
