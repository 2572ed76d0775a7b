"""Which weights from elsewhere a stage's result stands on, and their licences."""

from __future__ import annotations

from pathlib import Path

import pytest
from end_to_end import TINY

from augcompress.running import Input
from augcompress.running.licences import NONE, weights_licences
from augcompress.spec import validate
from augcompress.stages import STAGES

RESNET = {"kind": "timm", "name": "resnet18", "pretrained": True}
TIMM = ("timm resnet18", "apache-2.0")


def rows(stage, inputs, told=None, **models):
    recipe = {**TINY, "export": {"card": {"weights_license": told or {}}}}
    for section, field in (("train_teacher", "model"), ("distill", "student")):
        recipe[section] = {**TINY[section], field: models.get(section, {"kind": "small_cnn"})}
    found = weights_licences(STAGES[stage], validate(recipe, None), inputs)
    assert all(bool(row.value) == (row.subject is not None) for row in found)
    return [(row.subject, row.text) for row in found]


@pytest.mark.parametrize(
    ("stage", "given", "told", "wanted"),
    [
        ("train_teacher", (), {}, [TIMM]),
        ("train_teacher", (), {"timm resnet18": "My-Own"}, [("timm resnet18", "my-own")]),
        ("distill", (), {}, [(None, NONE)]),
        ("train_teacher", ("weights",), {}, [("elsewhere.pth", "unknown")]),
        ("train_teacher", ("weights",), {"elsewhere.pth": "mit"}, [("elsewhere.pth", "mit")]),
        ("distill", ("teacher",), {}, [("elsewhere.pth", "unknown")]),
        ("export", ("teacher", "source"), {}, [("elsewhere.pth", "unknown")]),
        ("prune", (), {}, [(None, NONE)]),
    ],
)
def test_of_a_design_and_of_files_from_elsewhere(stage, given, told, wanted, tmp_path):
    inputs = {role: Input(tmp_path / "elsewhere.pth", "0") for role in given}
    inputs["unlabelled"] = Input(tmp_path / "more-images", "1")
    assert rows(stage, inputs, told, train_teacher=RESNET) == wanted


def test_what_was_told_when_an_artefact_was_made_is_handed_on(finished):
    """Of a run's own stage, and of another run's file, that has not left its folder."""
    made = finished / "runs/tiny/train_teacher/model.safetensors"
    for stage in ("train_teacher", None):
        assert rows("distill", {"teacher": Input(made, "0", stage)}) == [(None, NONE)]
    left = {"teacher": Input(Path("model.safetensors"), "0"), "source": Input(made, "0")}
    assert rows("distill", left) == [("model.safetensors", "unknown")]
