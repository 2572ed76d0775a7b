"""The geometric kinds: torchvision's values, their distributions, fillings, and one resampling."""

from __future__ import annotations

from functools import reduce

import pytest
import torch
import torchvision.transforms.v2.functional as tv
from scipy import stats
from torchvision.transforms.v2 import RandomResizedCrop

from augcompress.augmentations import build_pipeline, rows
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.geometry import compose, outside_of, with_last_row
from augcompress.augmentations.matrices import (
    affine_matrices,
    mirrors,
    quarter_turns,
    rotations,
    shears,
    translations,
    windows,
    zooms,
)
from augcompress.augmentations.moves import (
    Affine,
    HorizontalFlip,
    RandomCrop,
    ResizedCrop,
    Rotate,
    Rotate90,
    Scale,
    Shear,
    Translate,
    VerticalFlip,
    drawn_windows,
    largest_window,
    turns,
)
from augcompress.augmentations.perspective import Perspective
from augcompress.augmentations.resampling import resample
from augcompress.batch import Batch, Progress

NOW = Progress(epoch=1)
SIZE = (16, 12)
BILINEAR = tv.InterpolationMode.BILINEAR
SMALLEST_P = 1e-3  # the seed is fixed: these tests pass always or never
# both place a sample to about 1e-6 pixels, and neighbouring noise differs by up to 1
PLACED = {"rtol": 0, "atol": 2e-5}


def fixed(*values: float) -> list[torch.Tensor]:
    return [torch.tensor([float(value)] * 2) for value in values]


def drawn_by(setting, count: int = 3000, size: tuple[int, int] = SIZE) -> torch.Tensor:
    return setting.transforms(Draws(0, 0, 0, torch.arange(count)), size)


def is_even(values: torch.Tensor, low: float, high: float) -> bool:
    return stats.kstest(values.numpy(), "uniform", (low, high - low)).pvalue > SMALLEST_P


def are_equal(counts: torch.Tensor) -> bool:
    return stats.chisquare(counts.numpy()).pvalue > SMALLEST_P


def test_a_vertical_flip_is_torchvisions(make_batch):
    images = make_batch(2).images()
    matrices = mirrors(Draws(0, 0, 0, torch.arange(2)), axis=1)
    for whole in (True, False):
        assert torch.equal(resample(images, matrices, None, whole=whole), tv.vertical_flip(images))


@pytest.mark.parametrize("angle", [0, 17, -40, 90, 180])
def test_rotation_is_torchvisions(angle, make_batch):
    images = make_batch(2).images()
    expected = tv.rotate(images, -angle, interpolation=BILINEAR)  # counter-clockwise there
    found = resample(images, rotations(*fixed(angle)), (0.0,) * 3, whole=False)
    torch.testing.assert_close(found, expected, **PLACED)


