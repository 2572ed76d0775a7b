"""pretrain by the command line: what it leaves, who starts from it, how it goes on, refusals."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path

import pytest
from end_to_end import NETWORK_FILES, done, entries, files, invoke, start, training, wait_for
from PIL import Image
from safetensors.numpy import load_file

from augcompress.errors import UsageError
from augcompress.spec import ORDER, validate

RUN = Path("runs/few")
STATE = ".work-pretrain-*/state/fit.pt"
CNN = {"kind": "small_cnn", "widths": [8, 16]}
FEW = {
    "version": 1,
    "name": "few",
    "pipeline": ["pretrain", "train_teacher"],
    "data": {"kind": "digits", "validation": 0.1, "subset": 100},
    "pretrain": {"training": {"epochs": 3, "batch_size": 128}},
    "train_teacher": {"model": CNN, "training": training(2)},
}


def recipe(**changes):
    """The recipe with other sections; None leaves one out."""
    return {k: v for k, v in {**FEW, **changes}.items() if v is not None}


def write(folder: Path, **changes) -> None:
    (folder / "few.yaml").write_text(json.dumps(recipe(**changes)))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder with a finished run; not to be written to."""
    folder = tmp_path_factory.mktemp("few")
    write(folder)
    with contextlib.chdir(folder):
        done("run", "-r", "few.yaml")
    return folder


def rows_of(stage: Path):
    return json.loads((stage / "measurements.json").read_text())["measurements"]


def weights(run: Path, stage: str):
    return load_file(run / stage / "model.safetensors")


def test_it_stands_before_the_teacher():
    assert ORDER.index("pretrain") + 1 == ORDER.index("train_teacher")
    assert validate(recipe(pipeline=None)).stages()[1:3] == ("pretrain", "train_teacher")


def test_it_leaves_a_network_like_any_other(undisturbed):
    assert files(undisturbed / RUN / "pretrain") == NETWORK_FILES
    names = set(weights(undisturbed / RUN, "pretrain"))
    assert names == set(weights(undisturbed / RUN, "train_teacher"))
    assert not [name for name in names if "projection" in name]
    lines = (undisturbed / RUN / "pretrain" / "log.jsonl").read_text().splitlines()
    assert [set(json.loads(line)["losses"]) for line in lines] == [{"nt_xent"}] * 3
    assert all(json.loads(line)["validation_nt_xent"] > 0 for line in lines)


def test_a_probe_says_what_it_gave(undisturbed):
    rows = rows_of(undisturbed / RUN / "pretrain")
    mine, control = (
        next(r for r in rows if r["name"] == "top1" and r["conditions"].get("role") == role)
        for role in (None, "untrained")
    )
    assert mine["conditions"]["classifier"] == control["conditions"]["classifier"] == "linear probe"
    assert mine["conditions"]["probe_labels"] == 100
    assert (mine["n"], mine["method"], mine["split"]) == (144, "wilson", "validation")
    gained = next(r for r in rows if r["name"] == "top1_difference")
    assert (gained["baseline"], gained["method"]) == ("untrained", "tango")
    assert gained["value"] == pytest.approx(mine["value"] - control["value"])


def test_what_it_leaves_is_the_probe(undisturbed):
    with contextlib.chdir(undisturbed):
        answer = done(
            "evaluate", "-r", "few.yaml", "--from", "pretrain", "--run-dir", "runs/few",
            "--set", "evaluate.split=validation", "--json",
        )  # fmt: skip
    found = json.loads(answer.out)["stages"][0]["measurements"]
    top1 = next(row["value"] for row in found if row["name"] == "top1")
    assert top1 == rows_of(undisturbed / RUN / "pretrain")[0]["value"]


def test_teacher_starts_from_it(undisturbed, place):
    still = {"epochs": 1, "batch_size": 32, "optimizer": {"kind": "sgd", "lr": 1e-9}}
    write(place, train_teacher={"model": CNN, "training": still})
    done("run", "-r", "few.yaml")
    ours, theirs = weights(place / RUN, "train_teacher"), weights(undisturbed / RUN, "pretrain")
    for name in ("body.blocks.1.conv.weight", "body.linear.weight"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-6)


def test_student_starts_from_it(undisturbed, place):
    still = {"epochs": 1, "batch_size": 32, "optimizer": {"kind": "sgd", "lr": 1e-9}}
    write(
        place,
        pipeline=["pretrain", "distill"],
        pretrain={**FEW["pretrain"], "network": "student"},
        train_teacher=None,
        distill={"student": CNN, "objectives": [{"kind": "labels"}], "training": still},
    )
    done("run", "-r", "few.yaml")
    ours, theirs = weights(place / RUN, "distill"), weights(undisturbed / RUN, "pretrain")
    assert ours["body.linear.weight"] == pytest.approx(theirs["body.linear.weight"], abs=1e-6)


def test_without_it_in_the_pipeline_the_teacher_starts_fresh(undisturbed, place):
    write(place, pipeline=["train_teacher"])
    done("run", "-r", "few.yaml")
    assert not (place / RUN / "pretrain").exists()
    ours, theirs = (weights(at / RUN, "train_teacher") for at in (place, undisturbed))
    assert (ours["body.linear.weight"] != theirs["body.linear.weight"]).any()


def test_teacher_needs_it_done(place):
    write(place)
    answer = invoke("train-teacher", "-r", "few.yaml")
    assert answer.code == 1
    assert "needs the result of pretrain" in answer.error
    assert "run: augcompress pretrain --recipe few.yaml" in answer.error


