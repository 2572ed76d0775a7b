"""Folders as people have them: parts by other names, other depths, links, files of other kinds."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
from datasets_sources import save_image, write_folder
from PIL import Image

from augcompress.datasets import DataFacts
from augcompress.datasets.image_folder import ImageFolder
from augcompress.errors import AugcompressError

FACTS = DataFacts(seed=0)


def read(root, **settings):
    return ImageFolder(**({"root": str(root), "size": 8} | settings)).build(FACTS)


def sizes(data) -> list[int]:
    return [len(part) for part in (data.train, data.validation, data.test)]


def refused(root) -> str:
    with pytest.raises(AugcompressError, match=r"; .*") as caught:
        read(root)
    with pytest.raises(AugcompressError, match=re.escape(str(caught.value))):
        ImageFolder(root=str(root), size=8).fingerprint()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"train": 20, "val": 5, "test": 10}, [40, 10, 20]),
        ({"Training": 20, "Valid": 5, "Testing": 10}, [40, 10, 20]),
        ({"TRAIN": 20, "dev": 5, "eval": 10}, [40, 10, 20]),
        ({"train_set": 20, "development": 5, "testset": 10}, [40, 10, 20]),
        ({"train2017": 20, "val2017": 5}, [36, 4, 10]),
        ({"Train": 20, "Validation": 5}, [36, 4, 10]),
        ({"train": 20, "val": 5}, [36, 4, 10]),
        ({"Training": 20, "Testing": 10}, [36, 4, 20]),
        ({"seg_train": 20, "seg_test": 10}, [36, 4, 20]),
        ({"MyTrainSet": 20, "MyTestSet": 10, "MyValSet": 5}, [40, 10, 20]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_parts_are_recognised_by_other_names(tmp_path, parts, expected):
    data = read(write_folder(tmp_path / "s", parts))
    assert data.classes == ["cat", "dog"]
    assert sizes(data) == expected
    told = " ".join(data.notes)
    for name in parts:
        assert (f"{name} is the " in told) == (name not in ("train", "test"))
    assert ("there is no test part: the validation images are it" in told) == (
        len(parts) == 2 and expected[2] == 10
    )


def test_fixed_parts_are_the_images_of_their_folders(tmp_path):
    data = read(write_folder(tmp_path / "s", {"Training": 9, "VAL": 5, "Eval": 3}))
    for part, name in (("train", "Training"), ("validation", "VAL"), ("test", "Eval")):
        split = getattr(data, part)
        assert {split.files[row].parts[-3] for row in split.index} == {name}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": 3}, "has train/ but no test/; add it, or give the folder of the classes"),
        ({"test": 3}, "has test/ but no train/"),
        ({"Test": 3, "val": 3}, "has Test, val/ but no train/"),
        ({"train": 3, "val": 3, "valid": 3}, "val and valid both mean the validation part"),
        ({"train": 3, "Train": 3, "test": 3}, "Train and train both mean the train part"),
        ({"train": 3, "test": 3, "holdout": 3}, "holdout/ has classes of train/ and no name of"),
        ({"a/train": 3, "a/test": 3}, "the parts lie below a/; give the folder that holds train/"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_parts_that_cannot_be_told_are_refused(tmp_path, parts, message):
    told = refused(write_folder(tmp_path / "s", parts))
    assert message in told
    assert "both mean" in told or "found s/{" in told


def test_classes_that_are_divided_each_are_refused(tmp_path):
    root = write_folder(tmp_path / "s", {"": 3}, classes=("cat/train", "cat/test", "dog/train"))
    assert "the parts lie below cat/" in refused(root)


def test_parts_without_class_folders_are_refused_with_what_was_found(tmp_path):
    root = write_folder(tmp_path / "s", {"": 3}, classes=("Training", "Testing"))
    assert refused(root).endswith("found s/{Testing/{3 images}, Training/{3 images}}")
    labelled = write_folder(tmp_path / "t", {"train": 3, "val": 2})
    write_folder(labelled, {"": 4}, classes=("test",))
    assert "test has no class folders" in refused(labelled)


@pytest.mark.parametrize("classes", [("bus", "car", "train"), ("invalid", "valid"), ("dev", "val")])
def test_words_for_parts_may_be_classes(tmp_path, classes):
    assert read(write_folder(tmp_path / "s", {"": 9}, classes=classes)).classes == list(classes)


def test_classes_with_words_for_parts_among_others_are_classes(tmp_path):
    classes = ("bus test", "car test", "car train")
    root = write_folder(tmp_path / "s", {"": 9}, [f"{name}/deep" for name in classes])
    assert read(root).classes == list(classes)


@pytest.mark.parametrize(
    ("made", "tree"),
    [
        ({"nest/pets": 4}, "s/{nest/{pets/{cat/{4 images}, dog/{4 images}}}}"),
        ({"train/pets": 4, "test/pets": 2}, "train/{pets/{cat/{4 images}, dog/{4 images}}}"),
    ],
)
def test_a_level_too_many_is_shown(tmp_path, made, tree):
    told = refused(write_folder(tmp_path / "s", made))
    assert "one class only" in told
    assert tree in told


def test_a_level_too_many_says_where_the_classes_may_be(tmp_path):
    root = write_folder(tmp_path / "nest", {"my-images": 5}, classes=("cat", "dog", "emu"))
    told = refused(root)
    assert "one class only (my-images)" in told
    assert f"{root}/my-images perhaps" in told


def test_a_level_too_few_is_shown(tmp_path):
    for number in range(3):
        save_image(tmp_path / "s" / f"{number}.png", number)
    assert "no image in s/{3 images}; put images into one folder" in refused(tmp_path / "s")


def test_long_trees_are_cut_short(tmp_path):
    root = write_folder(tmp_path / "s", {"all": 1}, classes=[f"c{n}" for n in range(9)])
    assert "{all/{c0/{1 images}, c1/{1 images}, c2/{1 images}, c3/{1 images}, 5 more}}" in refused(
        root
    )


def test_classes_that_hold_the_same_folders_are_said(tmp_path):
    data = read(write_folder(tmp_path / "s", {"batch1": 9, "batch2": 9}))
    assert data.classes == ["batch1", "batch2"]
    assert "batch1, batch2 hold the same folders, cat, dog; if those" in data.notes[0]


@pytest.mark.parametrize("own_image", [False, True])
def test_classes_without_an_image_but_in_folders_are_said(own_image, tmp_path):
    root = write_folder(tmp_path / "s", {"animals": 9}, classes=("cat", "dog"))
    write_folder(root, {"plants": 9}, classes=("rose",))
    if own_image:
        save_image(root / "plants" / "0.png", 0)
    said = (
        "data: the classes animals, plants hold folders, cat, dog, rose; if those are the classes"
    )
    assert said in "\n".join(read(root).notes) or own_image
    assert said not in "\n".join(read(root).notes) or not own_image


def test_what_lies_beside_parts_and_classes_is_counted(tmp_path):
    root = write_folder(tmp_path / "s", {"train": 9, "test": 3})
    write_folder(root, {"extra/deep": 2}, classes=("x", "y"))
    for name in ("a.jpg", "train/b.jpg", "test/c.jpg", "readme.txt"):
        save_image(root / name, 1) if name.endswith("jpg") else (root / name).write_text("")
    assert read(root).notes == [
        "data: 5 left out, beside the parts: extra/deep/x/0.png",
        "data: 2 left out, outside of the class folders: train/b.jpg",
    ]


def test_other_endings_are_read_or_counted(tmp_path):
    root = write_folder(tmp_path / "s", {"": 12})
    for number, (ending, kind) in enumerate(
        [(".jfif", "JPEG"), (".JPE", "JPEG"), (".avif", "AVIF"), (".jp2", "JPEG2000")]
    ):
        Image.new("RGB", (9, 7), (9 * number, 0, 0)).save(root / "cat" / f"x{ending}", kind)
    for name in ("a.heic", "b.HEIC", "c.txt", "d.tga", "e", "f.cr2", "g.xml", ".DS_Store"):
        (root / "dog" / name).write_bytes(b"x")
    data = read(root)
    assert sum(sizes(data)) == 28
    assert data.notes == [
        "data: 7 files left out, no images by their endings: 2 .heic, 1 .txt, 1 .tga,"
        " 1 without ending, 2 others"
    ]


def test_a_class_of_other_endings_only_says_so(tmp_path):
    root = write_folder(tmp_path / "s", {"": 5})
    (root / "emu").mkdir()
    for number in range(3):
        (root / "emu" / f"{number}.heic").write_bytes(b"x")
    assert re.search(r"class folder .*emu has no image but 3 \.heic; add", refused(root))


LOOPS = {"cat/up": "..", "dog/up": "..", "cat/top": "../..", "cat/self": "."}


@pytest.mark.parametrize("part", ["", "train/"])
def test_links_that_lead_back_give_every_image_once(tmp_path, part):
    root = write_folder(tmp_path / "s", {"train": 20, "test": 3} if part else {"": 20})
    before = read(root)
    for link, target in LOOPS.items():
        (root / part / link).symlink_to(target)
    (root / part / "above").symlink_to("..")
    data = read(root)
    assert sizes(data) == sizes(before)
    assert data.train.hashes() == before.train.hashes()
    assert data.notes == [
        "data: 5 left out, a link to a folder above or to one that is read already: "
        + part
        + "above"
    ]


def test_links_to_a_pool_are_followed_each_file_once(tmp_path):
    pool = write_folder(tmp_path / "pool", {"": 20})
    root = tmp_path / "s"
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for file in sorted((pool / label).iterdir()):
            (root / label / file.name).symlink_to(file)
            (root / label / f"again-{file.name}").symlink_to(file)
    (root / "cat" / "all").symlink_to(pool / "cat")
    data = read(root)
    assert sum(sizes(data)) == 40
    assert data.notes == [
        "data: 60 links lead to images that are there already and are left out: cat/again-0.png"
    ]


@pytest.mark.parametrize("link", ["cat/more", "more"])
def test_a_file_under_two_classes_by_a_link_is_refused(tmp_path, link):
    root = write_folder(tmp_path / "s", {"": 5})
    (root / link).symlink_to(root / "dog")
    assert re.search(r"(more|dog)/\S+ are one file, by a link, under two classes", refused(root))


def test_a_part_that_links_to_another_is_counted_as_copies(tmp_path):
    root = write_folder(tmp_path / "s", {"train": 20})
    (root / "test").symlink_to("train")
    data = read(root)
    assert sizes(data) == [36, 4, 40]
    assert (data.copies.test_in_train, data.copies.test_in_validation) == (36, 4)


def test_what_is_no_regular_file_is_counted_and_a_broken_link_refused(tmp_path):
    root = write_folder(tmp_path / "s", {"": 12})
    os.mkfifo(root / "cat" / "pipe.png")
    (root / "dog" / "zero.png").symlink_to("/dev/zero")
    data = read(root)
    assert sum(sizes(data)) == 24
    assert data.notes == ["data: 2 left out, no regular file: cat/pipe.png"]
    (root / "dog" / "gone.png").symlink_to("nowhere.png")
    assert "dog/gone.png: a link to nothing; restore what it points to" in refused(root)


def test_a_class_folder_that_is_not_utf8_is_refused_at_reading(tmp_path):
    root = write_folder(tmp_path / "s", {"": 5})
    os.rename(os.fsencode(root / "cat"), os.fsencode(root) + b"/caf\xe9")
    assert refused(root) == r"data: class 'caf\udce9' is not UTF-8; rename it"


def test_order_and_draws_are_those_of_the_plain_folder(tmp_path):
    """What links and other files there are does not change which images are drawn."""
    plain = read(write_folder(tmp_path / "s", {"": 20}))
    (tmp_path / "s" / "cat" / "up").symlink_to("..")
    (tmp_path / "s" / "dog" / "notes.txt").write_text("")
    again = read(tmp_path / "s")
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(plain, part).index, getattr(again, part).index)
