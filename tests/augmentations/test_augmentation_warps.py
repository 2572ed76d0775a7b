"""Perspective, elastic and lens distortion: torchvision's sampling, and what defines them."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision.transforms.v2.functional as tv
from scipy import stats

from augcompress.augmentations import build_pipeline
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.geometry import compose
from augcompress.augmentations.matrices import rotations, translations
from augcompress.augmentations.moves import Rotate
from augcompress.augmentations.perspective import (
    Perspective,
    adjugates,
    drawn_corners,
    homographies,
)
from augcompress.augmentations.resampling import resample
from augcompress.augmentations.warps import (
    Elastic,
    LensDistortion,
    displaced,
    radially,
    smooth_fields,
    smoothing,
)
from augcompress.batch import Progress

NOW = Progress(epoch=1)
SIZE = (16, 12)
SMALLEST_P = 1e-3  # the seed is fixed: these tests pass always or never
BLACK = (0.0,) * 3


def corner_pixels(size: tuple[int, int]) -> torch.Tensor:
    right, bottom = size[1] - 1.0, size[0] - 1.0
    return torch.tensor([[0, 0], [right, 0], [right, bottom], [0, bottom]])


def in_half_sides(points: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    half = torch.tensor([size[1] - 1, size[0] - 1]) / 2
    return ((points - half) / half)[None]


@pytest.mark.parametrize("size", [SIZE, (9, 20), (224, 224)])
@pytest.mark.parametrize(
    "inwards",
    [
        [(0, 0), (0, 0), (0, 0), (0, 0)],
        [(0.2, 0.1), (0, 0.3), (0.1, 0), (0.25, 0.2)],
        [(0, 0), (0.25, 0.25), (0, 0), (0.25, 0.25)],
    ],
)
def test_perspective_is_torchvisions(size, inwards, make_batch):
    images, start = make_batch(2, size=size).images(), corner_pixels(size)
    end = start + torch.tensor(inwards) * (corner_pixels(size)[2] - 2 * start)
    # their points are the pixels' left upper corners, ours their centres
    expected = tv.perspective(images, (start + 0.5).tolist(), (end + 0.5).tolist())
    matrices = homographies(in_half_sides(end, size), size).expand(2, 3, 3)
    found = resample(images, matrices, BLACK, whole=False)
    # places are quotients in float32, good to about 1e-6 of the side; noise differs by up to 1
    torch.testing.assert_close(found, expected, rtol=0, atol=4e-6 * max(size) + 2e-5)


def test_corners_move_evenly_and_inwards():
    uniform = Draws(0, 0, 0, torch.arange(2000)).uniform(8).view(-1, 4, 2)
    corners = drawn_corners(uniform, 0.4)
    signs = torch.tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    inwards = (1 - corners * signs).flatten().numpy()
    assert stats.kstest(inwards, "uniform", (0, 0.4)).pvalue > SMALLEST_P


def test_homographies_lead_from_where_the_corners_went_to_the_corners():
    corners = drawn_corners(Draws(0, 0, 0, torch.arange(50)).uniform(8).view(-1, 4, 2), 0.6)
    half = torch.tensor([(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2])
    homogeneous = torch.cat((corners * half, torch.ones(50, 4, 1)), dim=2)
    reached = homogeneous @ homographies(corners, SIZE).mT
    expected = torch.tensor([[-1.0, -1.0], [1, -1], [1, 1], [-1, 1]]) * half
    reached = reached[..., :2] / reached[..., 2:]
    torch.testing.assert_close(reached, expected.expand(50, 4, 2), rtol=0, atol=1e-3)


def test_adjugates_are_inverses_up_to_the_determinant():
    matrices = torch.randn(5, 3, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.linalg.inv(matrices) * torch.linalg.det(matrices)[:, None, None]
    torch.testing.assert_close(adjugates(matrices), expected, rtol=1e-4, atol=1e-5)


def test_a_homography_composes_with_affine_matrices_on_both_sides():
    draws = Draws(0, 0, 0, torch.arange(4))
    bend = homographies(drawn_corners(draws.uniform(8).view(-1, 4, 2), 0.5), SIZE)
    turn, shift = rotations(draws.uniform(4)[:, 0] * 40), translations(draws.uniform(2) * 5)
    bottom = torch.tensor([0.0, 0.0, 1.0]).expand(4, 1, 3)
    full = [torch.cat((matrix, bottom), dim=1) for matrix in (turn, shift)]
    found = compose(compose(turn, bend), shift)
    torch.testing.assert_close(found, full[0] @ bend @ full[1])


@pytest.mark.parametrize("fill", [0.0, "nearest", "reflect", "noise"])
def test_even_a_folded_image_stays_in_range(fill, make_batch, make_facts):
    batch = make_batch(300, size=(8, 8))
    settings = [Perspective(probability=1, distortion_scale=1, fill=fill), Rotate(fill=fill)]
    result = build_pipeline(settings, make_facts(size=(8, 8)))(batch, seed=1, progress=NOW)
    assert result.images().isfinite().all()
    assert result.images().min() >= 0
    assert result.images().max() <= 1


def test_corners_that_fall_together_do_no_harm(make_batch):
    images = make_batch(1).images()
    found = resample(images, homographies(torch.zeros(1, 4, 2), SIZE), BLACK, whole=False)
    assert found.isfinite().all()


@pytest.mark.parametrize("fill", [0.0, 0.4])
def test_displaced_pixels_are_torchvisions_elastic(fill, make_batch):
    images = make_batch(1).images()
    shift = torch.randn(1, 2, *SIZE, generator=torch.Generator().manual_seed(0)) * 2
    grid = shift.permute(0, 2, 3, 1) * 2 / torch.tensor([SIZE[1], SIZE[0]])
    # given a fill, torchvision fades the edge pixels twice; without one it pads with zeros
    expected = fill + tv.elastic(images - fill, grid)
    found = displaced(images, shift, (fill,) * 3)
    # both place a sample to about 1e-6 pixels, and neighbouring noise differs by up to 1
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_smoothing_is_torchvisions_gaussian_blur_but_for_the_scale():
    uniform = torch.rand(1, 2, 41, 37, generator=torch.Generator().manual_seed(0))
    expected = tv.gaussian_blur((2 * uniform - 1) * math.sqrt(3), [13, 13], [1.5, 1.5])
    inside = (..., slice(6, -6), slice(6, -6))
    found = smooth_fields(uniform, 1.5)[inside]
    # their kernel sums to 1, ours to a variance of 1; theirs is cut off at 4 sigma
    scale = smoothing(41, 1.5, uniform.device)[20].sum() ** 2
    torch.testing.assert_close(found, expected[inside] * scale, rtol=0, atol=2e-3)


@pytest.mark.parametrize("sigma", [0.0, 1.5, 6.0])
def test_fields_have_variance_one_everywhere(sigma):
    uniform = torch.rand(6000, 2, 9, 7, generator=torch.Generator().manual_seed(0))
    spread = smooth_fields(uniform, sigma).std(0)
    torch.testing.assert_close(spread, torch.ones_like(spread), rtol=0, atol=0.05)


@pytest.mark.parametrize("size", [(29, 29), (64, 40)])
def test_alpha_is_the_displacements_spread_in_shares_of_the_shorter_side(size, make_facts):
    ramp = (torch.arange(size[1]) / size[1]).expand(400, 1, *size)
    change = Elastic(alpha=0.02, sigma=0.1).build(make_facts(1, size)).change
    moved = change(ramp.contiguous(), Draws(0, 0, 0, torch.arange(400)))
    middle = (moved - ramp)[:, 0, size[0] // 2, size[1] // 2] * size[1]
    assert middle.std().item() == pytest.approx(0.02 * min(size), rel=0.12)  # n = 400
    assert stats.kstest((middle / middle.std()).numpy(), "norm").pvalue > SMALLEST_P


def test_the_defaults_are_about_the_papers():
    kernel = smoothing(29, 4.0, torch.device("cpu"))[14]
    raw = 34 / math.sqrt(3) / kernel.sum().item() ** 2  # 34 pixels times a kernel that sums to 1
    assert Elastic().alpha * 29 == pytest.approx(raw, rel=0.06)
    assert Elastic().sigma * 29 == pytest.approx(4, rel=0.06)


@pytest.mark.parametrize("setting", [Elastic(alpha=0), LensDistortion(k1=(0, 0))])
def test_at_neutral_strength_nothing_changes(setting, make_batch, make_facts):
    batch = make_batch()
    result = build_pipeline([setting], make_facts())(batch, seed=1, progress=NOW)
    assert torch.equal(result.images(), batch.images())


@pytest.mark.parametrize("k1", [-0.2, 0.3])
def test_lens_distortion_takes_each_pixel_from_its_radius(k1):
    height, width = 33, 41
    x = (torch.arange(width) - 20.0).expand(height, width)
    y = (torch.arange(height) - 16.0)[:, None].expand(height, width)
    coordinates = torch.stack((x / 60 + 0.5, y / 60 + 0.5))[None]  # linear: no interpolation error
    found = (radially(coordinates, torch.tensor([k1]), "nearest") - 0.5) * 60
    squared = (x**2 + y**2) / (20.5**2 + 16.5**2)
    expected = torch.stack((x, y))[None] * (1 + k1 * squared)
    inside = (expected[:, :1].abs() <= 20) & (expected[:, 1:].abs() <= 16)
    assert inside.float().mean() > 0.7
    close = (found - expected).abs().amax(1, keepdim=True) < 1e-3
    assert close[inside].all()


def test_barrel_distortion_shrinks_the_edge_and_pincushion_enlarges_it():
    frame = torch.zeros(2, 1, 21, 21)
    frame[:, :, 3] = frame[:, :, 17] = 1.0  # two lines
    barrel, pincushion = radially(frame, torch.tensor([0.3, -0.3]), BLACK[:1])[:, 0]
    rows = torch.arange(10.0)[:, None]
    bent, bulged = ((rows * half).sum(0) / half.sum(0) for half in (barrel[:10], pincushion[:10]))
    assert bent[2] > bent[10] > 3 > bulged[10] > bulged[5]


def test_k1_is_even(make_facts):
    told = {}
    draws = Draws(0, 0, 0, torch.arange(3000))
    draws.tell = told.update
    LensDistortion(k1=(-0.1, 0.3)).build(make_facts()).change(torch.zeros(3000, 3, 1, 1), draws)
    assert stats.kstest(told["k1"].numpy(), "uniform", (-0.1, 0.4)).pvalue > SMALLEST_P
