"""Stages in a shell decode the images once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from end_to_end import artifacts, done, entries, measured, training, write_recipe
from PIL import Image

STORE = Path("runs/.store")


def drawn(folder: Path) -> None:
    """A folder per class: dark and light noise, one file that is none, and a copy."""
    draw = np.random.default_rng(0)
    for level, label in ((60, "dark"), (190, "light")):
        for number in range(60):
            file = folder / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = draw.normal(level, 20, (8, 8, 3)).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(file)
    shutil.copy(folder / "dark" / "0.png", folder / "light" / "copy.png")
    (folder / "light" / "broken.png").write_bytes(b"no image")


def on_a_folder(recipe) -> None:
    recipe["data"] = {"kind": "image_folder", "root": "images", "size": 8, "corrupt": "skip"}
    recipe["train_teacher"]["training"] = training(2)
    recipe["distill"]["training"] = training(2)


@pytest.fixture(autouse=True)
def folder(place) -> None:
    """A folder with images, and a recipe for them."""
    drawn(place / "images")
    write_recipe(place, on_a_folder)


def of_the_data(text: str) -> list[str]:
    return [line for line in text.splitlines() if "data" in line]


def test_the_second_stage_decodes_nothing_and_all_is_as_without_a_store(decoded):
    first = done("train-teacher", "-r", "tiny.yaml")
    assert len(set(decoded)) == 122
    decoded.clear()
    second = done("distill", "-r", "tiny.yaml")
    assert decoded == []
    told = of_the_data(first.err)
    assert of_the_data(second.err) == told[:2]  # notes come once
    assert any("1 unreadable images skipped: light/broken.png" in line for line in told)
    assert any("1 images stand under two classes" in line for line in told)
    (stored,) = entries(STORE, "decoding")
    assert (stored / "images.npy").stat().st_size == 128 + 121 * 3 * 8 * 8

    for stage in ("train-teacher", "distill"):  # the images of one stage are of no use to the next
        done(stage, "-r", "tiny.yaml", "--run-dir", "elsewhere/tiny")
        shutil.rmtree(entries(Path("elsewhere/.store"), "decoding")[0])
    assert artifacts(Path("runs/tiny")) == artifacts(Path("elsewhere/tiny"))
    assert measured(Path("runs/tiny")) == measured(Path("elsewhere/tiny"))


def test_what_changes_is_decoded_anew(decoded, place):
    folder, teacher = place / "images", ("train-teacher", "-r", "tiny.yaml")
    done(*teacher)

    def other_bytes() -> None:
        (folder / "light" / "1.png").write_bytes((folder / "light" / "2.png").read_bytes())

    def another_label() -> None:
        (folder / "light" / "1.png").rename(folder / "dark" / "one.png")

    for change, size in ((other_bytes, 8), (another_label, 8), (lambda: None, 9)):
        change()
        decoded.clear()
        done(*teacher, "--set", f"data.size={size}")
        assert len(decoded) >= 121
    assert len(entries(STORE, "decoding")) == 4


def test_a_damaged_entry_is_said_and_clean_takes_it(decoded):
    done("train-teacher", "-r", "tiny.yaml")
    (stored,) = entries(STORE, "decoding")
    with (stored / "images.npy").open("r+b") as file:
        file.truncate(5000)
    answer = done("distill", "-r", "tiny.yaml")
    assert f"{stored.name}: images.npy has 5000 bytes and was written with" in answer.err
    assert len(entries(STORE, "decoding")) == 1
    done("runs", "clean")
    assert entries(STORE, "decoding") == []
    assert len(entries(STORE)) == 2