def test_done_once(undisturbed):
    with contextlib.chdir(undisturbed):
        assert done("run", "-r", "few.yaml", "--json").stages == {
            "pretrain": "cached",
            "train_teacher": "cached",
        }
        # what labels are augmented by is nothing to it
        other = (
            "--set",
            "augment.pipeline=[{kind: rotate, degrees: 5}]",
            "--run-dir",
            "runs/other",
        )
        assert done("run", "-r", "few.yaml", "--json", *other).stages == {
            "pretrain": "cached",
            "train_teacher": "done",
        }


def test_killed_it_goes_on_to_the_same_result(place, tmp_path_factory):
    long = {"training": {"epochs": 20, "batch_size": 128}}
    write(place, pretrain=long)
    store = place / "runs" / ".store"
    process = start("pretrain", "-r", "few.yaml")
    wait_for(process, lambda: any(store.glob(STATE)))
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not entries(store, "pretrain")
    assert "resuming pretrain at epoch" in done("pretrain", "-r", "few.yaml").err
    other = tmp_path_factory.mktemp("whole")
    write(other, pretrain=long)
    with contextlib.chdir(other):
        done("pretrain", "-r", "few.yaml")
    for name in ("model.safetensors", "measurements.json", "predictions.npz"):
        ours, theirs = (at / RUN / "pretrain" / name for at in (place, other))
        assert ours.read_bytes() == theirs.read_bytes()


def test_folder_of_more_images_is_read_and_in_the_key(place):
    folder = place / "more" / "deep"
    folder.mkdir(parents=True)
    for number in range(6):
        Image.new("L", (8, 8), 40 * number).save(folder / f"{number}.png")
    write(place, pretrain={**FEW["pretrain"], "unlabelled": "more"})
    assert "1300 images without labels" in done("pretrain", "-r", "few.yaml").err
    assert len(entries(place / "runs/.store", "decoding")) == 1
    assert done("pretrain", "-r", "few.yaml", "--json").stages == {"pretrain": "cached"}
    Image.new("L", (8, 8), 7).save(folder / "0.png")
    assert done("pretrain", "-r", "few.yaml", "--json").stages == {"pretrain": "done"}


def test_another_architecture_is_another_result(place):
    short = {"training": {"epochs": 1, "batch_size": 128}}
    for widths in ([8, 16], [8, 24]):
        model = {**CNN, "widths": widths}
        write(place, pretrain=short, train_teacher={"model": model, "training": training(1)})
        assert set(done("run", "-r", "few.yaml", "--json").stages.values()) == {"done"}
        for stage in ("pretrain", "train_teacher"):
            told = json.loads((place / RUN / stage / "model.json").read_text())
            assert told["model"]["widths"] == widths


def test_smoke_learns_from_a_sliver(place):
    write(place, pretrain={"training": {"epochs": 50}})
    answer = done("pretrain", "-r", "few.yaml", "--smoke")
    assert "259 images without labels" in answer.err
    assert "best epoch 1 of 1" in answer.err


def test_it_starts_from_no_network(place):
    write(place)
    for command, told in (
        ("pretrain", "pretrain: there is no option --from"),
        ("run", "--from: pretrain starts from no network"),
    ):
        answer = invoke(command, "-r", "few.yaml", "--from", "train-teacher")
        assert answer.code == 2
        assert told in answer.error


STUDENT = {"student": CNN, "objectives": [{"kind": "labels"}]}
WRONG = {
    "one image": (
        {"pretrain": {"training": {"batch_size": 1}}},
        r"pretrain\.training\.batch_size: 1 is too small; give at least 2",
    ),
    "one image a piece": (
        {"pretrain": {"training": {"batch_size": 32, "accumulation": 32}}},
        r"pretrain\.training\.accumulation: batches of 32 in 32 pieces leave an image no other",
    ),
    "no teacher": (
        {"pipeline": None, "train_teacher": None},
        r"pretrain\.network: teacher is train_teacher\.model, which the recipe does not have",
    ),
    "no student": (
        {"pretrain": {"network": "student"}},
        r"pretrain\.network: student is distill\.student, which the recipe does not have",
    ),
    "student goes on": (
        {
            "pipeline": None,
            "pretrain": {"network": "student"},
            "distill": {"objectives": [{"kind": "labels"}]},
        },
        r"pretrain\.network: student is distill\.student, which the recipe does not have",
    ),
    "weights too": (
        {"train_teacher": {"model": CNN, "weights": "w.pt"}},
        r"train_teacher\.weights: the network starts from pretrain already",
    ),
    "too late": (
        {"pipeline": ["train_teacher", "pretrain"]},
        r"pipeline: pretrain learns what train_teacher starts from; put it before",
    ),
    "after the graph": (
        {"pipeline": ["export", "pretrain"], "distill": STUDENT},
        r"pipeline: pretrain trains a network and cannot follow export",
    ),
    "mixing": (
        {"pretrain": {"augment": [{"kind": "mixup"}]}},
        r"pretrain\.augment: mixup blends images with each other; leave it out",
    ),
    "attacking": (
        {"pretrain": {"augment": [{"kind": "fgsm"}]}},
        r"pretrain\.augment: fgsm climbs the loss of the labels; leave it out",
    ),
}


@pytest.mark.parametrize("changes, message", WRONG.values(), ids=WRONG)
def test_what_cannot_be_is_refused_when_the_recipe_is_read(changes, message):
    with pytest.raises(UsageError, match=message):
        validate(recipe(**changes))


def test_settings_that_are_named_leave_the_other_defaults():
    training = validate(recipe(pretrain={"training": {"epochs": 3}})).pretrain.training
    assert (training.epochs, training.batch_size, training.optimizer.kind) == (3, 256, "adamw")
