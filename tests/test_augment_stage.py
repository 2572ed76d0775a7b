"""`augment`: pictures, previews, offline copies that can be resumed, and what they are read as."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from end_to_end import done, files, invoke, measured, write_recipe
from PIL import Image

from augcompress.augmentations import build_pipeline
from augcompress.augmenting import offline
from augcompress.augmenting import offline as writers
from augcompress.augmenting.offline import class_folders, source_names, write_copies
from augcompress.batch import Progress
from augcompress.datasets import Batches, DataFacts
from augcompress.errors import AugcompressError
from augcompress.running.context import Context
from augcompress.spec import load
from augcompress.spec.sections import Offline
from augcompress.storage.files import remove_path
from augcompress.storage.run_directory import RunDir

RUN = Path("runs/tiny")
FLIP_AND_TURN = [{"kind": "horizontal_flip"}, {"kind": "affine", "degrees": 10}]
MIXED = [{"kind": "affine", "degrees": 10}, {"kind": "mixup", "alpha": 1.0}]


def recipe(folder, pipeline=FLIP_AND_TURN, **augment) -> str:
    """A tiny recipe of digits with these augmentations."""

    def change(raw):
        raw["augment"] = {"pipeline": pipeline, **augment}

    return str(write_recipe(folder, change))


def context_of(path, *overrides) -> Context:
    """What the stage is given."""
    spec, _ = load(path, overrides)
    return Context(spec, RunDir(RUN), path)


def lines_of(manifest: Path) -> list[dict]:
    return [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]


def place_of(data, line: dict) -> torch.Tensor:
    """Where the image of a line stands in the training split."""
    return torch.from_numpy(np.flatnonzero(data.train.index == line["source"]))


def redrawn(context: Context, line: dict) -> np.ndarray:
    """The copy that a line of the manifest describes, made from its words alone."""
    data, spec = context.data, context.spec
    everything = Batches(data.train, len(data.classes), len(data.train), shuffle=False, seed=0)
    batch = next(iter(everything.epoch(0))).take(place_of(data, line))
    pipeline = build_pipeline(list(spec.augment.pipeline), context.augmentation_facts)
    seen = pipeline(batch, seed=line["seed"], progress=Progress(epoch=line["epoch"]))
    return seen.images().mul(255).round().byte().numpy()[0]


@pytest.mark.parametrize("form", ["npz", "folder"])
def test_copies_are_what_their_manifest_says(place, form):
    path = recipe(place, offline={"copies": 2, "format": form})
    done("augment", "-r", path)
    context, folder = context_of(path), RUN / "augment"
    lines = lines_of(folder / "manifest.jsonl")
    train = context.data.train
    assert [line["epoch"] for line in lines].count(1) == len(train) == len(lines) / 2
    assert sorted(line["source"] for line in lines) == sorted([*train.index, *train.index])
    stored = np.load(folder / "augmented.npz")["x_train"] if form == "npz" else None
    for line in lines[::97]:
        if stored is not None:
            found = stored[line["row"]]
        else:
            found = np.asarray(Image.open(folder / "copies" / line["file"]))[None]
        np.testing.assert_array_equal(found, redrawn(context, line))


def test_manifest_names_the_parameters_drawn(place):
    path = recipe(place, offline={"copies": 1})
    done("augment", "-r", path)
    lines = lines_of(RUN / "augment/manifest.jsonl")
    flips, turns = zip(*(line["operations"] for line in lines), strict=True)
    assert {flip["kind"] for flip in flips} == {"horizontal_flip"}
    assert 0.3 < np.mean([flip["chosen"] for flip in flips]) < 0.7
    degrees = [turn["degrees"] for turn in turns]
    assert max(map(abs, degrees)) <= 10
    assert np.std(degrees) == pytest.approx(10 / 3**0.5, rel=0.15)  # even in -10..10
    assert set(turns[0]) == {"kind", "chosen", "degrees", "right", "down", "scale", "shear"}


@pytest.mark.parametrize("form", ["npz", "folder"])
def test_a_run_on_copies_has_the_same_validation_and_test_images(place, form):
    path = recipe(place, offline={"copies": 1, "format": form})
    done("augment", "-r", path)
    context, folder = context_of(path), RUN / "augment"
    data = {
        "npz": {"kind": "arrays", "path": str(folder / "augmented.npz")},
        "folder": {
            "kind": "image_folder",
            "root": str(folder / "copies"),
            "size": [8, 8],
            "mode": "L",
        },
    }[form]
    read = context_of(path, f"data={json.dumps(data)}").spec.data
    for seed in (0, 1):  # whatever the seed: nothing is cut again
        copies = read.build(DataFacts(seed=seed))
        assert copies.classes == context.data.classes
        for part in ("validation", "test"):
            ours, theirs = getattr(context.data, part), getattr(copies, part)
            assert images_by_label(ours) == images_by_label(theirs)
    with pytest.raises(AugcompressError, match=r"^data\.folds: these data bring validation"):
        read.model_copy(update={"folds": 3}).build(DataFacts(seed=0))


def images_by_label(split) -> list[tuple[int, bytes]]:
    images = split.fetch(np.arange(len(split))).numpy()
    return sorted((int(k), i.tobytes()) for k, i in zip(split.labels, images, strict=True))


class Interrupted(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("form", ["npz", "folder"])
@pytest.mark.parametrize("killed_in", ["keep", "finish"])
def test_a_killed_job_goes_on_and_ends_with_the_same_bytes(place, monkeypatch, form, killed_in):
    monkeypatch.setattr(offline, "BLOCK", 64)
    wanted = Offline(copies=2, format=form)
    context = context_of(recipe(place))
    write_copies(context, wanted, place / "whole")
    where = "keep" if killed_in == "keep" else ("write_pictures" if form == "folder" else "pixels")
    module = offline if killed_in == "keep" else writers
    original, calls = getattr(module, where), []

    def dying(*given):
        calls.append(given)
        result = original(*given)
        if len(calls) == (4 if where != "pixels" else 1):
            raise Interrupted
        return result

    with monkeypatch.context() as patch:
        patch.setattr(module, where, dying)
        with pytest.raises(Interrupted, match=r"^$"):
            write_copies(context, wanted, place / "killed")
    state = place / "killed/state"
    for path in (place / "killed").iterdir():  # what the store does before a stage goes on
        if path != state:
            remove_path(path)
    made, keep = [], offline.keep
    monkeypatch.setattr(offline, "keep", lambda s, n, kept: made.append(n) or keep(s, n, kept))
    write_copies(context, wanted, place / "killed")
    assert made == ([3, 4, 5, 6, 7, 8, 9] if killed_in == "keep" else [])
    finished = {name for name in files(place / "whole") if not name.startswith("state")}
    assert finished <= files(place / "killed")
    for name in finished:
        assert (place / "killed" / name).read_bytes() == (place / "whole" / name).read_bytes()


def test_mixed_copies_keep_their_shares_in_the_archive_and_the_manifest(place):
    path = recipe(place, MIXED, offline={"copies": 1, "format": "folder"})
    answer = done("augment", "-r", path)
    assert "only manifest.jsonl has the shares" in answer.err
    lines = lines_of(RUN / "augment/manifest.jsonl")
    for line in lines[::31]:
        assert sum(line["target"].values()) == pytest.approx(1, abs=1e-5)
        larger = max(line["target"], key=line["target"].get)
        assert line["file"].split("/")[1] == larger
        assert {"share", "partner"} <= set(line["operations"][1])
    done("augment", "-r", path, "--set", "augment.offline.format=npz")
    with np.load(RUN / "augment/augmented.npz") as found:
        assert found["soft_targets"].sum(1) == pytest.approx(np.ones(300))
        np.testing.assert_array_equal(found["y_train"], found["soft_targets"].argmax(1))
        assert (found["soft_targets"].max(1) < 0.9).mean() > 0.5


def test_copies_of_files_name_them(place):
    for part in ("train", "test"):
        for name in ("ape", "bee"):
            folder = place / "images" / part / name
            folder.mkdir(parents=True)
            for number in range(10):
                Image.new("RGB", (8, 8), (number * 20, 0, 90)).save(folder / f"{number}.png")
    data = {"kind": "image_folder", "root": str(place / "images"), "size": 8, "validation": 0.2}
    path = recipe(place, offline={"copies": 1, "format": "folder"})
    done("augment", "-r", path, "--set", f"data={json.dumps(data)}")
    lines = lines_of(RUN / "augment/manifest.jsonl")
    names = {line["source_file"] for line in lines}
    assert len(names) == 16
    assert all((place / "images" / name).is_file() for name in names)
    assert lines[0]["source_file"].startswith("train/")


def test_foreign_files_in_the_target_stop_the_job_before_it_begins(place, monkeypatch):
    path = recipe(place, offline={"copies": 1})
    (RUN / "augment").mkdir(parents=True)
    (RUN / "augment/mine.txt").write_text("precious")
    monkeypatch.setattr(offline, "make_blocks", None)  # calling it would fail
    answer = invoke("augment", "-r", path)
    assert answer.code == 1
    assert "holds files that augcompress did not write: mine.txt; move them away" in answer.error
    assert (RUN / "augment/mine.txt").read_text() == "precious"


def test_folders_of_classes_are_safe_and_differ():
    assert class_folders(["T-shirt/top", "..", "a b"]) == ["T-shirt_top", "_", "a b"]
    with pytest.raises(AugcompressError, match="the classes a/b and A:B would share a folder"):
        class_folders(["a/b", "A:B"])


def test_preview_draws_pictures_and_leaves_nothing_else(place):
    path = recipe(place)
    answer = done("augment", "-r", path, "--preview")
    pictures = {"runs/tiny/before_after.png", "runs/tiny/contact_sheet.png"}
    assert set(answer.out.split()) == pictures
    assert files(place) == pictures | {"tiny.yaml"}
    told = json.loads(done("augment", "-r", path, "--preview", "--json").out)
    assert set(told["files"]) == pictures
    assert Image.open(RUN / "before_after.png").format == "PNG"


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--preview", "--measure"], "--preview and --measure exclude each other; give one"),
        (["--preview", "--force"], "--force: has no meaning for augment --preview"),
        (["--measure", "--force"], "--force: has no meaning for augment --measure"),
    ],
)
def test_flags_that_do_not_go_together(place, flags, message):
    answer = invoke("augment", "-r", recipe(place), *flags)
    assert answer.code == 2
    assert message in answer.error


def test_settings_of_measuring_do_not_redo_the_stage(place):
    path = recipe(place)
    done("augment", "-r", path)
    again = done("augment", "-r", path, "--set", "augment.measure.epochs=3", "--json")
    assert again.stages == {"augment": "cached"}


def test_a_safe_choice_gets_no_word(place):
    answer = done("augment", "-r", recipe(place, [{"kind": "affine", "degrees": 30}]))
    assert "labels may not survive" not in answer.err
    assert measured(RUN)["augment"] == []


def test_file_names_that_are_not_utf8_can_be_written_into_the_manifest(tmp_path):
    data = SimpleNamespace(train=SimpleNamespace(files=[tmp_path / "cat" / "caf\udce9.png"]))
    spec = SimpleNamespace(data=SimpleNamespace(root=tmp_path))
    assert source_names(SimpleNamespace(data=data, spec=spec)) == ["cat/caf?.png"]
