"""What users get wrong: one line that says what, and how to mend it; nothing is lost."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from end_to_end import artifacts, done, entries, files, invoke, write_recipe
from PIL import Image
from safetensors.torch import load_file, save_file

from augcompress.stages import quantize

RUN = Path("runs/tiny")
TEACHER_FILE = Path("train_teacher/model.safetensors")
TEACHER = ("train-teacher", "-r", "tiny.yaml")


def refused(code, *arguments):
    """The error line of a command that must fail."""
    answer = invoke(*arguments)
    assert answer.code == code, answer.err
    assert answer.out == ""
    return answer.error.removeprefix("error: ")


@pytest.mark.parametrize(
    "change, message",
    [
        ("distill.training.epoch=3", "distill.training.epoch: unknown key; did you mean epochs?"),
        ("distil.training=3", "distil: unknown key; did you mean distill?"),
        (
            "train_teacher.model.width=3",
            "train_teacher.model.width: unknown key; did you mean widths?",
        ),
        (
            "train_teacher.training.epochs=many",
            'train_teacher.training.epochs: "many" is no whole number; give one',
        ),
        ("data.validation=2", "data.validation: 2 is too large; give less than 1"),
        (
            "prune.steps.0.kind=channel",
            "prune.steps.0.kind: unknown 'channel'; did you mean channels? known: magnitude,"
            " channels, static_int8, plugin",
        ),
        ("version=2", "version: 2 does not fit; give 1"),
        (
            "train_teacher.training.optimizer.lr=0",
            "train_teacher.training.optimizer.lr: 0 is too small; give more than 0",
        ),
        (
            "train_teacher.training.epochs=0",
            "train_teacher.training.epochs: 0 is too small; give at least 1",
        ),
        (
            "train_teacher.training.schedule={kind: cosine, warmup: 50}",
            "train_teacher.training.schedule.warmup: 50 epochs are not less than the 6 "
            "epochs of training; lower it",
        ),
        (
            "train_teacher.training.accumulation=3",
            "train_teacher.training.accumulation: 3 does not divide batch_size 32 evenl"
            "y; change one of them",
        ),
        (
            "train_teacher.training.freeze={epochs: 50}",
            "train_teacher.training.freeze: all layers learn from epoch 51 on and there"
            " are 6 epochs; lower freeze.epochs or freeze.steps, or set freeze.epochs: n"
            "ull to train the head only",
        ),
        (
            "train_teacher.training.optimizer.kind=adam",
            "train_teacher.training.optimizer.kind: unknown 'adam'; did you mean adamw? known: sgd,"
            " adamw, rmsprop, lars",
        ),
        (
            "train_teacher.training.select_by=top2",
            'train_teacher.training.select_by: unknown "top2"; did you mean top5? known: top1,'
            " top5, balanced_accuracy, macro_f1, roc_auc, nll, ece",
        ),
        ("train_teacher=null", "pipeline: train_teacher has no section; write one or leave it out"),
        (
            "train_teacher.training=null",
            "train_teacher: training is null and there are no weights; give one of the two",
        ),
    ],
)
def test_wrong_field(place, change, message):
    def ordered(recipe):
        recipe["pipeline"] = ["train_teacher", "distill"]

    write_recipe(place, ordered)
    assert refused(2, "run", "-r", "tiny.yaml", "--set", change) == message
    assert files(place) == {"tiny.yaml"}


def test_two_wrong_fields_are_both_named(place):
    write_recipe(place)
    wrong = ("--set", "seed=-1", "--set", "distill.taecher=1")
    told = refused(2, "run", "-r", "tiny.yaml", *wrong)
    assert "seed: -1 is too small; give at least 0" in told
    assert "distill.taecher: unknown key" in told


@pytest.mark.parametrize(
    "change, message",
    [
        ("seed", "--set seed: sets nothing; write section.field=value"),
        ("version.deep=1", "--set version.deep: version is 1, with nothing inside; set version"),
        ("prune.steps.3.macs=0.5", "--set prune.steps.3: the list has no such item; its one"),
        ("prune.steps.first.macs=0.5", "--set prune.steps.first: the list has no such item"),
        ("seed=[1", '--set seed: "[1" cannot be read: line 1 is not YAML'),
    ],
)
def test_set_into_nothing(place, change, message):
    write_recipe(place)
    assert refused(2, "run", "-r", "tiny.yaml", "--set", change).startswith(message)


def test_recipe_that_is_not_there(place):
    assert refused(2, "run", "-r", "digit.yaml") == (
        "digit.yaml: no such file, and no shipped recipe has that name; did you mean digits.yaml?"
    )


@pytest.mark.parametrize(
    "text, message",
    [
        ("version: 1\nname: [a\ndata: 3\n", "bad.yaml: line 3 is not YAML"),
        ("version: 1\nseed: 1\nseed: 2\n", "bad.yaml: line 3 is not YAML: found duplicate key"),
        ("just words", "bad.yaml: holds no sections; start from: augcompress init"),
        ("name: \x07\n", "bad.yaml: is not YAML: "),
        (b"name: \xff\n", "bad.yaml: is no text; give a file in YAML, saved as UTF-8"),
        ("", "bad.yaml: holds no sections"),
    ],
)
def test_recipe_that_is_no_yaml(place, text, message):
    (place / "bad.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert refused(2, "run", "-r", "bad.yaml").startswith(message)


def test_environment_variable_that_is_not_set(place, monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    write_recipe(place)
    weights = ("--set", "train_teacher.weights=${NOWHERE}/teacher.pt")
    assert refused(2, *TEACHER, *weights) == (
        "train_teacher.weights: environment variable NOWHERE is not set; export it first"
    )


@pytest.fixture
def pictures(place):
    """Two classes of 20 and 10 pictures in an image folder, and a recipe for it."""
    draw = np.random.default_rng(0)
    for part, count in (("train", 20), ("test", 10)):
        for label, level in (("dark", 60), ("light", 190)):
            folder = place / "pictures" / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(level - 50, level + 50, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")

    def change(recipe):
        recipe["data"] = {"kind": "image_folder", "root": "pictures", "size": 8, "validation": 0.2}
        recipe["train_teacher"]["training"]["batch_size"] = 8

    write_recipe(place, change)
    return place / "pictures"


def test_data_that_are_not_there(pictures):
    pictures.rename(pictures.with_name("moved"))
    told = refused(1, *TEACHER)
    assert told.startswith("data.root:")
    assert told.endswith("pictures: no such folder; check the path")


def test_class_folder_without_images(pictures):
    (pictures / "train" / "empty").mkdir()
    told = refused(1, *TEACHER)
    assert told.endswith("train/empty has no image; add some or remove it")


def test_train_and_test_with_different_classes(pictures):
    (pictures / "test" / "light").rename(pictures / "test" / "bright")
    told = refused(1, *TEACHER)
    assert "train and test have different classes: bright, light" in told


def test_folders_one_level_too_high_are_shown_and_nothing_is_left(pictures):
    Path("nest").mkdir()
    Path("pictures").rename("nest/pictures")
    told = refused(1, *TEACHER, "--set", "data.root=nest")
    assert told.startswith("data.root: the parts lie below pictures/; give the folder that holds")
    assert "found nest/{pictures/{test/{" in told
    assert not (RUN / "train_teacher").exists()


def test_one_corrupt_image_is_named_and_skipped_only_when_told_to(pictures):
    bad = pictures / "train" / "dark" / "7.png"
    bad.write_bytes(bad.read_bytes()[:40])
    assert "train/dark/7.png: not a readable image" in refused(1, *TEACHER)
    answer = done(*TEACHER, "--set", "data.corrupt=skip")
    assert "1 unreadable images skipped: train/dark/7.png" in answer.err
    assert bad.exists()


def test_batch_larger_than_the_data(pictures):
    told = refused(1, *TEACHER, "--set", "train_teacher.training.batch_size=64")
    assert told.startswith(
        "train_teacher.training.batch_size: 64 is more than the 32 training images"
    )


def test_weights_of_another_network(mine):
    weights = ("--set", "train_teacher.weights=runs/tiny/train_teacher/model.safetensors")
    told = refused(1, *TEACHER, *weights, "--set", "train_teacher.model.widths=[8, 16, 16]")
    assert told.startswith("train_teacher.weights: the weights do not fit the network: ")
    assert told.count("is missing") == 3
    assert "; choose the model that they were trained with: " in told


def test_weights_that_are_not_there(place):
    write_recipe(place)
    told = refused(1, *TEACHER, "--set", "train_teacher.weights=absent.pt")
    assert told.endswith("absent.pt: no such file; check the path")


def test_untrained_teacher_with_other_classes_is_refused(mine):
    state = load_file(RUN / "train_teacher" / "model.safetensors")
    head = [name for name, value in state.items() if value.shape[:1] == (10,)]
    body = {n: v[:7] if n in head else v for n, v in state.items() if not n.startswith("normalize")}
    save_file(
        {n.removeprefix("body."): v.contiguous() for n, v in body.items()}, "seven.safetensors"
    )
    given = (*TEACHER, "--set", "train_teacher.weights=seven.safetensors")
    assert "the weights do not fit" in refused(1, *given, "--set", "train_teacher.training=null")
    assert "the head has another class count" in done(*given).err


class Bomb:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return Path.write_text, (Path("exploded"), "boom")


@pytest.mark.parametrize(
    "save", [torch.save, lambda what, path: path.write_bytes(pickle.dumps(what, 2))]
)
def test_pickled_module_is_refused_and_not_run(place, save):
    write_recipe(place)
    save({"model": torch.nn.Linear(2, 2), "bomb": Bomb()}, place / "module.pt")
    told = refused(1, *TEACHER, "--set", "train_teacher.weights=module.pt")
    assert "is no plain state dict" in told
    assert not (place / "exploded").exists()


@pytest.mark.parametrize(
    "name", ["model.safetensors", "model.json"], ids=["damaged weights", "damaged description"]
)
def test_damaged_checkpoint(mine, name):
    given = mine / "given"
    given.mkdir()
    for file in ("model.safetensors", "model.json"):
        (given / file).write_bytes((RUN / "distill" / file).read_bytes())
    (given / name).write_bytes((given / name).read_bytes()[:50])
    told = refused(1, "prune", "-r", "tiny.yaml", "--from", "given/model.safetensors")
    assert "model.safetensors: is no checkpoint of augcompress" in told


def test_file_to_start_from_is_not_there(mine):
    told = refused(1, "prune", "-r", "tiny.yaml", "--from", "absent.safetensors")
    assert told == "absent.safetensors: no such file; check the path"


def test_teacher_that_is_missing(place):
    write_recipe(place)
    assert refused(1, "distill", "-r", "tiny.yaml") == (
        "distill: needs the result of train_teacher with these settings, which is not there;"
        " run: augcompress train-teacher --recipe tiny.yaml"
    )


def test_stage_before_is_missing(mine):
    told = refused(1, "quantize", "-r", "tiny.yaml", "--set", "prune.steps.0.macs=0.5")
    assert told.startswith("quantize: needs the result of prune with these settings")


def test_section_is_missing(place):
    write_recipe(place, lambda recipe: recipe.pop("prune"))
    told = refused(1, "prune", "-r", "tiny.yaml")
    assert told == "prune: the recipe has no such section; add one"


def test_loss_that_is_not_finite(place):
    write_recipe(place)
    wild = ("--set", "train_teacher.training.optimizer.lr=1e30")
    told = refused(1, *TEACHER, *wild)
    assert told.startswith("train_teacher: loss labels is not finite in epoch 1, by step ")
    assert told.endswith("lower training.optimizer.lr or set training.gradient_clip: 1")
    assert not entries(place / "runs" / ".store")


def test_promise_that_cannot_be_kept(mine):
    before = artifacts(mine / RUN)
    tight = ("--set", "export.targets.0.tolerance=1e-12", "--from", "distill")
    told = refused(3, "export", "-r", "tiny.yaml", *tight)
    assert "tolerance" in told
    assert artifacts(mine / RUN)["distill"] == before["distill"]
    assert artifacts(mine / RUN)["export"] == before["export"]


def test_quantised_graph_that_lost_too_much(mine, monkeypatch):
    before = artifacts(mine / RUN)
    answers = quantize.predict_with_onnx

    def worse(path, context):
        answer = answers(path, context)
        return lambda batch: -answer(batch)

    monkeypatch.setattr(quantize, "predict_with_onnx", worse)
    told = refused(3, "quantize", "-r", "tiny.yaml", "--set", "quantize.max_drop=0.05")
    assert told.startswith("quantize.max_drop: validation top-1 fell from 0.")
    assert told.endswith("exclude layers, calibrate on more samples, or raise the limit")
    assert artifacts(mine / RUN) == before


def test_plugin_without_permission(place):
    def change(recipe):
        recipe["train_teacher"]["model"] = {"kind": "plugin", "target": "./net.py:Net"}

    write_recipe(place, change)
    (place / "net.py").write_text("from pathlib import Path\nPath('imported').touch()\n")
    told = refused(1, *TEACHER)
    assert "runs code from a file; if you trust it, add --allow-plugins" in told
    assert not (place / "imported").exists()


@pytest.fixture
def full_disk(place):
    """A mounted disk of 64 KiB; skips where this process may not mount one."""
    disk = place / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"cannot mount a small disk: {error}")
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_full_disk(full_disk, place):
    write_recipe(place)
    run_dir = ("--run-dir", full_disk / "tiny")
    wide = ("--set", "train_teacher.model.widths=[64, 64]")
    told = refused(1, *TEACHER, *wide, *run_dir)
    assert "disk full; free some space (augcompress runs clean) or use another --run-dir" in told
    assert not entries(full_disk / ".store")
    left = [path.name for path in (full_disk / ".store").rglob("*.safetensors")]
    assert left == []
    subprocess.run(["mount", "-o", "remount,size=8m", str(full_disk)], check=True)
    done(*TEACHER, *wide, *run_dir)
    assert len(entries(full_disk / ".store")) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("name", ["fit.pt", "model.safetensors", "stage.json"])
def test_no_space_for_one_file(mine, monkeypatch, number, name):
    before = artifacts(mine / RUN)
    replace = os.replace

    def full(source, target):
        if Path(target).name == name:
            raise OSError(number, os.strerror(number), str(source))
        replace(source, target)

    change = ("--set", "train_teacher.training.epochs=2")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert "disk full; free some space" in refused(1, *TEACHER, *change)
    assert artifacts(mine / RUN) == before
    assert len(entries(mine / "runs" / ".store", "train_teacher")) == 1
    done(*TEACHER, *change)


def test_run_directory_that_is_read_only(place, monkeypatch):
    write_recipe(place)
    (place / "locked").mkdir()
    (place / "locked").chmod(0o555)
    with monkeypatch.context() as patch:
        if os.geteuid() == 0:  # root may write everywhere: what the system says to others
            forbid_below(place / "locked", patch)
        told = refused(1, *TEACHER, "--run-dir", "locked/tiny")
    assert "Permission denied; make it accessible or use another --run-dir" in told
    assert files(place / "locked") == set()
    (place / "locked").chmod(0o755)


def forbid_below(folder, monkeypatch):
    """Path.mkdir refuses below `folder`, as it does for everybody but root."""
    mkdir = Path.mkdir

    def refuse(path, *arguments, **options):
        if folder in path.absolute().parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", refuse)


def test_run_directory_is_a_file(place):
    write_recipe(place)
    (place / "taken").write_text("mine")
    told = refused(1, *TEACHER, "--run-dir", "taken/tiny")
    assert "use another --run-dir" in told
    assert (place / "taken").read_text() == "mine"


def test_foreign_weights_are_not_confused_with_those_of_another_model(mine):
    weights = mine / "foreign.safetensors"
    weights.write_bytes((mine / RUN / "train_teacher" / "model.safetensors").read_bytes())
    command = ("evaluate", "-r", "tiny.yaml", "--from", weights)
    done(*command)
    other = "train_teacher.model={kind: small_cnn, widths: [8, 24]}"
    assert "the weights do not fit the network" in refused(1, *command, "--set", other)


def test_artefacts_of_other_images_are_refused(pictures, finished):
    run = finished / RUN
    told = refused(1, "evaluate", "-r", "tiny.yaml", "--from", run / "export" / "model.onnx")
    assert "model.onnx: takes ['batch', 1, 8, 8]" in told
    told = refused(1, "distill", "-r", "tiny.yaml", "--teacher", run / TEACHER_FILE)
    assert "takes 1 channels and the data has 3" in told


def test_skipped_image_stays_skipped_when_others_move(pictures):
    bad = pictures / "train" / "dark" / "7.png"
    bad.write_bytes(bad.read_bytes()[:40])
    done(*TEACHER, "--set", "data.corrupt=skip")
    good = pictures / "train" / "dark" / "1.png"
    good.rename(pictures / "train" / "light" / "99.png")
    answer = done(*TEACHER, "--set", "data.corrupt=skip")
    assert "1 unreadable images skipped: train/dark/7.png" in answer.err


def test_pretrained_head_is_no_teacher(place):
    model = "train_teacher.model={kind: torchvision, name: resnet18, pretrained: true}"
    write_recipe(place)
    told = refused(2, *TEACHER, "--set", model, "--set", "train_teacher.training=null")
    assert "training is null and there are no weights" in told


def test_weights_without_a_student(place):
    write_recipe(place, lambda recipe: recipe.update(distill={"weights": "there.pt"}))
    assert "weights are given and no student" in refused(2, *TEACHER)
