"""Ramps: levels over the epochs, what they do to strengths, and to the pipeline's steps."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from augcompress.augmentations import AnyAugmentation, build_pipeline
from augcompress.augmentations.color_jitter import ColorJitter
from augcompress.augmentations.moves import Affine, HorizontalFlip, RandomCrop
from augcompress.augmentations.ramp import Ramp, along
from augcompress.batch import Progress
from augcompress.component import ALLOW_PLUGINS

PLUGIN = f"{Path(__file__).with_name('inverting_plugin.py')}:Inverting"
KINDS = {
    member.model_fields["kind"].default: member
    for member in get_args(get_args(AnyAugmentation)[0])
    if "ramp" in member.model_fields
}
WHOLE = {"start": 0.0, "end": 1.0}


def at(done: float, epoch: int = 2) -> Progress:
    return Progress(epoch=epoch, epochs_done=done)


def images(settings, batch, facts, done: float):
    loss = lambda seen: seen.images().flatten(1).sum(1)  # noqa: E731
    pipeline = build_pipeline(settings, facts)
    return pipeline(batch, seed=1, progress=at(done), loss=loss).images()


@pytest.mark.parametrize(
    "given, levels",
    [
        ({}, [0, 0.2, 1, 1]),
        ({"start": 0.1, "end": 0.9}, [0, 0, 0.5, 1]),
        ({"first": 0.2, "last": 0.6, "end": 1.0}, [0.2, 0.24, 0.4, 0.6]),
        ({"first": 1.0, "last": 0.0, "end": 1.0}, [1, 0.9, 0.5, 0]),
        ({"start": 0.5, "end": 0.5}, [0, 0, 1, 1]),
    ],
)
def test_levels_lie_on_a_line(given, levels):
    ramp = Ramp(**given)
    found = [ramp.level(done) for done in (0, 0.1, 0.5, 1)]
    assert found == pytest.approx(levels)


@pytest.mark.parametrize(
    "neutral, value, expected",
    [
        (0.0, 15.0, 3.0),
        (0, 4, 1),
        (8, 2, 7),
        ((1.0, 1.0), (0.5, 2.0), (0.9, 1.2)),
        (0.0, None, None),
        (0.0, "noise", "noise"),
        (False, True, True),
    ],
)
def test_a_strength_moves_from_neutral_to_its_value(neutral, value, expected):
    assert along(neutral, value, 1) == value
    assert along(neutral, value, 0.2) == pytest.approx(expected)
    if isinstance(value, int | float | tuple) and not isinstance(value, bool):
        assert along(neutral, value, 0) == neutral


def test_all_strengths_of_a_kind_move_together():
    half = Affine(degrees=20, translate=0.1, scale=(0.8, 1.4), shear=4, ramp=WHOLE).at(0.5)
    assert (half.degrees, half.translate, half.shear) == pytest.approx((10, 0.05, 2))
    assert half.scale == pytest.approx((0.9, 1.2))
    assert half.probability == 1


def test_only_the_strengths_that_are_named_move():
    half = Affine(degrees=20, translate=0.1, ramp={**WHOLE, "only": ["degrees", "probability"]}).at(
        0.5
    )
    assert (half.degrees, half.probability, half.translate) == (10, 0.5, 0.1)


def test_a_kind_without_strengths_is_applied_more_often():
    assert HorizontalFlip(probability=0.4, ramp=WHOLE).at(0.25).probability == pytest.approx(0.1)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_beginning_changes_nothing_and_the_end_is_as_set(kind, make_batch, make_facts):
    batch, ramp = make_batch(), {"kind": kind, "ramp": WHOLE}
    adapter = TypeAdapter(AnyAugmentation)
    ramped, plain = adapter.validate_python(ramp), adapter.validate_python({"kind": kind})
    first, last = (images([ramped], batch, make_facts(), done) for done in (0, 1))
    torch.testing.assert_close(first, batch.images(), rtol=0, atol=1e-6)
    assert torch.equal(last, images([plain], batch, make_facts(), 1))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_strengths_are_fields_of_their_kind(kind):
    assert set(KINDS[kind].neutral) <= set(KINDS[kind].model_fields)


def test_draws_do_not_hang_on_where_in_the_epoch(make_batch, make_facts):
    pipeline, batch = build_pipeline([Affine(ramp={})], make_facts()), make_batch()
    early, late, resumed = (
        given(batch, seed=1, progress=Progress(3, step, step / 100, 0.3)).images()
        for given, step in ((pipeline, 30), (pipeline, 39), (pipeline, 37))
    )
    assert torch.equal(early, late)
    assert torch.equal(early, resumed)


def test_steps_are_built_once_a_level_and_stay_fused(make_batch, make_facts, monkeypatch):
    built = []
    real = Affine.build
    monkeypatch.setattr(Affine, "build", lambda self, f: built.append(self) or real(self, f))
    settings = [RandomCrop(), Affine(ramp=WHOLE), HorizontalFlip()]
    pipeline, batch = build_pipeline(settings, make_facts()), make_batch()
    for done in (0.0, 0.0, 0.5, 0.5, 0.5):
        pipeline(batch, seed=1, progress=at(done))
    assert [one.degrees for one in built] == [10, 0, 5]
    assert pipeline.positions == [[0, 1, 2]]
    level = images([RandomCrop(), settings[1].at(0.5), settings[2]], batch, make_facts(), 1)
    assert torch.equal(pipeline(batch, seed=1, progress=at(0.5)).images(), level)


def test_ramped_steps_are_no_part_of_the_state(make_batch, make_facts):
    pipeline = build_pipeline([ColorJitter(ramp={})], make_facts())
    before = list(pipeline.state_dict())
    pipeline(make_batch(), seed=1, progress=at(0.2))
    assert list(pipeline.state_dict()) == before
    assert len(list(pipeline.modules())) == 4  # pipeline, list, step, worker


def test_a_plugin_can_be_ramped(make_batch, make_facts, monkeypatch):
    monkeypatch.setenv(ALLOW_PLUGINS, "1")
    plugin = {"kind": "plugin", "target": PLUGIN, "options": {"ramp": WHOLE}}
    setting, batch = TypeAdapter(AnyAugmentation).validate_python(plugin), make_batch()
    assert torch.equal(images([setting], batch, make_facts(), 0), batch.images())
    assert torch.equal(images([setting], batch, make_facts(), 1), 1 - batch.images())


def test_nothing_trained_means_full_strength():
    assert Affine(degrees=20, ramp={}).at(Progress().epochs_done).degrees == 20


@pytest.mark.parametrize(
    "wrong, match",
    [
        ({"start": 0.6, "end": 0.5}, "start 0.6 comes after end 0.5"),
        ({"end": 1.5}, "less than or equal to 1"),
        ({"only": []}, "at least 1 item"),
        ({"only": ["fill"]}, "ramp.only: fill is no strength of affine; there are: degrees"),
    ],
)
def test_ramps_that_cannot_be_are_refused(wrong, match):
    with pytest.raises(ValidationError, match=match):
        Affine(ramp=wrong)
