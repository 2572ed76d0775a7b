"""`explain` answers for topics, kinds and fields, however they are asked for."""

from __future__ import annotations

import re

import pytest
from end_to_end import done, invoke

from augcompress.spec import explain
from augcompress.spec.reference import kind_of, members
from augcompress.spec.topics import every_place, known_topics


def said(*words: str) -> str:
    answers, see = explain(*words)
    lines = [line for one in answers for line in (one.title, *one.lines)]
    rows = [" ".join(row) for one in answers for row in one.rows or ()]
    return "\n".join([*lines, *rows, see])


@pytest.mark.parametrize(
    "words, found",
    [
        ("", "optimizers sgd, adamw, rmsprop, lars"),
        ("distill", "cache_teachers"),
        ("train-teacher", "weights"),
        ("distill soft_targets", "temperature float = 4.0"),
        ("objectives soft_targets", "temperature float = 4.0"),
        ("soft_targets", "temperature float = 4.0"),
        ("prune channels", "round_to int = 8"),
        ("distill.objectives.0.temperature", "distill.objectives.N.temperature"),
        ("distill.objectives.temperature", "of soft_targets, decoupled: float = 4.0. Softmax"),
        ("distill temperature", "distill.objectives.N.temperature"),
        ("soft_targets.temperature", "*.objectives.N.temperature"),
        ("temperature", "pretrain.temperature\n"),
        ("data.root", "of image_folder: str | null = null"),
        ("lr", "*.training.optimizer.lr\n  of sgd: float = 0.1"),
        ("train_teacher.training.optimizer.lr", "of adamw, rmsprop: float = 0.001"),
        ("seed", "seed\n  int = 0. Seed of splits"),
        ("limits.0.measure", "limits.N.measure"),
        ("distill.training", "batch_size"),
        ("distill.augment", "mixed images mixup, cutmix"),
        ("training.epochs", "*.training.epochs"),
        ("export timing", "rounds"),
        ("export.card", "data_license"),
        ("augment offline", "copies"),
        ("test_time_augmentation", "evaluate.test_time_augmentation"),
        ("search vary.levels", "overrides"),
        ("compressions layers", "include"),
        ("foreign layout", "NCHW | NHWC"),
    ],
)  # fmt: skip
def test_topics_kinds_and_fields_are_found(words, found):
    answer = said(*words.split())
    assert found in answer
    assert re.search(r"^see: augcompress explain \w+", answer, re.M)


@pytest.mark.parametrize(
    "words, hint",
    [
        ("objectivs", "did you mean objectives?"),
        ("temprature", "did you mean temperature?"),
        ("objectives soft_target", "did you mean soft_targets?"),
        ("export timin", "did you mean timing?"),
        ("data.rot", "did you mean root?"),
        ("distill.trainin.lr", "did you mean training?"),
        ("color_jitter brightnes", "did you mean brightness?"),
        ("qqqqq", "see: augcompress explain"),
    ],
)
def test_what_is_unknown_names_the_nearest(words, hint):
    answer = invoke("explain", *words.split())
    assert (answer.code, hint in answer.error) == (2, True), answer.error


@pytest.mark.parametrize("topic", [n for n, one in known_topics().items() if len(members(one)) > 3])
def test_an_overview_fits_a_screen_and_has_every_kind(topic, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = done("explain", topic).out.splitlines()
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80
    assert {kind_of(model) for model in members(known_topics()[topic])} <= set(
        re.findall(r"\w+", " ".join(lines))
    )
    assert lines[-1].startswith("see: ")


def test_every_field_of_a_recipe_is_found_by_its_path():
    told = {place.model: place for place in every_place()}  # one place of each class
    for place in told.values():
        for name in set(place.model.model_fields) - {"kind"}:
            path = ".".join([*place.path, name])
            assert path in said(path).replace(" ", "") or name in known_topics(), path
