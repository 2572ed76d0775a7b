"""What every data set keeps to, whatever its source."""

from __future__ import annotations

import json
import shutil
from typing import get_args

import numpy as np
import PIL.Image
import pytest
import torch
from datasets_sources import section
from pydantic import TypeAdapter

from augcompress.batch import Batch
from augcompress.component import key_of
from augcompress.datasets import DataFacts, Dataset

ADAPTER = TypeAdapter(Dataset)
KINDS = [member.model_fields["kind"].default for member in get_args(get_args(Dataset)[0])]
ON_DISK = [kind for kind in KINDS if kind not in ("digits", "plugin")]


@pytest.fixture(params=KINDS)
def settings(request, tmp_path, monkeypatch):
    return ADAPTER.validate_python(section(request.param, tmp_path / "source", monkeypatch))


def test_data_is_described_as_it_is(settings):
    data = settings.build(DataFacts(seed=0))
    assert len(data.mean) == len(data.std) == data.channels
    assert json.loads(json.dumps(data.resizing)) == data.resizing
    for split in (data.train, data.validation, data.test):
        images = split.fetch(np.arange(len(split)))
        assert images.dtype == torch.uint8
        assert images.shape == (len(split), data.channels, *data.size)
        assert split.labels.dtype == np.int64
        assert len(split.labels) == len(split.index) == len(split) > 0
        assert 0 <= split.labels.min() <= split.labels.max() < len(data.classes)
        assert split.fetch(np.arange(0)).shape == (0, data.channels, *data.size)


def test_standardized_training_images_have_mean_0_and_deviation_1(settings):
    data = settings.build(DataFacts(seed=0))
    images = data.train.fetch(np.arange(len(data.train))).double() / 255
    shape = (1, data.channels, 1, 1)
    normal = (images - torch.tensor(data.mean).view(shape)) / torch.tensor(data.std).view(shape)
    dims = (0, 2, 3)
    torch.testing.assert_close(normal.mean(dims).abs().max().item(), 0.0, atol=1e-6, rtol=0)
    torch.testing.assert_close(normal.std(dims, correction=0).min().item(), 1.0, atol=1e-6, rtol=0)


def test_same_seed_same_data_other_seed_other_validation_same_test(settings):
    first, again, other = (settings.build(DataFacts(seed=seed)) for seed in (0, 0, 1))
    for name in ("train", "validation", "test"):
        one, two = getattr(first, name), getattr(again, name)
        np.testing.assert_array_equal(one.index, two.index)
        everything = np.arange(len(one))
        assert torch.equal(one.fetch(everything), two.fetch(everything))
    np.testing.assert_array_equal(first.test.index, other.test.index)
    assert not np.array_equal(first.validation.index, other.validation.index)


def test_train_and_validation_are_disjoint(settings):
    data = settings.build(DataFacts(seed=0))
    assert not set(data.train.index) & set(data.validation.index)


def test_fingerprint_is_stable(settings):
    assert settings.fingerprint() == settings.fingerprint()


def test_key_holds_no_path(settings, tmp_path):
    assert str(tmp_path) not in json.dumps(key_of(settings))


def test_ready_images_are_floats_channels_last_and_stay_as_they_are(settings):
    data = settings.build(DataFacts(seed=0))
    stored = data.test.fetch(np.arange(2))
    ready = data.ready(Batch(stored, None, torch.arange(2)), "cpu")
    assert torch.equal(ready.images(), stored.float() / 255)
    assert ready.images().is_contiguous(memory_format=torch.channels_last)
    assert data.ready(ready, "cpu").images() is ready.images()


@pytest.mark.parametrize("kind", ON_DISK)
def test_fingerprint_survives_a_move_and_sees_a_change(kind, tmp_path, monkeypatch):
    before = tmp_path / "before"
    first = section(kind, before, monkeypatch)
    digest = ADAPTER.validate_python(first).fingerprint()
    before.rename(tmp_path / "after")
    moved = {name: str(value).replace("before", "after") for name, value in first.items()}
    settings = ADAPTER.validate_python(
        moved | {name: first[name] for name in first if name == "size"}
    )
    assert settings.fingerprint() == digest
    victim = max(path for path in (tmp_path / "after").rglob("*") if path.is_file())
    if victim.suffix == ".gz":
        shutil.copy(victim.with_name("t10k-labels-idx1-ubyte.gz"), victim)
    else:
        victim.write_bytes(victim.read_bytes() + b"x")
    assert settings.fingerprint() != digest


def test_fingerprint_decodes_no_image(settings, monkeypatch):
    opened = []
    monkeypatch.setattr(PIL.Image, "open", opened.append)
    settings.fingerprint()
    assert opened == []
