"""Draws that are written down, draws that are set, and the pictures that show them."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from PIL import Image

from augcompress.augmentations import Recorder, before_after, build_pipeline
from augcompress.augmentations.contact_sheet import PLACES, of_each_class, sheet_rows
from augcompress.augmentations.covering import RandomErasing
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.mixing import Mixup
from augcompress.augmentations.moves import Affine, HorizontalFlip, RandomCrop
from augcompress.augmentations.recording import FEW, RecordedDraws, SetDraws
from augcompress.batch import Batch, Progress

SETTINGS = [RandomCrop(), HorizontalFlip(), RandomErasing(), Mixup()]
INDEX = torch.arange(50)


def test_recording_changes_nothing(make_batch, make_facts):
    pipeline, batch = build_pipeline(SETTINGS, make_facts()), make_batch()
    words = {"seed": 3, "progress": Progress(epoch=2)}
    plain = pipeline(batch, **words)
    recorded = pipeline(batch, **words, draws_maker=Recorder())
    assert torch.equal(recorded.images(), plain.images())
    assert torch.equal(recorded.targets, plain.targets)


def test_recorder_tells_what_was_drawn_for_each_sample(make_batch, make_facts):
    recorder, batch = Recorder(), make_batch(40)
    pipeline = build_pipeline([HorizontalFlip(), Affine(degrees=10)], make_facts())
    result = pipeline(batch, seed=0, progress=Progress(), draws_maker=recorder)
    rows = recorder.rows()
    assert len(rows) == 40
    alone = build_pipeline([Affine(degrees=0, translate=0, scale=(1, 1))], make_facts())
    assert all(len(row) == 2 for row in rows)
    assert 0 < sum(flip["chosen"] for flip, _ in rows) < 40
    angles = [turn["degrees"] for _, turn in rows]
    assert len(set(angles)) == 40
    assert max(map(abs, angles)) <= 10
    assert result.images().shape == alone(batch, seed=0, progress=Progress()).images().shape


def test_a_sample_that_is_not_chosen_has_no_parameters():
    draws = RecordedDraws(0, 0, 0, INDEX)
    mask = draws.chosen(0.5)
    draws.tell(strength=draws.uniform(1)[:, 0], whole_batch=torch.tensor([1.0]))
    for row, chosen in zip(draws.rows(), mask.tolist(), strict=True):
        assert set(row) == ({"chosen", "strength"} if chosen else {"chosen"})


def test_numbers_stand_in_for_parameters_that_have_no_name():
    draws, twin = RecordedDraws(0, 0, 0, INDEX), Draws(0, 0, 0, INDEX)
    draws.chosen(1.0), twin.chosen(1.0)
    draws.uniform(3), draws.uniform(FEW + 1), draws.uniform(1)
    expected = twin.uniform(3)
    for row, numbers in zip(draws.rows(), expected.tolist(), strict=True):
        assert row["uniform"][:3] == pytest.approx(numbers, abs=1e-5)
        assert len(row["uniform"]) == 4  # those by the pixel are left out


def test_set_draws_stand_at_a_place_of_every_range():
    words = (0, 0, 0, INDEX)
    assert (SetDraws(0.0, *words).uniform(5) == 0).all()
    assert SetDraws(0.5, *words).uniform(5).unique().item() == 0.5
    assert SetDraws(1.0, *words).uniform(5).unique().item() > 0.9999
    assert SetDraws(1.0, *words).chosen(0.01).all()
    assert not SetDraws(0.0, *words).chosen(0.0).any()
    assert torch.equal(SetDraws(0.5, *words).uniform(FEW + 1), Draws(*words).uniform(FEW + 1))


def test_the_sheet_shows_the_first_image_along_the_ranges(make_batch, make_facts):
    batch = make_batch(4)
    settings = [Affine(degrees=0, translate=0, scale=(1, 1)), RandomCrop(padding=2)]
    originals, still, crop, _ = sheet_rows(settings, batch, make_facts(), 0, "abcde")
    assert torch.equal(originals.places, batch.images()[:1])
    assert len(still.places) == len(crop.places) == len(PLACES)
    torch.testing.assert_close(still.places, batch.images()[:1].expand_as(still.places))
    assert torch.equal(crop.places[2], batch.images()[0])  # the middle of -2..2
    assert torch.equal(crop.places[0][:, 2:, 2:], batch.images()[0][:, :-2, :-2])
    assert torch.equal(crop.places[-1][:, :-2, :-2], batch.images()[0][:, 2:, 2:])


def test_sheet_row_at_a_place_is_the_operation_with_such_draws(make_batch, make_facts):
    batch, settings = make_batch(4), [Affine(degrees=40)]
    _, row, _ = sheet_rows(settings, batch, make_facts(), 0, "abcde")
    pipeline = build_pipeline(settings, make_facts())
    maker = partial(SetDraws, 1.0)
    highest = pipeline(batch, seed=0, progress=Progress(), draws_maker=maker)
    assert torch.equal(row.places[-1], highest.images()[0])


def test_images_of_different_classes_come_first():
    labels = torch.tensor([1, 1, 0, 2, 0, 1])
    batch = Batch(torch.zeros(6, 1, 2, 2), torch.eye(3)[labels], torch.arange(6))
    assert labels[of_each_class(batch, 3)].tolist() == [0, 1, 2]
    assert sorted(of_each_class(batch, 9).tolist()) == [0, 1, 2, 3, 4, 5]
    unlabelled = Batch(batch.inputs, None, batch.index)
    assert of_each_class(unlabelled, 2).tolist() == [0, 1]


@pytest.mark.parametrize("channels, size", [(1, (8, 8)), (3, (16, 12)), (3, (200, 120))])
def test_before_and_after_is_a_picture(channels, size, make_batch, make_facts, tmp_path):
    batch, path = make_batch(10, channels, size), tmp_path / "grid.png"
    before_after([RandomCrop(), Mixup()], batch, make_facts(channels, size), 0, path, "abcde")
    picture = Image.open(path)
    assert picture.format == "PNG"
    assert picture.height > 5 * 50
    assert len(picture.getcolors(maxcolors=2**20)) > 20
