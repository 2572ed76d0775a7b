"""What holds for every member of the room's union."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from augcompress import augmentations
from augcompress.augmentations import AnyAugmentation, Draws
from augcompress.batch import Batch, Progress
from augcompress.component import ALLOW_PLUGINS

PLUGIN = f"{Path(__file__).with_name('inverting_plugin.py')}:Inverting"
ALWAYS = {
    "random_crop": {"padding": 3},
    "horizontal_flip": {},
    "affine": {"degrees": 30, "shear": 10, "fill": "mean"},
    "vertical_flip": {},
    "rotate": {"degrees": 30, "fill": "noise"},
    "rotate90": {"fill": "reflect"},
    "translate": {"fraction": 0.2},
    "scale": {"zoom": [0.5, 1.5], "fill": "noise"},
    "shear": {"x": 20, "y": 10},
    "resized_crop": {},
    "perspective": {"fill": "nearest"},
    "elastic": {"fill": "noise"},
    "lens_distortion": {"k1": [0.1, 0.3]},
    "box_blur": {"radius": [0.2, 1.5]},
    "gaussian_blur": {"sigma": [0.5, 2.0]},
    "median_blur": {},
    "color_jitter": {},
    "random_erasing": {},
    "mixup": {"alpha": 1.0},
    "rand_augment": {},
    "trivial_augment": {},
    "auto_augment": {"policy": "svhn"},
    "augmix": {},
    "equalize": {},
    "autocontrast": {},
    "posterize": {"bits": [2, 4]},
    "solarize": {},
    "invert": {},
    "grayscale": {},
    "channel_shuffle": {},
    "channel_dropout": {"value": 0.5},
    "color_space_jitter": {"space": "yuv"},
    "color_matrix": {},
    "pca_jitter": {},
    "shading": {"pattern": "wave"},
    "gaussian_noise": {},
    "salt_pepper_noise": {"amount": [0.1, 0.2]},
    "shot_noise": {},
    "impulse_noise": {"amount": [0.1, 0.2]},
    "speckle_noise": {},
    "cutout": {},
    "pixel_dropout": {"share": [0.1, 0.2]},
    "cutmix": {},
    "fgsm": {},
    "pgd": {"steps": 2},
    "plugin": {"target": PLUGIN},
}
MIXING = {"mixup", "cutmix"}
MEMBERS = {m.model_fields["kind"].default: m for m in get_args(get_args(AnyAugmentation)[0])}
NOW = Progress(epoch=3)


@pytest.fixture(params=sorted(MEMBERS))
def kind(request, monkeypatch) -> str:
    monkeypatch.setenv(ALLOW_PLUGINS, "1")
    return request.param


def slope(batch: Batch) -> torch.Tensor:
    """A loss of images of any size, for what climbs one."""
    images = batch.images().flatten(1).float()
    return images @ torch.linspace(-1, 1, images.shape[1], device=images.device)


def build_pipeline(settings, facts):
    """The pipeline, with that loss."""
    return partial(augmentations.build_pipeline(settings, facts), loss=slope)


def setting(kind: str, probability: float = 1.0):
    chance = {"probability": probability}
    more = {"options": chance} if kind == "plugin" else chance
    return TypeAdapter(AnyAugmentation).validate_python({"kind": kind, **ALWAYS[kind], **more})


def rows(batch: Batch, wanted) -> Batch:
    return Batch(batch.inputs[wanted], batch.targets[wanted], batch.index[wanted])


def test_the_table_above_covers_the_union():
    assert set(ALWAYS) == set(MEMBERS)


def test_same_words_same_output_whatever_the_batch(kind, make_batch, make_facts):
    if kind in MIXING:
        pytest.skip("mixing looks at the rest of the batch; see test_mixup")
    pipeline, batch = build_pipeline([setting(kind, 0.7)], make_facts()), make_batch()
    whole = pipeline(batch, seed=1, progress=NOW)
    for part in ([0, 1, 2, 3, 4], [5], [11, 6, 8, 7, 9, 10]):
        alone = pipeline(rows(batch, part), seed=1, progress=NOW)
        torch.testing.assert_close(alone.inputs, whole.inputs[part], rtol=0, atol=1e-6)
        assert torch.equal(alone.targets, whole.targets[part])


def test_mixing_does_not_depend_on_the_order_in_the_batch(kind, make_batch, make_facts):
    pipeline, batch = build_pipeline([setting(kind)], make_facts()), make_batch()
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))
    straight = pipeline(batch, seed=1, progress=NOW)
    shuffled = pipeline(rows(batch, order), seed=1, progress=NOW)
    torch.testing.assert_close(shuffled.inputs, straight.inputs[order], rtol=0, atol=1e-6)
    torch.testing.assert_close(shuffled.targets, straight.targets[order])


def test_repeats_exactly_and_changes_with_seed_epoch_and_view(kind, make_batch, make_facts):
    pipeline, batch = build_pipeline([setting(kind, 0.5)], make_facts()), make_batch(64)
    first = pipeline(batch, seed=1, progress=NOW).inputs
    assert torch.equal(first, pipeline(batch, seed=1, progress=NOW).inputs)
    assert not torch.equal(first, pipeline(batch, seed=2, progress=NOW).inputs)
    assert not torch.equal(first, pipeline(batch, seed=1, progress=Progress(epoch=4)).inputs)
    assert not torch.equal(first, pipeline(batch, seed=1, progress=NOW, view=1).inputs)


@pytest.mark.parametrize("size", [(16, 12), (150, 161)])
def test_chosen_samples_are_as_if_all_were_and_the_others_stay(kind, size, make_batch, make_facts):
    batch, facts = make_batch(9, 3, size), make_facts(3, size)
    some, every = (
        build_pipeline([setting(kind, probability)], facts)(batch, seed=1, progress=NOW)
        for probability in (0.4, 1.0)
    )
    chosen = Draws(1, NOW.epoch, 0, batch.index).chosen(0.4)
    assert 0 < chosen.sum() < 9
    expected = torch.where(chosen.view(-1, 1, 1, 1), every.images(), batch.images())
    assert torch.equal(some.images(), expected)
    assert torch.equal(some.targets, torch.where(chosen[:, None], every.targets, batch.targets))


def test_probability_zero_is_the_identity_bit_for_bit(kind, make_batch, make_facts):
    batch = make_batch()
    result = build_pipeline([setting(kind, 0.0)], make_facts())(batch, seed=1, progress=NOW)
    assert torch.equal(result.inputs, batch.inputs)
    assert torch.equal(result.targets, batch.targets)


def test_some_samples_change_at_probability_one(kind, make_batch, make_facts):
    batch = make_batch()
    result = build_pipeline([setting(kind)], make_facts())(batch, seed=1, progress=NOW)
    changed = (result.inputs != batch.inputs).flatten(1).any(1)
    assert changed.float().mean() > 0.7


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(16, 12), (9, 20), (8, 8), (1, 1)])
@pytest.mark.parametrize("count", [1, 7])
def test_shape_dtype_range_and_targets(kind, channels, size, count, make_batch, make_facts):
    batch = make_batch(count, channels, size)
    pipeline = build_pipeline([setting(kind)], make_facts(channels, size))
    result = pipeline(batch, seed=1, progress=NOW)
    assert result.inputs.shape == batch.inputs.shape
    assert result.inputs.dtype == torch.float32
    assert result.inputs.min() >= 0
    assert result.inputs.max() <= 1
    torch.testing.assert_close(result.targets.sum(1), torch.ones(count))
    assert torch.equal(result.index, batch.index)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_keeps_other_float_types(kind, dtype, make_batch, make_facts):
    batch = make_batch()
    batch = batch.with_images(batch.images().to(dtype))
    result = build_pipeline([setting(kind)], make_facts())(batch, seed=1, progress=NOW)
    assert result.inputs.dtype == dtype


def test_memory_layout_changes_nothing(kind, make_batch, make_facts):
    pipeline, batch = build_pipeline([setting(kind)], make_facts()), make_batch()
    last = batch.with_images(batch.images().to(memory_format=torch.channels_last))
    expected = pipeline(batch, seed=1, progress=NOW).inputs
    found = pipeline(last, seed=1, progress=NOW).inputs
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("probability", [0.5, 1.0])
def test_the_input_is_not_modified(kind, probability, make_batch, make_facts):
    batch = make_batch()
    images, targets = batch.inputs.clone(), batch.targets.clone()
    build_pipeline([setting(kind, probability)], make_facts())(batch, seed=1, progress=NOW)
    assert torch.equal(batch.inputs, images)
    assert torch.equal(batch.targets, targets)


def test_works_without_labels(kind, make_batch, make_facts):
    batch = make_batch()
    unlabelled = Batch(batch.inputs, None, batch.index)
    pipeline = build_pipeline([setting(kind)], make_facts())
    result = pipeline(unlabelled, seed=1, progress=NOW)
    assert result.targets is None
    assert torch.equal(result.inputs, pipeline(batch, seed=1, progress=NOW).inputs)


def test_leaves_torchs_random_state_alone(kind, make_batch, make_facts):
    before = torch.get_rng_state()
    build_pipeline([setting(kind)], make_facts())(make_batch(), seed=1, progress=NOW)
    assert torch.equal(torch.get_rng_state(), before)


def test_says_for_which_data_its_labels_are_not_safe(kind):
    assert len(MEMBERS[kind].label_safety) > 10
    assert MEMBERS[kind].__doc__


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_the_same(kind, make_batch, make_facts):
    pipeline, batch = build_pipeline([setting(kind)], make_facts()), make_batch(64)
    here = pipeline(batch, seed=1, progress=NOW)
    there = pipeline(batch.to("cuda"), seed=1, progress=NOW).to("cpu")
    torch.testing.assert_close(there.inputs, here.inputs, rtol=0, atol=1e-4)
    torch.testing.assert_close(there.targets, here.targets, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "wrong, match",
    [
        ({"kind": "nothing"}, "does not match any of the expected tags"),
        ({"kind": "mixup", "alpha": 0}, "greater than 0"),
        ({"kind": "mixup", "alpa": 1}, "Extra inputs"),
        ({"kind": "random_crop", "fill": 2}, "less than or equal to 1"),
        ({"kind": "horizontal_flip", "probability": 1.5}, "less than or equal to 1"),
        ({"kind": "affine", "scale": [1.1, 0.9]}, "write the lower end first"),
        ({"kind": "affine", "scale": [0, 1]}, "a zoom must be above 0"),
        ({"kind": "scale", "zoom": [0, 1]}, "a zoom must be above 0"),
        ({"kind": "rotate", "degrees": 181}, "less than or equal to 180"),
        ({"kind": "shear", "x": 90}, "less than 90"),
        ({"kind": "resized_crop", "scale": [0.5, 1.5]}, "less than or equal to 1"),
        ({"kind": "resized_crop", "ratio": [0, 1]}, "ratio must be above 0"),
        ({"kind": "perspective", "distortion_scale": 1.5}, "less than or equal to 1"),
        ({"kind": "lens_distortion", "k1": [-0.5, 0]}, "give k1 above -1/3"),
        ({"kind": "gaussian_blur", "kernel_size": 4}, "write an odd number, 5"),
        ({"kind": "gaussian_blur", "sigma": [-1, 2]}, "0 does not blur"),
        ({"kind": "median_blur", "kernel_size": 7}, "Input should be 3 or 5"),
        ({"kind": "rotate", "fill": "wrap"}, "'mean', 'nearest', 'reflect' or 'noise'"),
        ({"kind": "random_erasing", "ratio": [0, 1]}, "ratio must be above 0"),
        ({"kind": "random_erasing", "scale": [0.1, 2]}, "a share of the image"),
        ({"kind": "posterize", "bits": [8, 4]}, r"write the fewer bits first: \[4, 8\]"),
        ({"kind": "posterize", "bits": [0, 4]}, "greater than or equal to 1"),
        ({"kind": "solarize", "threshold": [128, 255]}, "less than or equal to 1"),
        ({"kind": "color_space_jitter", "scale": [0.1, 0.1]}, "Field required"),
        ({"kind": "gaussian_noise", "std": [0.2, 0.1]}, "write the lower end first"),
        ({"kind": "salt_pepper_noise", "amount": [0, 5]}, "less than or equal to 1"),
        ({"kind": "shot_noise", "photons": [0, 5]}, "photons must be above 0"),
        ({"kind": "cutout", "side": 16}, "less than or equal to 1"),
        ({"kind": "cutmix", "alpha": 0}, "greater than 0"),
    ],
)
def test_wrong_settings_are_refused_when_read(wrong, match):
    with pytest.raises(ValidationError, match=match):
        TypeAdapter(AnyAugmentation).validate_python(wrong)


CLASSES = {one.model_fields["kind"].default: one for one in get_args(get_args(AnyAugmentation)[0])}
SEVERAL = {
    kind: one
    for kind, one in CLASSES.items()
    if len(set(getattr(one, "neutral", ())) - {"probability"}) > 1
}


def test_colour_and_geometry_have_kinds_with_several_strengths():
    assert set(SEVERAL) == {"affine", "shear", "color_jitter", "color_space_jitter"}


@pytest.mark.parametrize("kind", SEVERAL)
def test_strengths_that_are_not_named_are_off(kind):
    model, usual = SEVERAL[kind], SEVERAL[kind]()
    for name in model.neutral:
        alone = model(**{name: getattr(usual, name), "probability": 0.5})
        assert getattr(alone, name) == getattr(usual, name)
        others = {other: getattr(alone, other) for other in model.neutral if other != name}
        assert others == {other: model.neutral[other] for other in others}
        assert model.model_validate(alone.model_dump(mode="json")) == alone
    defaults = {name: model.model_fields[name].default for name in model.neutral}
    plain = model(probability=0.5)
    assert {name: getattr(plain, name) for name in model.neutral} == defaults
