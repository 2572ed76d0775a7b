"""Policies: every operation is torchvision's, and so are operations, strengths and sub-policies."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision.transforms.v2 as transforms
import torchvision.transforms.v2.functional as tv
from pydantic import ValidationError

from augcompress.augmentations import Draws, augmix, operations
from augcompress.augmentations.augmix import AugMix
from augcompress.augmentations.auto_augment import AutoAugment
from augcompress.augmentations.auto_augment_policies import POLICIES
from augcompress.augmentations.policy import RandAugment, TrivialAugment
from augcompress.augmentations.policy_magnitudes import spaced
from augcompress.augmentations.policy_operations import OPERATIONS, Moving, Plan, apply_plan
from augcompress.batch import Batch, Progress

NOW = Progress(epoch=2)
BLACK = Moving("nearest", (0.0,) * 3)
STRENGTHS = {
    "ShearX": (-0.3, 0.13, 0.99),
    "ShearY": (-0.3, 0.13, 0.99),
    "TranslateX": (-7.9, 3.2, 40.0),
    "TranslateY": (-7.9, 3.2, 40.0),
    "Rotate": (-30.0, 11.0, 135.0),
    "Brightness": (-0.9, 0.0, 0.63),
    "Color": (-0.9, 0.0, 0.63),
    "Contrast": (-0.9, 0.0, 0.63),
    "Sharpness": (-0.9, 0.0, 0.63),
    "Posterize": (8.0, 4.0, 0.0),
    "Solarize": (1.0, 0.43, 0.0),
}
CHANGES = {
    "Brightness": lambda image, magnitude: tv.adjust_brightness(image, 1 + magnitude),
    "Color": lambda image, magnitude: tv.adjust_saturation(image, 1 + magnitude),
    "Contrast": lambda image, magnitude: tv.adjust_contrast(image, 1 + magnitude),
    "Sharpness": lambda image, magnitude: tv.adjust_sharpness(image, 1 + magnitude),
    "Posterize": lambda image, magnitude: tv.posterize(image, int(magnitude)),
    "Solarize": tv.solarize,
    "AutoContrast": lambda image, magnitude: tv.autocontrast(image),
    "Equalize": lambda image, magnitude: tv.equalize(image),
    "Invert": lambda image, magnitude: tv.invert(image),
}


def theirs(image, name: str, magnitude: float, interpolation: str):
    """What torchvision's policies make of one image."""
    if name in CHANGES:
        return CHANGES[name](image, magnitude)
    mode = tv.InterpolationMode(interpolation)
    if name == "Rotate":
        return tv.rotate(image, magnitude, interpolation=mode)
    degrees, pixels = math.degrees(math.atan(magnitude)), int(magnitude)
    shear = {"ShearX": [degrees, 0.0], "ShearY": [0.0, degrees]}.get(name, [0.0, 0.0])
    shift = {"TranslateX": [pixels, 0], "TranslateY": [0, pixels]}.get(name, [0, 0])
    center = [0.0, 0.0] if name.startswith("Shear") else None
    return tv.affine(image, 0.0, shift, 1.0, shear, interpolation=mode, center=center)


def plan(names, magnitudes) -> Plan:
    """One operation for each sample."""
    places = torch.tensor([[OPERATIONS.index(name)] for name in names])
    return Plan(places, torch.tensor([[float(value)] for value in magnitudes]))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("name", OPERATIONS[1:])
def test_every_operation_is_torchvisions(name, interpolation, channels, make_batch):
    magnitudes = STRENGTHS.get(name, (0.0,))
    images = make_batch(len(magnitudes), channels).images()
    moving = Moving(interpolation, (0.0,) * channels)
    found = apply_plan(images, plan([name] * len(magnitudes), magnitudes), moving)
    pairs = zip(images, magnitudes, strict=True)
    expected = torch.stack([theirs(image, name, value, interpolation) for image, value in pairs])
    # bilinear: both place a sample to about 1e-6 pixels, and neighbouring noise differs by up to 1
    tolerance = 2e-5 if interpolation == "bilinear" and name in OPERATIONS[1:6] else 5e-6
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


def test_places_halfway_between_two_pixels_all_go_one_way():
    images = torch.arange(12.0).div(16).expand(1, 1, 8, 12)
    found = apply_plan(images, plan(["ShearX"], [0.2]), Moving("nearest", "nearest"))
    assert (found[0, 0, 2] * 16).tolist() == [*range(1, 12), 11]  # moved by 0.2 * 2.5 = 1/2


