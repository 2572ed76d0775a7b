"""A recipe written for a folder: what it says of the images, that it runs, and bare words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from end_to_end import done, invoke, write_recipe
from PIL import Image

from augcompress.errors import AugcompressError
from augcompress.spec import load, propose_recipe


def images(root: Path, counts: dict[str, int], size=(40, 48), mode="L") -> Path:
    random = np.random.default_rng(0)
    for number, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for each in range(count):
            pixels = random.integers(0, 100, (size[1], size[0], 3), np.uint8) + 50 * number
            Image.fromarray(pixels.astype("uint8")).convert(mode).save(root / name / f"{each}.png")
    return root


def proposed(tmp_path: Path, data: Path):
    name, text = propose_recipe(data, str(data))
    (tmp_path / "r.yaml").write_text(text)
    return load(tmp_path / "r.yaml")[0], text, name


def test_grey_images_without_parts(tmp_path):
    spec, text, name = proposed(tmp_path, images(tmp_path / "My pets", {"cat": 40, "dog": 40}))
    assert name == spec.name == "my-pets"
    assert (spec.data.mode, spec.data.size) == ("L", 40)
    assert text.startswith("# my-pets: 64 training + 16 test images, grey, 2 classes (cat, dog).\n")
    assert "# No test and no validation part is there" in text
    assert [one.kind for one in spec.augment.pipeline] == ["affine"]
    assert spec.augment.sampling.class_balance is None
    assert spec.stages() == ("augment", "train_teacher", "distill", "quantize", "export")


def test_large_colour_photographs_in_parts_of_uneven_classes(tmp_path):
    data = tmp_path / "set"
    for part, share in (("train", 3), ("val", 1), ("test", 2)):
        images(data / part, {"a": 4 * share, "b": share}, (180, 150), "RGB")
    spec, text, _ = proposed(tmp_path, data)
    assert (spec.data.mode, spec.data.size) == ("RGB", 64)
    assert "# set: 15 training + 5 validation + 10 test images, colour, 2 classes (a, b)." in text
    assert "The parts are those of the data." in text
    assert "150 pixels: 64 are trained on in minutes on a CPU" in text
    assert "has 12 training images, the smallest 3: rare ones" in text
    assert spec.augment.sampling.class_balance.kind == "square_root"
    assert [one.kind for one in spec.augment.pipeline][1:] == ["horizontal_flip", "color_jitter"]
    assert "pretrained: true" in text


def test_parts_without_a_test(tmp_path):
    for part in ("train", "val"):
        images(tmp_path / "set" / part, {"a": 9, "b": 9}, (12, 12), "RGB")
    _, text, _ = proposed(tmp_path, tmp_path / "set")
    assert "No test part is there: the validation part is tested on" in text
    assert "12 pixels: they are used as large as they are" in text


def test_grey_pictures_saved_in_colour_are_grey(tmp_path):
    data = images(tmp_path / "set", {"a": 9, "b": 9}, mode="L")
    for file in data.glob("*/*.png"):
        Image.open(file).convert("RGB").save(file)
    assert proposed(tmp_path, data)[0].data.mode == "L"


def test_other_kinds_of_data_are_recognised(tmp_path):
    arrays = tmp_path / "some.npz"
    x, y = np.zeros((20, 8, 8), np.uint8), np.arange(20) % 2
    np.savez(arrays, x_train=x, y_train=y, x_test=x[:6], y_test=y[:6])
    spec, text, _ = proposed(tmp_path, arrays)
    assert (spec.data.kind, spec.data.path) == ("arrays", str(arrays))
    assert "# some: 20 training + 6 test images, grey" in text
    table = images(tmp_path / "set", {"a": 9, "b": 9}) / "labels.csv"
    table.write_text("path,label\n" + "".join(f"{c}/{i}.png,{c}\n" for c in "ab" for i in range(9)))
    assert proposed(tmp_path, table)[0].data.manifest == str(table)


@pytest.mark.parametrize(
    ("counts", "what"),
    [({}, "no image in set/"), ({"a": 3}, "one class only"), (None, "no such folder or file")],
)
def test_what_cannot_be_learned_from_is_an_error(tmp_path, counts, what):
    if counts is not None:
        images(tmp_path / "set", counts)
        (tmp_path / "set").mkdir(exist_ok=True)
    with pytest.raises(AugcompressError, match=what):
        propose_recipe(tmp_path / "set", "set")


def test_init_writes_paths_that_start_at_the_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images(tmp_path / "pets", {"cat": 9, "dog": 9})
    (tmp_path / "sub").mkdir()
    assert done("init", "--data", "pets", "--to", "sub/r.yaml").out == "sub/r.yaml\n"
    assert 'root: "../pets"' in (tmp_path / "sub/r.yaml").read_text()
    assert load(tmp_path / "sub/r.yaml")[0].data.read().classes == ["cat", "dog"]
    assert "is already there" in invoke("init", "--data", "pets", "--to", "sub/r.yaml").error
    assert invoke("init", "digits.yaml", "--data", "pets").code == 2


def test_run_of_a_folder_leaves_its_recipe_and_takes_bare_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images(tmp_path / "pets", {"cat": 12, "dog": 12})
    line = ("run", "--data", "pets", "epochs=1", "batch=8", "device=cpu", "imgsz=16", "seed=3")
    done(*line, "--dry-run")
    assert not (tmp_path / "runs").exists()
    done(*line, "--until", "train-teacher", "--allow-chance")
    spec = json.loads((tmp_path / "runs/pets/spec.json").read_text())
    training = spec["distill"]["training"]
    assert (training["epochs"], training["batch_size"], spec["seed"]) == (1, 8, 3)
    assert spec["data"]["size"] == 16
    assert (tmp_path / "runs/pets/recipe.yaml").read_text().startswith("# pets: 19 training")
    wrong = invoke("run", "--data", "pets", "-r", "digits.yaml")
    assert (wrong.code, "--data: has no meaning beside --recipe" in wrong.error) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tiny.yaml"], "tiny.yaml: is no KEY=VALUE; a recipe is given by --recipe tiny.yaml"),
        (["-r", "tiny.yaml", "lr=3"], "lr: unknown key; did you mean train_teacher.training."),
        (["-r", "tiny.yaml", "epochs=x"], "epochs: unknown key"),
        (["-r", "tiny.yaml", "=3"], "=3: is no KEY=VALUE"),
        ([], "--recipe: is missing; name a recipe's file"),
    ],
)
def test_bare_words_that_say_nothing(place, words, said):
    write_recipe(place)
    answer = invoke("run", *words, "--dry-run")
    assert (answer.code, said in answer.error) == (2, True), answer.error


def test_bare_words_are_overrides_for_every_stage(place):
    write_recipe(place)
    for command in ("run", "train-teacher", "distill", "prune", "export"):
        done(command, "-r", "tiny.yaml", "distill.training.epochs=2", "name=other", "--dry-run")
