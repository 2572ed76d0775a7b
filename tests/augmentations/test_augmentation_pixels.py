"""Colour jitter against torchvision, random erasing and mixup against their definitions."""

from __future__ import annotations

import pytest
import torch
import torchvision.transforms.v2.functional as tv
from scipy import stats

from augcompress.augmentations import build_pipeline
from augcompress.augmentations.color_jitter import (
    ColorJitter,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    factors,
)
from augcompress.augmentations.covering import RandomErasing, rectangle_sizes, rectangles
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.mixing import Mixup, partners
from augcompress.batch import Batch, Progress

NOW = Progress()


@pytest.mark.parametrize(
    "ours, theirs, values",
    [
        (adjust_brightness, tv.adjust_brightness, (0.0, 0.6, 1.0, 1.7)),
        (adjust_contrast, tv.adjust_contrast, (0.0, 0.6, 1.0, 1.7)),
        (adjust_saturation, tv.adjust_saturation, (0.0, 0.6, 1.0, 1.7)),
        (adjust_hue, tv.adjust_hue, (-0.5, -0.1, 0.0, 0.3)),
    ],
)
def test_colour_operations_are_torchvisions(ours, theirs, values, make_batch):
    images = make_batch(len(values)).images()
    images[0, :, :4] = 0.5  # grey has no hue
    images[1, :, :4] = 0.0
    expected = torch.stack([theirs(image, v) for image, v in zip(images, values, strict=True)])
    # the same formulas in another order: a few float32 roundings
    torch.testing.assert_close(ours(images, torch.tensor(values)), expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("ours, theirs", [(adjust_contrast, tv.adjust_contrast)])
def test_contrast_of_grey_images_is_torchvisions(ours, theirs, make_batch):
    images = make_batch(2, channels=1).images()
    torch.testing.assert_close(ours(images, torch.tensor([0.5, 0.5])), theirs(images, 0.5))


def test_factors_reach_from_one_minus_to_one_plus():
    assert factors(torch.tensor([0.0, 1.0]), 0.4).tolist() == pytest.approx([0.6, 1.4])
    assert factors(torch.tensor([0.0, 1.0]), 1.5).tolist() == pytest.approx([0.0, 2.5])


def test_jitter_draws_for_each_image_by_itself(make_facts):
    batch = Batch(torch.full((6, 1, 4, 4), 0.5), None, torch.arange(6))
    jitter = build_pipeline([ColorJitter(contrast=0, brightness=0.5)], make_facts(1))
    levels = jitter(batch, seed=0, progress=NOW).images()[:, 0, 0, 0]
    assert len(levels.unique()) == 6
    assert (levels - 0.5).abs().max() <= 0.25


def test_rectangles_keep_to_area_and_ratio():
    uniform = Draws(0, 0, 0, torch.arange(2000)).uniform(20).view(-1, 2, 10)
    sides = rectangle_sizes(uniform, (200, 100), (0.05, 0.2), (0.5, 2.0))
    area, ratio = sides.prod(1) / 20_000, sides[:, 0] / sides[:, 1]
    assert area.min() > 0.05 * 0.95
    assert area.max() < 0.2 * 1.05
    assert ratio.min() > 0.5 * 0.9
    assert ratio.max() < 2.0 * 1.1


def test_a_rectangle_that_never_fits_erases_nothing():
    uniform = torch.full((1, 2, 10), 0.5)
    sides = rectangle_sizes(uniform, (4, 40), (0.9, 1.0), (1.0, 1.0))
    assert sides.tolist() == [[0, 0]]
    assert not rectangles(torch.zeros(1, 2), sides, (4, 40)).masks().any()


def test_rectangles_have_their_sides_and_reach_every_edge():
    sides = torch.tensor([[2.0, 3.0]]).expand(500, 2)
    uniform = Draws(0, 0, 0, torch.arange(500)).uniform(2)
    masks = rectangles(uniform, sides, (5, 7)).masks()[:, 0]
    assert (masks.sum((1, 2)) == 6).all()
    assert masks.any(0).all()


def test_erasing_writes_its_value_or_noise(make_batch, make_facts):
    batch = make_batch(40)
    grey = build_pipeline([RandomErasing(probability=1, value=0.5)], make_facts())
    noise = build_pipeline([RandomErasing(probability=1)], make_facts())
    erased, noisy = (p(batch, seed=0, progress=NOW).images() for p in (grey, noise))
    gone = erased != batch.images()
    assert gone.any()
    assert (erased[gone] == 0.5).all()
    assert torch.equal(noisy != batch.images(), gone)
    assert stats.kstest(noisy[gone].numpy(), "uniform").pvalue > 1e-3


def test_everybody_is_a_partner_once_and_nobody_their_own():
    uniform = torch.tensor([0.9, 0.1, 0.5, 0.1])
    assert partners(uniform).tolist() == [1, 3, 0, 2]


def test_mixup_blends_image_and_target_by_the_same_share(make_facts):
    count = 50
    images = torch.arange(count).div(count).view(-1, 1, 1, 1).expand(count, 1, 2, 2)
    batch = Batch(images, torch.eye(count), torch.arange(count))
    result = build_pipeline([Mixup(alpha=1.0)], make_facts(1))(batch, seed=0, progress=NOW)
    values = torch.arange(count) / count
    torch.testing.assert_close(result.images()[:, 0, 0, 0], result.targets @ values)
    assert ((result.targets > 0).sum(1) == 2).all()
    assert stats.kstest(result.targets.diagonal().numpy(), "uniform").pvalue > 1e-3


def test_the_share_of_a_sample_does_not_hang_on_its_batch(make_batch, make_facts):
    batch = make_batch()
    classes = torch.eye(len(batch))
    mixup = build_pipeline([Mixup(alpha=1.0)], make_facts())
    whole = mixup(Batch(batch.inputs, classes, batch.index), seed=0, progress=NOW)
    part = mixup(Batch(batch.inputs[:5], classes[:5], batch.index[:5]), seed=0, progress=NOW)
    assert torch.equal(whole.targets.diagonal()[:5], part.targets.diagonal())


def test_a_sample_alone_in_its_batch_is_not_mixed(make_batch, make_facts):
    batch = make_batch(1)
    result = build_pipeline([Mixup()], make_facts())(batch, seed=0, progress=NOW)
    assert torch.equal(result.images(), batch.images())
    assert torch.equal(result.targets, batch.targets)