def test_a_batch_of_all_operations_equals_one_after_the_other(make_batch):
    images = make_batch(3 * len(OPERATIONS)).images()
    names = [*OPERATIONS, *reversed(OPERATIONS), *OPERATIONS]
    magnitudes = [STRENGTHS.get(name, (0.0,))[-1] for name in names]
    together = apply_plan(images, plan(names, magnitudes), BLACK)
    for row, (name, magnitude) in enumerate(zip(names, magnitudes, strict=True)):
        alone = apply_plan(images[row : row + 1], plan([name], [magnitude]), BLACK)
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-6)


def test_columns_are_done_in_order(make_batch):
    images = make_batch(2).images()
    places = [[OPERATIONS.index(name) for name in row] for row in (["Solarize", "Rotate"],) * 2]
    places[1].reverse()
    magnitudes = torch.tensor([[0.5, 90.0], [90.0, 0.5]])
    found = apply_plan(
        images, Plan(torch.tensor(places), magnitudes), Moving("nearest", (0.4,) * 3)
    )
    first = tv.rotate(tv.solarize(images[0], 0.5), 90.0, fill=[0.4] * 3)
    second = tv.solarize(tv.rotate(images[1], 90.0, fill=[0.4] * 3), 0.5)
    torch.testing.assert_close(found, torch.stack((first, second)), rtol=0, atol=1e-6)


def test_what_comes_in_from_outside_is_the_fill(make_batch, make_facts):
    batch = make_batch(200)
    setting = RandAugment(num_ops=1, magnitude=30, fill="mean")
    worker = setting.build(make_facts())
    result = worker(batch, Draws(0, 0, 0, batch.index), progress=NOW).images()
    chosen = setting.plan(skipping_the_choice(Draws(0, 0, 0, batch.index)), (16, 12)).operation
    shifted = chosen[:, 0] == OPERATIONS.index("TranslateY")
    assert shifted.sum() > 5
    corners = result[shifted][:, :, [0, -1]]  # one of the two was outside
    mean = torch.tensor([0.5, 0.4, 0.3]).view(3, 1)
    assert ((corners == mean[:, None]).all((1, 3)).sum(1) == 1).all()


def skipping_the_choice(draws: Draws) -> Draws:
    draws.uniform(1)
    return draws


@pytest.mark.parametrize(
    "name, tolerance, mild",
    [(name, 1e-6, 0.0) for name in OPERATIONS[1:10]] + [("Posterize", 1 / 256, 8.0)],
)
def test_the_mildest_strength_is_the_identity(name, tolerance, mild, make_batch):
    # Posterize rounds down to 8 bits; factors of 1 are blends, with a rounding or two
    images = make_batch(4).images()
    found = apply_plan(images, plan([name] * 4, [mild] * 4), BLACK)
    torch.testing.assert_close(found, images, rtol=0, atol=tolerance)
    assert mild == operations("rand_augment")[name].mildest


def test_the_mildest_solarize_turns_pure_white_alone():
    images = torch.tensor([0.0, 0.999, 1.0]).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    found = apply_plan(images, plan(["Solarize"], [1.0]), BLACK)
    assert found[0, 0, 0].tolist() == pytest.approx([0.0, 0.999, 0.0])


def test_colour_leaves_grey_images_alone(make_batch):
    images = make_batch(3, channels=1).images()
    moving = Moving("nearest", (0.0,))
    assert torch.equal(apply_plan(images, plan(["Color"] * 3, [-0.9, 0.1, 0.9]), moving), images)


@pytest.mark.parametrize("levels", [2, 7, 10, 31])
@pytest.mark.parametrize("size", [(32, 32), (28, 40), (224, 224)])
@pytest.mark.parametrize(
    "kind, other",
    [
        ("rand_augment", transforms.RandAugment._AUGMENTATION_SPACE),
        ("trivial_augment", transforms.TrivialAugmentWide._AUGMENTATION_SPACE),
        ("auto_augment", transforms.AutoAugment._AUGMENTATION_SPACE),
        ("augmix", transforms.AugMix._AUGMENTATION_SPACE),
        ("augmix_partial", transforms.AugMix._PARTIAL_AUGMENTATION_SPACE),
    ],
)
def test_strengths_are_torchvisions(kind, other, size, levels):
    ours = operations(kind)
    assert set(ours) == set(other)
    for name, (strengths, signed) in other.items():
        expected = strengths(levels, *size)
        assert ours[name].signed == signed
        found = spaced(ours[name], levels, size)
        assert torch.equal(found, torch.zeros(levels) if expected is None else expected.float())


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_published_policies_are_torchvisions(name):
    other = transforms.AutoAugment(transforms.AutoAugmentPolicy(name))._policies
    assert list(POLICIES[name]) == other
    AutoAugment(policy=[list(steps) for steps in POLICIES[name]])  # and pass our own checks


