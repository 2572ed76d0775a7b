"""Augmentations that `augment` fits to the training images, and stages that use what it fitted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from end_to_end import done, files, invoke, measured, training, write_recipe
from sklearn.datasets import load_digits

from augcompress.search import measuring_settings
from augcompress.spec import load

RUN = Path("runs/tiny")
CENTRING = """
from pathlib import Path
from typing import Literal

from augcompress.augmentations import Augmentation, PixelWorker


class Centring(Augmentation):
    label_safety = "nothing here"
    fits = True

    kind: Literal["centring"] = "centring"
    bias: float = 0.0

    def fit(self, batches, facts, folder):
        images = [image for batch in batches() for image in batch.scaled().images()]
        assert len(images) == facts.samples
        mean = sum(float(image.mean()) for image in images) / len(images)
        (folder / "mean.txt").write_text(str(mean + float(Path("shift.txt").read_text())))

    def build(self, facts):
        mean = float((facts.fitted[self.fit_name] / "mean.txt").read_text())
        return PixelWorker(lambda x, draws: (x - mean + 0.5).clamp(0, 1), self.probability)
"""


def centring(**options) -> dict:
    return {"kind": "plugin", "target": "./looks.py:Centring", "options": options}


@pytest.fixture
def recipe(place, monkeypatch) -> Path:
    """A student that is trained on centred images, of a teacher that is not."""
    monkeypatch.setenv("AUGCOMPRESS_ALLOW_PLUGINS", "1")
    (place / "looks.py").write_text(CENTRING)
    (place / "shift.txt").write_text("0")

    def change(raw):
        raw["pipeline"] = ["augment", "train_teacher", "distill"]
        raw["train_teacher"]["training"] = raw["distill"]["training"] = training(2)
        raw["distill"]["augment"] = [centring(probability=0.9, ramp={})]
        raw["evaluate"] = {"robustness": [centring(probability=0.5)], "split": "validation"}

    return write_recipe(place, change)


def key(stage: str) -> str:
    return json.loads((RUN / stage / "stage.json").read_text())["key"]


def test_run_fits_first_and_stages_read_it(recipe):
    assert done("run", "-r", recipe, "--dry-run").out.count("to do") == 3
    done("run", "-r", recipe)
    (name,) = json.loads((RUN / "augment/fitted.json").read_text())
    mean = float((RUN / "augment" / name).read_text())
    assert load_digits().images.mean() / 16 == pytest.approx(mean, abs=0.01)
    assert set(done("run", "-r", recipe, "--json").stages.values()) == {"cached"}
    done("evaluate", "-r", recipe)
    assert "robust_top1" in {row["name"] for row in measured(RUN)["evaluate"]}


def test_another_fit_is_another_key_of_the_stages_that_use_it(recipe, place):
    done("run", "-r", recipe)
    before = {stage: key(stage) for stage in ("augment", "train_teacher", "distill")}
    (place / "shift.txt").write_text("0.1")
    done("augment", "-r", recipe, "--force")
    assert {path.name for path in RUN.iterdir() if path.is_dir()} == {"augment"}
    again = done("run", "-r", recipe, "--json").stages
    assert again == {"augment": "cached", "train_teacher": "cached", "distill": "done"}
    assert [stage for stage, one in before.items() if key(stage) != one] == ["distill"]


def test_what_a_stage_fits_for_another_is_in_its_key(recipe):
    done("augment", "-r", recipe)
    other = json.dumps([centring(), {**centring(), "options": {"bias": 0.1}}])
    again = done("augment", "-r", recipe, "--set", f"distill.augment={other}", "--json")
    assert again.stages == {"augment": "done"}
    assert len(json.loads((RUN / "augment/fitted.json").read_text())) == 2


def test_without_the_fit_the_error_names_the_command(recipe):
    done("train-teacher", "-r", recipe)
    assert done("run", "-r", recipe, "--dry-run").out.count("to do") == 3
    answer = invoke("distill", "-r", recipe)
    assert answer.code == 1
    assert "distill: needs the result of augment with these settings" in answer.error
    assert f"run: augcompress augment --recipe {recipe}" in answer.error


def test_variants_of_a_study_fit_first(recipe):
    spec, _ = load(recipe, [])
    assert measuring_settings(spec, None, None)[0] == 'pipeline=["augment", "distill"]'
    spec, _ = load(recipe, ["distill.augment=[]"])
    assert measuring_settings(spec, None, None)[0] == 'pipeline=["distill"]'


def test_preview_fits_and_leaves_pictures_alone(recipe, place):
    pipeline = json.dumps([centring()])
    before = files(place)
    done("augment", "-r", recipe, "--preview", "--set", f"augment.pipeline={pipeline}")
    left = files(place) - before
    assert left == {"runs/tiny/before_after.png", "runs/tiny/contact_sheet.png"}