@pytest.mark.parametrize(
    "matrices, options",
    [
        (translations(-torch.tensor([[3.0, -2.0]] * 2)), {"translate": [3, -2]}),
        (zooms(*fixed(1.3)), {"scale": 1.3}),
        (zooms(*fixed(0.6)), {"scale": 0.6}),
        (shears(*fixed(20, 0)), {"shear": [20.0, 0.0]}),
        (shears(*fixed(0, -15)), {"shear": [0.0, -15.0]}),
        (shears(*fixed(20, -15)), {"shear": [20.0, -15.0]}),
    ],
)
def test_single_moves_are_torchvisions(matrices, options, make_batch):
    images = make_batch(2).images()
    still = {"angle": 0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    expected = tv.affine(images, **{**still, **options}, interpolation=BILINEAR)
    found = resample(images, matrices, (0.0,) * 3, whole=False)
    torch.testing.assert_close(found, expected, **PLACED)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_quarter_turns_copy_square_images(quarters, make_batch):
    images = make_batch(2, size=(9, 9)).images()
    matrices = quarter_turns(torch.tensor([quarters, quarters]))
    expected = torch.rot90(images, -quarters, dims=(2, 3))
    assert torch.equal(resample(images, matrices, "nearest", whole=False), expected)


def test_a_quarter_turn_of_a_wide_image_keeps_its_middle(make_batch):
    images = make_batch(1, size=(4, 8)).images()
    found = resample(images, quarter_turns(torch.tensor([1])), (0.0,) * 3, whole=False)
    middle = torch.rot90(images[..., 2:6], -1, dims=(2, 3))
    assert torch.equal(found, torch.nn.functional.pad(middle, (2, 2)))


@pytest.mark.parametrize("window", [(0, 0, 16, 12), (3, 2, 8, 6), (5, 1, 4, 9), (0, 4, 16, 8)])
def test_a_resized_crop_is_torchvisions_inside(window, make_batch):
    images = make_batch(2).images()
    top, left, height, width = window
    expected = tv.resized_crop(images, top, left, height, width, list(SIZE), antialias=True)
    corner, sides = torch.tensor([[left, top]] * 2), torch.tensor([[width, height]] * 2)
    found = resample(images, windows(corner.float(), sides.float(), SIZE), None, whole=False)
    # there a window's outermost half pixel does not see its neighbours outside
    down, across = -(-SIZE[0] // (2 * height)), -(-SIZE[1] // (2 * width))
    inside = (..., slice(down, SIZE[0] - down), slice(across, SIZE[1] - across))
    torch.testing.assert_close(found[inside], expected[inside], **PLACED)


@pytest.mark.parametrize("size", [(200, 300), (100, 100)])
def test_windows_are_distributed_as_torchvisions(size):
    uniform = Draws(0, 0, 0, torch.arange(4000)).uniform(22)
    corner, sides = drawn_windows(
        uniform[:, :20].reshape(-1, 2, 10), uniform[:, 20:], size, (0.08, 1.0), (3 / 4, 4 / 3)
    )
    theirs = torchvision_windows(size, 4000)
    for ours, column in zip((*corner.unbind(1), *sides.unbind(1)), theirs.unbind(1), strict=True):
        assert stats.ks_2samp(ours.numpy(), column.numpy()).pvalue > SMALLEST_P


def torchvision_windows(size: tuple[int, int], count: int) -> torch.Tensor:
    """Left, top, width and height, `(count, 4)`."""
    image, crop = torch.zeros((1, *size)), RandomResizedCrop(size)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = [crop.make_params([image]) for _ in range(count)]
    names = ("left", "top", "width", "height")
    return torch.tensor([[one[name] for name in names] for one in found], dtype=torch.float32)


@pytest.mark.parametrize(
    "size, ratio, expected",
    [
        ((100, 20), (0.5, 2.0), (20, 40)),
        ((20, 100), (0.5, 2.0), (40, 20)),
        ((20, 30), (0.5, 2.0), (30, 20)),
    ],
)
def test_a_window_that_never_fits_is_the_largest_in_the_centre(size, ratio, expected):
    assert largest_window(size, ratio) == expected
    uniform, place = torch.full((1, 2, 10), 0.5), torch.zeros(1, 2)
    corner, sides = drawn_windows(uniform, place, size, (4.0, 4.0), ratio)
    assert sides[0].tolist() == list(expected)
    assert corner[0].tolist() == [(size[1] - expected[0]) // 2, (size[0] - expected[1]) // 2]


def test_angles_are_even():
    matrices = drawn_by(Rotate(degrees=30))
    assert is_even(torch.atan2(matrices[:, 0, 1], matrices[:, 0, 0]).rad2deg(), -30, 30)


def test_quarters_are_equally_likely():
    counts = torch.bincount(turns(Draws(0, 0, 0, torch.arange(3000)).uniform(1)[:, 0]))
    assert counts[0] == 0
    assert are_equal(counts[1:])


def test_shifts_zooms_and_slants_are_even():
    shifts = -drawn_by(Translate(fraction=0.25))[:, :, 2]
    assert is_even(shifts[:, 0], -3, 3)
    assert is_even(shifts[:, 1], -4, 4)
    assert is_even(1 / drawn_by(Scale(zoom=(0.5, 2.0)))[:, 0, 0], 0.5, 2)
    slants = drawn_by(Shear(x=20, y=40))
    assert is_even(slants[:, 0, 1].atan().rad2deg(), -20, 20)
    assert is_even(slants[:, 1, 0].atan().rad2deg(), -40, 40)


NEUTRAL = [
    Rotate(degrees=0),
    Translate(fraction=0),
    Scale(zoom=(1, 1)),
    Shear(x=0, y=0),
    ResizedCrop(scale=(1, 1)),
    Perspective(distortion_scale=0, probability=1),
]


@pytest.mark.parametrize("setting", NEUTRAL, ids=lambda setting: setting.kind)
def test_at_neutral_strength_nothing_changes(setting, make_batch, make_facts):
    batch = make_batch()
    result = build_pipeline([setting], make_facts())(batch, seed=1, progress=NOW)
    assert torch.equal(result.images(), batch.images())


EVERYTHING = [
    RandomCrop(fill=0.3),
    HorizontalFlip(),
    VerticalFlip(),
    Rotate(fill=0.3),
    Rotate90(fill=0.3),
    Scale(zoom=(0.7, 1.3), fill=0.3),
    Shear(x=20, y=10, fill=0.3),
    Translate(fill=0.3),
    ResizedCrop(scale=(0.3, 1.0)),
    Affine(fill=0.3),
]


@pytest.mark.parametrize("settings", [EVERYTHING, [*EVERYTHING, Perspective(fill=0.3)]])
def test_all_geometry_is_one_resampling_by_the_product_of_the_matrices(
    settings, make_batch, make_facts, monkeypatch
):
    calls = []

    def spy(*arguments, **keywords):
        calls.append(arguments)
        return resample(*arguments, **keywords)

    monkeypatch.setattr(rows, "resample", spy)
    batch = make_batch()
    result = build_pipeline(settings, make_facts())(batch, seed=1, progress=NOW)
    assert len(calls) == 1
    workers = [setting.build(make_facts()) for setting in settings]
    singles = [
        with_last_row(worker.matrices(Draws(1, NOW.epoch, place, batch.index), SIZE)).double()
        for place, worker in enumerate(workers)
    ]
    product = reduce(torch.matmul, singles)
    product = (product / product[:, 2:, 2:])[:, : calls[0][1].shape[1]].float()
    assert calls[0][1].shape[1] == (2 if settings is EVERYTHING else 3)
    assert torch.equal(result.images(), resample(*calls[0], whole=False))
    expected = resample(batch.images(), product, (0.3,) * 3, whole=False)
    # matrices multiplied in double precision place a pixel up to 1e-4 pixels elsewhere
    torch.testing.assert_close(result.images(), expected, rtol=0, atol=2e-3)


def test_affine_is_shear_rotation_zoom_and_shift_in_turn():
    angle, scale, shear = fixed(25, 1.4, 15)
    shift = torch.tensor([[3.0, -2.0]] * 2)
    zero = torch.zeros(2)
    steps = (shears(shear, zero), rotations(angle), zooms(scale), translations(-shift))
    expected = affine_matrices(angle, shift, scale, shear)
    torch.testing.assert_close(reduce(compose, steps), expected)


def test_noise_fills_only_what_the_image_does_not_cover(make_batch):
    images = make_batch(40).images()
    matrices = translations(torch.tensor([[5.0, 0.0]]).expand(40, 2))
    noise = outside_of("noise", images, Draws(0, 0, 0, torch.arange(40)))
    for whole in (True, False):
        moved = resample(images, matrices, noise, whole=whole)
        assert torch.equal(moved[..., :-5], images[..., 5:])
        assert torch.equal(moved[..., -5:], noise[..., -5:])
    assert is_even(noise.flatten(), 0, 1)
    assert len(noise.unique()) > 0.99 * noise.numel()


def test_noise_that_fills_does_not_hang_on_the_batch_and_is_drawn_once(make_batch, make_facts):
    batch = make_batch()
    settings = [HorizontalFlip(), Translate(fraction=0.5, fill="noise"), Rotate(fill="noise")]
    moving = build_pipeline(settings, make_facts())
    assert moving.positions == [[0, 1, 2]]
    whole = moving(batch, seed=1, progress=NOW).images()
    part = Batch(batch.images()[3:5], batch.targets[3:5], batch.index[3:5])
    torch.testing.assert_close(moving(part, seed=1, progress=NOW).images(), whole[3:5])


def test_one_channel_moves_as_three_do(make_batch, make_facts):
    batch = make_batch()
    grey = batch.with_images(batch.images()[:, :1])
    result = build_pipeline(EVERYTHING, make_facts())(batch, seed=1, progress=NOW)
    alone = build_pipeline(EVERYTHING, make_facts(1))(grey, seed=1, progress=NOW)
    assert torch.equal(result.images()[:, :1], alone.images())
