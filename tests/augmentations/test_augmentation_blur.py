"""Blur: torchvision's Gaussian, Pillow's box, SciPy's median, and what each image draws."""

from __future__ import annotations

import pytest
import torch
import torchvision.transforms.v2.functional as tv
from PIL import Image, ImageFilter
from scipy import ndimage, stats

from augcompress.augmentations import build_pipeline
from augcompress.augmentations.blur import (
    BoxBlur,
    GaussianBlur,
    MedianBlur,
    blur,
    box_kernels,
    gaussian_kernels,
    median_filtered,
    middle,
    tenth_of,
)
from augcompress.augmentations.draws import Draws
from augcompress.batch import Batch, Progress

NOW = Progress(epoch=1)
SMALLEST_P = 1e-3  # the seed is fixed: these tests pass always or never


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 11])
def test_gaussian_blur_is_torchvisions(channels, kernel_size, make_batch):
    images, sigmas = make_batch(4, channels).images(), (0.1, 0.5, 1.0, 3.0)
    expected = torch.stack(
        [
            tv.gaussian_blur(image, [kernel_size] * 2, [sigma] * 2)
            for image, sigma in zip(images, sigmas, strict=True)
        ]
    )
    found = blur(images, gaussian_kernels(torch.tensor(sigmas), kernel_size))
    # one pass for each axis instead of one for both: a few float32 roundings
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("radius", [0.0, 0.4, 1.0, 1.7, 3.0])
def test_box_blur_is_pillows_inside(radius):
    grey = (torch.rand(20, 24, generator=torch.Generator().manual_seed(0)) * 255).byte()
    theirs = Image.fromarray(grey.numpy()).filter(ImageFilter.BoxBlur(radius))
    expected = torch.tensor(list(theirs.getdata())).view(20, 24) / 255
    found = blur(grey[None, None] / 255, box_kernels(torch.tensor([radius]), 3))[0, 0]
    inside = (slice(4, -4), slice(4, -4))  # beyond the edge Pillow repeats it
    # Pillow rounds to 1/255 after each axis
    torch.testing.assert_close(found[inside], expected[inside], rtol=0, atol=1.01 / 255)


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("size", [(16, 12), (7, 9)])
def test_median_is_scipys(kernel_size, size, make_batch):
    images = make_batch(2, size=size).images()
    window = (1, 1, kernel_size, kernel_size)
    expected = ndimage.median_filter(images.numpy(), size=window, mode="mirror")
    assert torch.equal(median_filtered(images, kernel_size), torch.from_numpy(expected))


@pytest.mark.parametrize("count", [1, 3, 5, 9, 25])
def test_the_middle_of_values_with_ties_is_their_median(count):
    values = torch.randint(0, 6, (count, 500), generator=torch.Generator().manual_seed(0))
    assert torch.equal(middle(list(values.float())), values.float().median(0).values)


@pytest.mark.parametrize("kernels", [gaussian_kernels, box_kernels])
def test_kernels_sum_to_one_and_are_symmetric(kernels):
    found = kernels(torch.tensor([0.0, 0.3, 1.0, 2.0]), 5)
    torch.testing.assert_close(found.sum(1), torch.ones(4))
    assert torch.equal(found, found.flip(1))


def test_a_box_counts_partly_covered_pixels_in_part():
    found = box_kernels(torch.tensor([0.0, 0.5, 1.0]), 1)
    expected = torch.tensor([[0.0, 1, 0], [0.25, 0.5, 0.25], [1 / 3, 1 / 3, 1 / 3]])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("setting", [GaussianBlur(sigma=(0, 0)), BoxBlur(radius=(0, 0))])
def test_at_neutral_strength_nothing_changes(setting, make_batch, make_facts):
    batch = make_batch()
    always = setting.model_copy(update={"probability": 1.0})
    result = build_pipeline([always], make_facts())(batch, seed=1, progress=NOW)
    assert torch.equal(result.images(), batch.images())


@pytest.mark.parametrize(
    "setting, name, low, high",
    [
        (GaussianBlur(sigma=(0.5, 1.5)), "sigma", 0.5, 1.5),
        (BoxBlur(radius=(0.2, 1.5)), "radius", 0.2, 1.5),
    ],
)
def test_strengths_are_even_in_their_range(setting, name, low, high):
    told = {}
    draws = Draws(0, 0, 0, torch.arange(3000))
    draws.tell = told.update
    setting.change(torch.zeros(3000, 1, 2, 2), draws)
    assert stats.kstest(told[name].numpy(), "uniform", (low, high - low)).pvalue > SMALLEST_P


@pytest.mark.parametrize("setting", [GaussianBlur(probability=1), BoxBlur(probability=1)])
def test_each_image_draws_for_itself(setting, make_facts):
    point = torch.zeros(6, 1, 9, 9)
    point[:, :, 4, 4] = 1
    batch = Batch(point, None, torch.arange(6))
    result = build_pipeline([setting], make_facts(1, (9, 9)))(batch, seed=0, progress=NOW)
    assert len(result.images()[:, 0, 4, 4].unique()) == 6


@pytest.mark.parametrize("setting", [GaussianBlur, BoxBlur, MedianBlur])
def test_a_flat_image_stays_flat(setting, make_facts):
    batch = Batch(torch.full((3, 3, 6, 5), 0.3), None, torch.arange(3))
    result = build_pipeline([setting(probability=1)], make_facts())(batch, seed=0, progress=NOW)
    torch.testing.assert_close(result.images(), batch.images())


def test_a_kernel_may_be_larger_than_the_image(make_batch, make_facts):
    batch = make_batch(3, size=(2, 5))
    wide = GaussianBlur(probability=1, kernel_size=31, sigma=(9, 9))
    result = build_pipeline([wide], make_facts(size=(2, 5)))(batch, seed=0, progress=NOW)
    before, after = (one.images().std((2, 3)) for one in (batch, result))
    assert (after < 0.1 * before).all()


@pytest.mark.parametrize("size, expected", [((8, 8), 3), ((32, 40), 3), ((64, 64), 7)])
def test_the_default_kernel_is_a_tenth_of_the_image(size, expected):
    assert tenth_of(size) == expected
    assert tenth_of((224, 224)) == 23  # as SimCLR takes it


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_is_blurred_alone_as_among_others(channels, make_batch):
    images, kernels = make_batch(9, channels).images(), gaussian_kernels(torch.linspace(0, 2, 9), 5)
    alone = [blur(*pair) for pair in zip(images.split(1), kernels.split(1), strict=True)]
    assert torch.equal(torch.cat(alone), blur(images, kernels))
