"""The pipeline, plug-ins in it, and the contact sheet."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch
from PIL import Image

from augcompress.augmentations import AugmentationPlugin, build_pipeline, contact_sheet
from augcompress.augmentations.contact_sheet import label_text, sheet_rows
from augcompress.augmentations.mixing import Mixup
from augcompress.augmentations.moves import HorizontalFlip, RandomCrop
from augcompress.batch import Batch, Progress
from augcompress.component import ALLOW_PLUGINS
from augcompress.errors import AugcompressError

NOW = Progress()
PLUGIN = f"{Path(__file__).with_name('inverting_plugin.py')}:Inverting"


def test_an_empty_pipeline_is_the_identity(make_batch, make_facts):
    batch = make_batch()
    assert build_pipeline([], make_facts())(batch, seed=0, progress=NOW) is batch


def test_bytes_are_scaled_to_one(make_facts):
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    result = build_pipeline([], make_facts())(
        Batch(images, None, torch.zeros(1)), seed=0, progress=NOW
    )
    assert result.images().flatten().tolist() == pytest.approx([0, 0.2, 1])


def test_the_same_operation_twice_draws_twice(make_batch, make_facts):
    batch = make_batch(64)
    twice = build_pipeline([HorizontalFlip(), HorizontalFlip()], make_facts())
    assert not torch.equal(twice(batch, seed=0, progress=NOW).images(), batch.images())


def test_a_pipeline_can_be_sent_to_a_loaders_worker(make_batch, make_facts):
    pipeline, batch = build_pipeline([RandomCrop(), Mixup()], make_facts()), make_batch()
    expected = pipeline(batch, seed=0, progress=NOW).images()
    for other in (pickle.loads(pickle.dumps(pipeline)), copy.deepcopy(pipeline)):
        assert torch.equal(other(batch, seed=0, progress=NOW).images(), expected)


def test_a_plugin_inverts(make_batch, make_facts, monkeypatch):
    monkeypatch.setenv(ALLOW_PLUGINS, "1")
    batch = make_batch()
    pipeline = build_pipeline([AugmentationPlugin(target=PLUGIN)], make_facts())
    assert torch.equal(pipeline(batch, seed=0, progress=NOW).images(), 1 - batch.images())


def test_a_plugin_needs_permission(make_facts, monkeypatch):
    monkeypatch.delenv(ALLOW_PLUGINS, raising=False)
    with pytest.raises(AugcompressError, match="--allow-plugins"):
        build_pipeline([AugmentationPlugin(target=PLUGIN)], make_facts())


def test_a_plugin_must_be_an_augmentation(make_facts, monkeypatch):
    monkeypatch.setenv(ALLOW_PLUGINS, "1")
    with pytest.raises(AugcompressError, match="no subclass of"):
        build_pipeline([AugmentationPlugin(target="torch.nn:Linear")], make_facts())


def test_the_contact_sheet_has_a_row_for_each_and_two_more(make_batch, make_facts):
    batch, settings = make_batch(4), [RandomCrop(), HorizontalFlip(probability=1)]
    rows = sheet_rows(settings, batch, make_facts(), 0, "abcde")
    assert [row.title for row in rows] == [
        "originals",
        "random_crop",
        "horizontal_flip",
        "pipeline",
    ]
    crop, flip, whole = (row.batch.images() for row in rows[1:])
    assert torch.equal(flip, batch.images().flip(3))
    assert torch.equal(whole, crop.flip(3))


@pytest.mark.parametrize("channels, size", [(1, (8, 8)), (3, (16, 12)), (3, (200, 120))])
def test_the_contact_sheet_is_a_picture(channels, size, make_batch, make_facts, tmp_path):
    batch, path = make_batch(10, channels, size), tmp_path / "sheet.png"
    settings = [RandomCrop(), Mixup()]
    contact_sheet(settings, batch, make_facts(channels, size), 0, path, "abcde")
    picture = Image.open(path)
    assert picture.format == "PNG"
    assert picture.width > 8 * 50
    assert len(picture.getcolors(maxcolors=2**20)) > 20


def test_labels_are_named_with_their_shares():
    assert label_text(torch.tensor([0.0, 1.0, 0.0]), ["cat", "dog", "cow"]) == "dog"
    mixed = label_text(torch.tensor([0.3, 0.0, 0.7]), ["cat", "dog", "cow"])
    assert mixed == "70% cow + 30% cat"
