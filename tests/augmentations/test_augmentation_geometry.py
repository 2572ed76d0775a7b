"""Geometry: exact copies where whole pixels move, torchvision's affine where not, and fusing."""

from __future__ import annotations

import pytest
import torch
import torchvision.transforms.v2.functional as tv

from augcompress.augmentations import build_pipeline, rows
from augcompress.augmentations.color_jitter import ColorJitter
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.geometry import compose, identity_matrices
from augcompress.augmentations.moves import (
    Affine,
    HorizontalFlip,
    RandomCrop,
    affine_matrices,
    crop_shifts,
    mirrors,
    translations,
)
from augcompress.augmentations.resampling import resample
from augcompress.batch import Progress

NOW = Progress(epoch=1)
SIZE = (16, 12)


def draws_of(batch, position: int) -> Draws:
    return Draws(1, NOW.epoch, position, batch.index)


@pytest.mark.parametrize(
    "fill, filling, mode",
    [
        (0.25, (0.25,) * 3, "constant"),
        ("reflect", "reflect", "reflect"),
        ("nearest", "nearest", "edge"),
    ],
)
@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-4, 4), (1, 4)])
@pytest.mark.parametrize("flipped", [False, True])
def test_crop_and_flip_copy_what_torchvision_copies(
    fill, filling, mode, shift, flipped, make_batch
):
    images = make_batch(2).images()
    padded = tv.pad(images, [4] * 4, padding_mode=mode, fill=fill if mode == "constant" else 0)
    expected = tv.crop(padded, 4 + shift[1], 4 + shift[0], *SIZE)
    matrices = translations(torch.tensor([shift, shift], dtype=torch.float32))
    if flipped:
        expected = tv.horizontal_flip(expected)
        matrices = compose(matrices, mirrors(Draws(0, 0, 0, torch.arange(2))))
    for whole in (True, False):
        assert torch.equal(resample(images, matrices, filling, whole=whole), expected)


def test_reflection_goes_on_beyond_one_image_width():
    images = torch.arange(3.0).view(1, 1, 1, 3) / 10
    rows = [
        resample(images, translations(torch.tensor([[shift, 0.0]])), "reflect", whole=True)
        for shift in (3.0, 4.0, -5.0)
    ]
    found = (torch.cat(rows).flatten(1) * 10).round().tolist()
    assert found == [[1, 0, 1], [0, 1, 2], [1, 0, 1]]


def test_mean_fill_is_the_mean_of_each_channel(make_batch, make_facts):
    batch = make_batch(64)
    crop = build_pipeline([RandomCrop(padding=4, fill="mean")], make_facts())
    shifts = crop_shifts(skipping_the_choice(draws_of(batch, 0)).uniform(2), 4)
    corner = crop(batch, seed=1, progress=NOW).images()[:, :, 0, 0]
    outside = (shifts < 0).any(1)
    assert outside.any()
    wanted = torch.tensor([0.5, 0.4, 0.3])
    assert torch.equal(corner[outside], wanted.expand(int(outside.sum()), 3))


def skipping_the_choice(draws: Draws) -> Draws:
    draws.uniform(1)
    return draws


def test_crop_shifts_are_all_whole_numbers_in_reach():
    shifts = crop_shifts(Draws(0, 0, 0, torch.arange(5000)).uniform(2), 2)
    assert sorted(shifts.unique().tolist()) == [-2, -1, 0, 1, 2]
    counts = torch.bincount((shifts + 2).long().flatten())
    assert counts.min() > 1800  # of 2000 expected: five standard deviations


