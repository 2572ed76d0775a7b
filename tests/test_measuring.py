"""`augment --measure`: which variants it trains, what its tables say, and how it goes on."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from end_to_end import done, entries, files, invoke, training, write_recipe

from augcompress.datasets.base import DatasetSettings
from augcompress.errors import UsageError
from augcompress.search import measuring_settings, plan_search, read_study
from augcompress.search.measuring import CANDIDATES
from augcompress.spec import load

STUDY = Path("runs/tiny-measure")
MEASURE = {"epochs": 2, "seeds": [0, 4], "subset": 150, "candidates": [{"kind": "mixup"}]}


def recipe(folder, **changes) -> str:
    """The tiny recipe with a brief measure, in `folder`."""

    def change(raw):
        raw["augment"] = {
            "pipeline": [{"kind": "affine", "degrees": 5}, {"kind": "random_crop", "padding": 1}],
            "measure": MEASURE,
        }
        raw["distill"]["student"]["widths"] = [4, 8]
        raw |= changes

    return str(write_recipe(folder, change))


@pytest.fixture(scope="module")
def measured_once(tmp_path_factory):
    """A folder with a finished measure, and what the command said."""
    folder = tmp_path_factory.mktemp("measure")
    with contextlib.chdir(folder):
        return folder, done("augment", "-r", recipe(folder), "--measure")


def test_each_is_left_out_and_each_candidate_added(measured_once):
    folder, _ = measured_once
    study = read_study(folder / STUDY)
    variants = {cell.levels["augmentation"] for cell in study.cells}
    assert variants == {"as it is", "without affine", "without random_crop", "with mixup"}
    assert (len(study.trials), study.complete, study.split) == (8, True, "validation")
    for trial in study.trials:
        spec = json.loads((folder / STUDY / trial.run_dir / "spec.json").read_text())
        assert [o["kind"] for o in spec["distill"]["objectives"]] == ["labels"]
        assert spec["distill"]["training"]["epochs"] == 2
        assert spec["data"]["subset"] == 150
        kinds = [each["kind"] for each in spec["distill"]["augment"]]
        assert (
            kinds
            == {
                "as it is": ["affine", "random_crop"],
                "without affine": ["random_crop"],
                "without random_crop": ["affine"],
                "with mixup": ["affine", "random_crop", "mixup"],
            }[trial.levels["augmentation"]]
        )


def test_nothing_but_students_is_trained(measured_once):
    folder, _ = measured_once
    assert {path.name.rpartition("-")[0] for path in entries(folder / "runs/.store")} == {"distill"}
    assert not (folder / "runs/tiny").exists()


def test_changes_are_against_the_pipeline_as_it_is_paired_by_seed(measured_once):
    folder, answer = measured_once
    study = read_study(folder / STUDY)
    top1 = {
        (trial.levels["augmentation"], trial.seed): trial.measurement.value
        for trial in study.trials
    }
    others = ["without affine", "without random_crop", "with mixup"]
    assert [change.of["augmentation"] for change in study.against_control] == others
    for name, change in zip(others, study.against_control, strict=True):
        gains = [top1[name, seed] - top1["as it is", seed] for seed in (0, 4)]
        assert (change.value, change.n) == (pytest.approx(np.mean(gains)), 2)
    assert "tiny: top1 on validation after distill" in answer.out
    lines = [line for line in answer.out.splitlines() if line.startswith(("as it is", *others))]
    assert len(lines) == 4
    assert "control" in lines[0]


def test_second_call_trains_nothing(measured_once, monkeypatch):
    folder, first = measured_once
    monkeypatch.chdir(folder)

    def refuse(*_, **__):
        raise AssertionError("this was done twice")

    monkeypatch.setattr(torch.nn.Module, "__call__", refuse)
    again = done("augment", "-r", "tiny.yaml", "--measure")
    assert again.out == first.out.replace("8 done in this call", "0 done in this call")
    assert len(entries(folder / "runs/.store")) == 8


def planned(path):
    """The study, waiting."""
    return plan_search(path, measuring_settings(load(path)[0]))


def test_plan_lists_the_trials_and_does_nothing(place, monkeypatch):
    monkeypatch.setattr(DatasetSettings, "build", None)
    path = recipe(place)
    study = planned(path)
    assert [trial.levels["augmentation"] for trial in study.trials[:4]] == [
        *("as it is", "without affine", "without random_crop", "with mixup")
    ]
    assert "8 trials" in done("augment", "-r", path, "--measure", "--dry-run").out
    assert files(place) == {"tiny.yaml"}


def test_common_candidates_are_those_that_are_not_there_yet(place):
    path = recipe(place, augment={"pipeline": [{"kind": "affine"}, {"kind": "affine"}]})
    study = planned(path)
    names = study.factors[0].levels
    assert names[1:3] == ["without affine 1", "without affine 2"]
    assert names[3:] == [f"with {kind}" for kind in CANDIDATES if kind != "affine"]
    assert study.seeds == [0, 1, 2, 3, 4]


def test_crop_of_the_candidates_fits_the_images(place):
    path = recipe(place, augment={"measure": {"epochs": 1, "seeds": [0]}})
    overrides = ["--set", "data.subset=40", "--set", f"distill.training={training(1)}"]
    done("augment", "-r", path, "--measure", *overrides)
    spec, _ = load(STUDY / "trials/augmentation-with_random_crop.seed-0/recipe.yaml")
    assert [each.padding for each in spec.distill.augment] == [1]  # digits are 8 pixels wide


def test_a_teacher_stands_in_where_there_is_no_student(place):
    path = recipe(place, distill=None, prune=None, quantize=None)
    study = planned(path)
    assert study.trials[0].levels == {"augmentation": "as it is"}
    assert len(study.trials) == 8
    answer = done("augment", "-r", path, "--measure", "--dry-run", "--set", "data.subset=40")
    assert "8 trials" in answer.out


def test_a_recipe_that_trains_nothing_says_so(place):
    path = recipe(place, distill=None, prune=None, quantize=None, train_teacher=None)
    with pytest.raises(UsageError, match=r"^augment --measure: the recipe trains no network"):
        planned(path)


def test_a_wrong_candidate_is_named(place):
    path = recipe(place)
    wrong = "augment.measure.candidates=[{kind: mixupp}]"
    answer = invoke("augment", "-r", path, "--measure", "--set", wrong)
    assert answer.code == 2
    assert "unknown 'mixupp'; did you mean mixup" in answer.error
