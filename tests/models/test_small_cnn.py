"""The plain network."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from augcompress.batch import ImageInput
from augcompress.models import ModelFacts, SmallCNN

DIGITS = ModelFacts(10, ImageInput(1, (8, 8)))


def test_digits_end_at_two_by_two():
    network = SmallCNN().build(DIGITS).eval()
    assert network.blocks(torch.rand(1, 1, 8, 8)).shape == (1, 64, 2, 2)
    # 3x3 filters, two numbers per batch norm channel, and the dense layer
    filters = 9 * (1 * 16 + 16 * 32 + 32 * 64)
    expected = filters + 2 * (16 + 32 + 64) + 64 * 10 + 10
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_dropout_acts_in_training_only():
    network = SmallCNN(dropout=0.5).build(DIGITS)
    network.blocks.eval()
    images = torch.rand(2, 1, 8, 8)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))


@pytest.mark.parametrize("settings", [{"widths": []}, {"widths": [0]}, {"dropout": 1.0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValidationError, match=r"at least|greater than|less than"):
        SmallCNN(**settings)
