"""Cutout and pixel dropout against their definitions."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from augcompress.augmentations import build_pipeline
from augcompress.augmentations.covering import Boxes, Cutout, PixelDropout, places, squares
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.recording import RecordedDraws
from augcompress.batch import Progress

NOW = Progress()
SMALLEST_P = 1e-3  # the seed is fixed: these tests pass always or never


def test_boxes_are_cut_off_at_the_border():
    start, stop = torch.tensor([[-2, 1], [3, 5], [9, 9]]), torch.tensor([[2, 3], [9, 9], [12, 12]])
    masks = Boxes(start, stop, (4, 6)).masks()[:, 0]
    expected = torch.zeros(3, 4, 6, dtype=torch.bool)
    expected[0, :2, 1:3] = True
    expected[1, 3:, 5:] = True
    assert torch.equal(masks, expected)


def test_every_pixel_is_equally_often_the_centre():
    found = places(Draws(0, 0, 0, torch.arange(20_000)).uniform(2), (5, 8))
    counts = torch.bincount((found[:, 0] * 8 + found[:, 1]).long(), minlength=40)
    assert len(counts) == 40
    assert stats.chisquare(counts.numpy()).pvalue > SMALLEST_P


@pytest.mark.parametrize("side", [0, 1, 4, 5])
def test_a_square_inside_has_its_side_and_one_in_the_corner_a_part(side):
    masks = squares(torch.tensor([[6, 7], [0, 0]]), side, (12, 16)).masks()
    assert masks[0].sum() == side * side
    assert masks[1].sum() == (side - side // 2) ** 2


def test_an_even_square_is_where_the_papers_is():
    centre, length, size = (6, 3), 4, (12, 9)
    expected = torch.zeros(size, dtype=torch.bool)
    rows, columns = (
        (max(0, at - length // 2), min(whole, at + length // 2))
        for at, whole in zip(centre, size, strict=True)
    )
    expected[rows[0] : rows[1], columns[0] : columns[1]] = True
    assert torch.equal(squares(torch.tensor([centre]), length, size).masks()[0, 0], expected)


def test_cutout_writes_the_mean_colour_into_a_square(make_batch, make_facts):
    batch = make_batch(60)
    result = build_pipeline([Cutout()], make_facts())(batch, seed=0, progress=NOW).images()
    gone = (result != batch.images()).any(1)  # (N, H, W)
    assert (gone.any(2).sum(1) <= 6).all()
    assert gone.sum((1, 2)).max() == 6 * 6  # half of the shorter side, 12
    assert gone.sum((1, 2)).min() >= 3 * 3
    colour = torch.tensor([0.5, 0.4, 0.3]).expand(int(gone.sum()), 3)
    assert torch.equal(result.permute(0, 2, 3, 1)[gone], colour)


def test_a_cutout_without_a_side_keeps_every_bit(make_batch, make_facts):
    batch = make_batch()
    result = build_pipeline([Cutout(side=0)], make_facts())(batch, seed=0, progress=NOW)
    assert torch.equal(result.images(), batch.images())


def test_pixel_dropout_hits_its_share_of_whole_pixels(make_batch, make_facts):
    batch = make_batch(100, size=(20, 20))
    setting = PixelDropout(share=(0.1, 0.1), value=0.25)
    result = build_pipeline([setting], make_facts())(batch, seed=0, progress=NOW).images()
    gone = (result == 0.25).all(1)
    assert stats.binomtest(gone.sum().item(), gone.numel(), 0.1).pvalue > SMALLEST_P
    kept = ~gone[:, None].expand_as(result)
    assert torch.equal(result[kept], batch.images()[kept])


def test_the_share_of_lost_pixels_is_even():
    recorded = RecordedDraws(0, 0, 0, torch.arange(12_000))
    images = torch.full((12_000, 1, 1, 1), 0.5)
    PixelDropout(share=(0.2, 0.6)).change(images, recorded, (0.0,))
    found = recorded.told["share"].numpy()
    assert stats.kstest(found, stats.uniform(0.2, 0.4).cdf).pvalue > SMALLEST_P


def test_no_pixel_dropout_keeps_every_bit(make_batch, make_facts):
    batch = make_batch()
    pipeline = build_pipeline([PixelDropout(share=(0, 0))], make_facts())
    assert torch.equal(pipeline(batch, seed=0, progress=NOW).images(), batch.images())
