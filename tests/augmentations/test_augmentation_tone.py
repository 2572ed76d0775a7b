"""Tone curves against torchvision, and the kinds that use them."""

from __future__ import annotations

import pytest
import torch
import torchvision.transforms.v2.functional as tv
from PIL import Image, ImageOps
from scipy import stats
from torch import Tensor

from augcompress.augmentations import build_pipeline
from augcompress.augmentations.levels import Autocontrast, Equalize, Invert, Posterize, Solarize
from augcompress.augmentations.recording import RecordedDraws
from augcompress.augmentations.tone import (
    adjust_sharpness,
    autocontrast,
    equalize,
    invert,
    posterize,
    solarize,
)
from augcompress.batch import Progress

NOW = Progress()
SMALLEST_P = 1e-3  # the seed is fixed: these tests pass always or never


def pictures(channels: int = 3, size: tuple[int, int] = (40, 31)) -> Tensor:
    """Images of 256 levels: noise, a dark gradient, few levels, a constant, and flat but for one
    pixel."""
    generator = torch.Generator().manual_seed(channels)
    levels = torch.randint(0, 256, (5, channels, *size), generator=generator)
    levels[1] = torch.linspace(0, 90, size[1]).long()
    levels[2] = levels[2] // 60 * 60
    levels[3] = 77
    levels[4] = 200
    levels[4, :, 3, 5] = 10
    return levels.float() / 255


def each(theirs, images: Tensor, values) -> Tensor:
    return torch.stack([theirs(image, value) for image, value in zip(images, values, strict=True)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("start", range(1, 5))
def test_posterize_is_torchvisions(channels, start):
    images, bits = pictures(channels), list(range(start, start + 5))
    assert torch.equal(posterize(images, torch.tensor(bits)), each(tv.posterize, images, bits))


def test_posterize_to_nothing_is_black_and_to_eight_bits_darkens_by_one_level_at_most():
    images = pictures()
    assert posterize(images, torch.zeros(5)).count_nonzero() == 0
    lost = images - posterize(images, torch.full((5,), 8))
    assert lost.min() >= 0
    assert lost.max() <= 1 / 256


@pytest.mark.parametrize("channels", [1, 3])
def test_solarize_is_torchvisions(channels):
    images, thresholds = pictures(channels), [0.0, 0.3, 77 / 255, 0.7, 1.0]
    found = solarize(images, torch.tensor(thresholds))
    assert torch.equal(found, each(tv.solarize, images, thresholds))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ours, theirs", [(invert, tv.invert), (autocontrast, tv.autocontrast)])
def test_invert_and_autocontrast_are_torchvisions(ours, theirs, channels):
    images = pictures(channels)
    assert torch.equal(ours(images), theirs(images))


def test_autocontrast_reaches_both_ends_and_leaves_a_flat_channel():
    images = pictures()
    found = autocontrast(images)
    assert torch.equal(found[3], images[3])
    assert found[:3].amin((2, 3)).max() == 0
    assert found[:3].amax((2, 3)).min() == 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(40, 31), (16, 16), (15, 17), (6, 9), (224, 160), (1, 1)])
def test_equalize_is_torchvisions(channels, size):
    images = pictures(channels, (max(size[0], 6), max(size[1], 9)))[:, :, : size[0], : size[1]]
    # levels are the same; theirs go back by a factor of 1/255, ours by a division: one rounding
    torch.testing.assert_close(equalize(images), tv.equalize(images), rtol=0, atol=1e-7)


def test_equalize_of_values_between_levels_is_torchvisions():
    images = torch.rand((4, 3, 33, 29), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(equalize(images), tv.equalize(images), rtol=0, atol=1e-7)


def test_equalize_is_pils():
    images = pictures(1)
    found = (equalize(images) * 255).round().byte()
    for ours, before in zip(found[:, 0], images[:, 0], strict=True):
        picture = Image.fromarray((before * 255).round().byte().numpy())
        expected = torch.tensor(list(ImageOps.equalize(picture).tobytes()), dtype=torch.uint8)
        assert torch.equal(ours.flatten(), expected)


def test_equalize_keeps_a_flat_channel_bit_for_bit():
    images = pictures()
    assert torch.equal(equalize(images)[3], images[3])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(40, 31), (3, 3), (2, 9)])
def test_sharpness_is_torchvisions(channels, size):
    images = torch.rand((5, channels, *size), generator=torch.Generator().manual_seed(2))
    factors = [0.0, 0.4, 1.0, 1.9, 5.0]
    found = adjust_sharpness(images, torch.tensor(factors))
    # theirs is a convolution, ours adds rows, then columns: roundings, times the factor
    torch.testing.assert_close(found, each(tv.adjust_sharpness, images, factors), rtol=0, atol=2e-6)
    assert torch.equal(found[2], images[2])


@pytest.mark.parametrize(
    "change",
    [
        invert,
        autocontrast,
        equalize,
        lambda images: posterize(images, torch.full((5,), 3)),
        lambda images: solarize(images, torch.full((5,), 0.5)),
        lambda images: adjust_sharpness(images, torch.full((5,), 1.7)),
    ],
)
def test_memory_layout_changes_nothing_and_the_input_stays(change):
    images = pictures()
    before, last = images.clone(), images.to(memory_format=torch.channels_last)
    torch.testing.assert_close(change(last), change(images), rtol=0, atol=1e-6)
    assert torch.equal(images, before)
    assert torch.equal(last, before)


def told(kind, name: str) -> Tensor:
    draws = RecordedDraws(0, 0, 0, torch.arange(20_000))
    kind.change(torch.full((20_000, 1, 1, 1), 0.5), draws)
    return draws.told[name]


def test_bits_are_equally_likely_whole_numbers():
    counts = torch.bincount(told(Posterize(bits=(3, 7)), "bits").long(), minlength=9)
    assert counts[:3].sum() == counts[8:].sum() == 0
    assert stats.chisquare(counts[3:8].numpy()).pvalue > SMALLEST_P


def test_thresholds_are_even():
    found = told(Solarize(threshold=(0.25, 0.75)), "threshold").numpy()
    assert stats.kstest(found, stats.uniform(0.25, 0.5).cdf).pvalue > SMALLEST_P


@pytest.mark.parametrize(
    "setting, expected",
    [
        (Posterize(probability=1, bits=(3, 3)), lambda x: tv.posterize(x, 3)),
        (Solarize(probability=1, threshold=(0.4, 0.4)), lambda x: tv.solarize(x, 0.4)),
        (Invert(probability=1), tv.invert),
        (Equalize(probability=1), tv.equalize),
        (Autocontrast(probability=1), tv.autocontrast),
    ],
)
def test_kinds_do_what_their_names_say(setting, expected, make_batch, make_facts):
    batch = make_batch(5, size=(30, 20))
    result = build_pipeline([setting], make_facts())(batch, seed=0, progress=NOW)
    torch.testing.assert_close(result.images(), expected(batch.images()), rtol=0, atol=1e-6)