@pytest.mark.parametrize("fill", [0.0, 0.4])
@pytest.mark.parametrize(
    "angle, shift, scale, shear",
    [(0, (0, 0), 1, 0), (25, (0, 0), 1, 0), (-40, (3, -2), 1.3, 0), (10, (-1, 2), 0.7, 20)],
)
def test_affine_is_torchvisions(fill, angle, shift, scale, shear, make_batch):
    images = make_batch(2).images()
    # given a fill, torchvision fades the edge pixels twice; without one it pads with zeros
    expected = fill + tv.affine(
        images - fill,
        angle=angle,
        translate=list(shift),
        scale=scale,
        shear=[shear, 0.0],
        interpolation=tv.InterpolationMode.BILINEAR,
    )
    values = [torch.tensor([float(v), float(v)]) for v in (angle, scale, shear)]
    shifts = torch.tensor([shift, shift], dtype=torch.float32)
    matrices = affine_matrices(values[0], shifts, values[1], values[2])
    found = resample(images, matrices, (fill,) * 3, whole=False)
    # both place a sample to about 1e-6 pixels, and neighbouring noise differs by up to 1
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_affine_stays_in_its_ranges():
    draws = Draws(0, 0, 0, torch.arange(4000))
    matrices = Affine(degrees=20, translate=0.25, scale=(0.5, 2.0)).transforms(draws, SIZE)
    forward = torch.linalg.inv(matrices[:, :, :2])
    angles = torch.atan2(forward[:, 1, 0], forward[:, 0, 0]).rad2deg()
    scales = torch.linalg.det(forward).sqrt()
    shifts = -(forward @ matrices[:, :, 2:])[..., 0]
    assert angles.abs().max() == pytest.approx(20, rel=0.01)
    assert scales.min() == pytest.approx(0.5, rel=0.01)
    assert scales.max() == pytest.approx(2, rel=0.01)
    assert shifts.abs().amax(0).tolist() == pytest.approx([3, 4], rel=0.01)


def test_composing_is_the_product_of_homogeneous_matrices():
    earlier, later = (
        Affine().transforms(Draws(0, 0, place, torch.arange(5)), SIZE) for place in (0, 1)
    )
    bottom = torch.tensor([0.0, 0.0, 1.0]).expand(5, 1, 3)
    product = torch.cat((earlier, bottom), 1) @ torch.cat((later, bottom), 1)
    torch.testing.assert_close(compose(earlier, later), product[:, :2])


def test_fused_matrices_are_the_product_of_the_workers(make_batch, make_facts):
    batch, settings = make_batch(), [Affine(), HorizontalFlip(), RandomCrop()]
    (fused,) = build_pipeline(settings, make_facts()).steps
    together = fused.matrices([draws_of(batch, place) for place in range(3)], SIZE)
    product = identity_matrices(len(batch), torch.device("cpu"))
    for place, one in enumerate(settings):
        worker = one.build(make_facts())
        product = compose(product, worker.matrices(draws_of(batch, place), SIZE))
    assert torch.equal(together, product)


def test_neighbours_are_resampled_once(make_batch, make_facts, monkeypatch):
    calls = []

    def spy(*arguments, **keywords):
        calls.append(keywords["whole"])
        return resample(*arguments, **keywords)

    monkeypatch.setattr(rows, "resample", spy)
    settings = [RandomCrop(), HorizontalFlip(), Affine(), ColorJitter(), HorizontalFlip()]
    build_pipeline(settings, make_facts())(make_batch(), seed=1, progress=NOW)
    assert calls == [False, True]


def test_different_fillings_are_not_fused(make_facts):
    settings = [RandomCrop(fill=0.0), HorizontalFlip(), Affine(fill="mean")]
    assert build_pipeline(settings, make_facts()).positions == [[0, 1], [2]]


def test_fused_crop_and_flip_equal_one_after_the_other(make_batch, make_facts):
    batch, settings = make_batch(64), [RandomCrop(fill="nearest"), HorizontalFlip()]
    fused = build_pipeline(settings, make_facts())(batch, seed=1, progress=NOW)
    single = batch
    for place, one in enumerate(settings):
        worker = one.build(make_facts())
        single = worker(single, draws_of(batch, place), progress=NOW)
    assert torch.equal(fused.images(), single.images())


def test_flip_mirrors_about_half_of_the_images(make_batch, make_facts):
    batch = make_batch(900)
    result = build_pipeline([HorizontalFlip()], make_facts())(batch, seed=1, progress=NOW)
    flipped = (result.images() == batch.images().flip(3)).flatten(1).all(1)
    kept = (result.images() == batch.images()).flatten(1).all(1)
    assert (flipped ^ kept).all()
    assert 380 < flipped.sum() < 520