@pytest.mark.parametrize(
    "setting",
    [RandAugment(), TrivialAugment(), AutoAugment(policy="cifar10"), AugMix()],
    ids=lambda setting: setting.kind,
)
def test_identical_images_come_out_as_different_as_their_draws(setting, make_facts):
    one = torch.rand((1, 3, 16, 12), generator=torch.Generator().manual_seed(1))
    batch = Batch(one.expand(256, -1, -1, -1), None, torch.arange(256))
    worker = setting.build(make_facts())
    result = worker(batch, Draws(3, 0, 0, batch.index), progress=NOW).images()
    alone = [
        worker(Batch(one, None, at), Draws(3, 0, 0, at), progress=NOW).images()[0]
        for at in batch.index.view(-1, 1)
    ]
    together, independent = (
        len({image.mul(1e4).round().int().numpy().tobytes() for image in images})
        for images in (result, alone)
    )
    assert together == independent
    assert together > {"rand_augment": 100, "auto_augment": 50}.get(setting.kind, 130)


def test_one_resampling_moves_all_samples(make_batch, monkeypatch):
    calls = []
    move = Moving.__call__

    def spy(self, images, *arguments):
        calls.append(len(images))
        return move(self, images, *arguments)

    monkeypatch.setattr(Moving, "__call__", spy)
    names = [*OPERATIONS, *OPERATIONS[1:6]]
    apply_plan(make_batch(len(names)).images(), plan(names, [1.0] * len(names)), BLACK)
    assert calls == [10]


@pytest.mark.parametrize(
    "kind, wrong, match",
    [
        (RandAugment, {"magnitude": 31}, "above the highest level, 30; lower it"),
        (RandAugment, {"magnitude": 9, "num_magnitude_bins": 9}, "raise num_magnitude_bins"),
        (RandAugment, {"num_ops": 0}, "greater than or equal to 1"),
        (RandAugment, {"interpolation": "cubic"}, "'nearest' or 'bilinear'"),
        (TrivialAugment, {"num_magnitude_bins": 1}, "greater than or equal to 2"),
        (AugMix, {"severity": 11}, "less than or equal to 10"),
        (AugMix, {"chain_depth": 0}, "-1 draws from 1 to 3"),
        (AugMix, {"alpha": 0}, "greater than 0"),
    ],
)
def test_wrong_strengths_are_refused_when_read(kind, wrong, match):
    with pytest.raises(ValidationError, match=match):
        kind(**wrong)


@pytest.mark.parametrize(
    "setting",
    [RandAugment(magnitude=30, fill="noise"), AugMix(severity=10, fill="noise")],
    ids=lambda setting: setting.kind,
)
def test_noise_from_outside_is_each_samples_own(setting, make_facts):
    images = torch.full((64, 3, 16, 12), 0.5)
    batch, worker = Batch(images, None, torch.arange(64)), setting.build(make_facts())
    whole = worker(batch, Draws(0, 0, 0, batch.index), progress=NOW).images()
    part = Batch(images[:9], None, batch.index[[3, 60, 7, 8, 9, 20, 21, 22, 50]])
    alone = worker(part, Draws(0, 0, 0, part.index), progress=NOW).images()
    torch.testing.assert_close(alone, whole[part.index], rtol=0, atol=1e-6)
    several = [len(image.mul(1e4).round().unique()) for image in whole]
    assert sum(count > 50 for count in several) > 10


def test_augmix_in_pieces_is_augmix(make_batch, make_facts, monkeypatch):
    batch, worker = make_batch(20), AugMix().build(make_facts())
    whole = worker(batch, Draws(0, 0, 0, batch.index), progress=NOW).images()
    monkeypatch.setattr(augmix, "_BLOCK", 3 * 3 * 3 * 16 * 12)  # three samples at a time
    pieces = worker(batch, Draws(0, 0, 0, batch.index), progress=NOW).images()
    torch.testing.assert_close(pieces, whole, rtol=0, atol=1e-6)
