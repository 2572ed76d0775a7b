"""Chosen samples alone are computed, and large images take other ways to the same pixels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import TypeAdapter

from augcompress.augmentations import (
    AnyAugmentation,
    PixelWorker,
    Recorder,
    blur,
    build_pipeline,
    covering,
    policy_operations,
    resampling,
)
from augcompress.augmentations.color_jitter import adjust_contrast
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.pipeline import SingleWorker
from augcompress.augmentations.slices import spans
from augcompress.batch import Batch, Progress

NOW = Progress(epoch=3)
FILLS = ["mean", 1.0, "nearest", "reflect", "noise"]
SHIFTS = [{"kind": "random_crop", "padding": 30, "fill": fill} for fill in FILLS]
LARGE = [
    *([shift, {"kind": "horizontal_flip"}, {"kind": "vertical_flip"}] for shift in SHIFTS),
    *([{"kind": "random_crop", "padding": 200, "fill": fill}] for fill in FILLS),
    *([{"kind": "translate", "fraction": 0.6, "fill": fill}] for fill in FILLS),
    [{"kind": "random_crop"}, {"kind": "horizontal_flip"}, {"kind": "affine", "probability": 0.4}],
    [{"kind": "scale", "zoom": [0.5, 2], "fill": 0.3}, {"kind": "horizontal_flip"}],
    [{"kind": "resized_crop"}, {"kind": "perspective", "probability": 0.3}],
    [{"kind": "rand_augment", "magnitude": 20, "fill": "noise"}],
    [{"kind": "trivial_augment", "interpolation": "bilinear", "fill": "reflect"}],
    [{"kind": "augmix", "severity": 10}],
    [{"kind": "random_erasing"}, {"kind": "cutout"}, {"kind": "cutmix"}],
    [{"kind": "gaussian_blur"}, {"kind": "box_blur", "radius": [0, 3]}],
]


def built(settings, facts):
    return build_pipeline(TypeAdapter(list[AnyAugmentation]).validate_python(settings), facts)


def through(worker, batch: Batch, seed: int = 0) -> Batch:
    return worker(batch, Draws(seed, 0, 0, batch.index), progress=NOW)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_only_chosen_samples_are_computed(probability, make_batch):
    seen, batch = [], make_batch(40)

    def change(images, draws):
        seen.append(images)
        return images * 0.5 + draws.uniform(1)[:, :, None, None] / 2

    result = through(PixelWorker(change, probability), batch)
    chosen = Draws(0, 0, 0, batch.index).chosen(probability)
    if not probability:
        assert not seen
        assert result is batch
        return
    (computed,) = seen
    assert torch.equal(computed, batch.images()[chosen])
    assert (computed is batch.images()) == (probability == 1)
    assert torch.equal(result.images()[~chosen], batch.images()[~chosen])
    whole = through(PixelWorker(change, 1), batch)
    assert torch.equal(result.images()[chosen], whole.images()[chosen])


def test_between_steps_a_pipeline_overwrites_its_own_images_and_no_others(make_batch, make_facts):
    settings = [{"kind": "invert", "probability": 0.5}, {"kind": "solarize", "probability": 0.5}]
    pipeline, floats = built(settings, make_facts()), make_batch(30)
    batch = floats.with_images((floats.images() * 255).byte())
    places = []
    for step in pipeline.steps:
        assert isinstance(step, SingleWorker)
        step.register_forward_hook(lambda *told: places.append(told[-1].images().data_ptr()))
    kept, result = batch.images().clone(), pipeline(batch, seed=1, progress=NOW)
    assert places[0] == places[1] == result.images().data_ptr()
    assert not result.disposable
    assert torch.equal(batch.images(), kept)
    scaled, before = replace(batch.scaled(), disposable=True), batch.scaled().images().clone()
    again = pipeline(scaled, seed=1, progress=NOW)
    assert torch.equal(scaled.images(), before)
    assert torch.equal(again.images(), result.images())


def test_a_record_has_the_same_parameters_whoever_else_is_chosen(make_batch, make_facts):
    kinds = ["color_jitter", "gaussian_noise", "affine", "mixup", "rand_augment", "invert"]
    few, all_ = Recorder(), Recorder()
    for recorder, probability in ((few, 0.4), (all_, 1.0)):
        settings = [{"kind": kind, "probability": probability} for kind in kinds]
        pipeline = built(settings, make_facts())
        pipeline(make_batch(30), seed=1, progress=NOW, draws_maker=recorder)
    some, every = ([told for row in each.rows() for told in row] for each in (few, all_))
    chosen = [place for place, told in enumerate(some) if told["chosen"]]
    assert 40 < len(chosen) < 100
    assert [some[place] for place in chosen] == [every[place] for place in chosen]


@pytest.mark.parametrize("settings", LARGE, ids=str)
@pytest.mark.parametrize("scaled", [True, False])
def test_large_images_get_the_same_pixels(settings, scaled, make_batch, make_facts, monkeypatch):
    size = (150, 161)
    batch, pipeline = make_batch(9, 3, size), built(settings, make_facts(3, size))
    if not scaled:
        batch = batch.with_images((batch.images() * 255).byte())
    found = pipeline(batch, seed=1, progress=NOW)
    monkeypatch.setattr(resampling, "SLICED", 10**9)
    monkeypatch.setattr(covering, "SLICED", 10**9)
    monkeypatch.setattr(policy_operations, "_LARGE", 10**9)
    monkeypatch.setattr(blur, "_LARGE", 10**9)
    monkeypatch.setattr(resampling, "upright", lambda matrices: torch.tensor(False))
    expected = pipeline(batch.scaled(), seed=1, progress=NOW)
    assert torch.equal(found.images(), expected.images())
    assert torch.equal(found.targets, expected.targets)


def test_copies_are_made_of_bytes_where_they_hold_the_filling(make_batch, make_facts, monkeypatch):
    batch, seen = make_batch(20), []
    images = (batch.images() * 255).byte()
    original = resampling.resample
    monkeypatch.setattr(
        "augcompress.augmentations.rows.resample",
        lambda images, *rest, **more: seen.append(images.dtype) or original(images, *rest, **more),
    )
    for fill in (0.0, "mean", "reflect", "noise"):
        settings = [{"kind": "random_crop", "fill": fill}, {"kind": "horizontal_flip"}]
        built(settings, make_facts())(batch.with_images(images), seed=0, progress=NOW)
    assert seen == [torch.uint8, torch.float32, torch.uint8, torch.float32]


def test_an_image_alone_is_summed_as_in_a_batch_on_any_number_of_threads(make_batch):
    images, threads = make_batch(4, 1, (190, 190)).images(), torch.get_num_threads()
    factor, found = torch.full((4,), 0.5), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            alone = [adjust_contrast(image, factor[:1]) for image in images.split(1)]
            found += [torch.cat(alone), adjust_contrast(images, factor)]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(found[0], each) for each in found[1:])


@pytest.mark.parametrize("shift, seen", [(74, True), (75, False), (-76, False), (149, False)])
def test_a_mirror_image_shows_no_more_than_there_is(shift, seen):
    moved = spans([1, 0, shift, 0, 1, 0], (20, 150), "reflect")
    assert (moved is not None) == seen
    assert spans([1, 0, shift, 0, 1, 0], (20, 150), "nearest") is not None
