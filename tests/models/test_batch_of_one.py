"""Learning from one image at a time."""

from __future__ import annotations

import pytest
import torch

from augcompress.batch import ImageInput
from augcompress.errors import AugcompressError
from augcompress.models import ModelFacts, SmallCNN, build_classifier, check_batch_of_one

FACTS = ModelFacts(4, ImageInput(1, (8, 8)))
EXAMPLE = torch.rand(2, 1, 8, 8)


def classifier(widths):
    return build_classifier(SmallCNN(widths=widths), FACTS, [0.5], [0.25])


def test_a_norm_over_a_single_value_is_refused_and_nothing_is_changed():
    network = classifier((4, 4, 4, 4)).eval()  # 8, 4, 2, 1 pixels
    before = {name: value.clone() for name, value in network.state_dict().items()}
    message = r"distill\.training\.batch_size: a batch of one image leaves batch norm a single"
    with pytest.raises(AugcompressError, match=message):
        check_batch_of_one(network, EXAMPLE, "distill.training.batch_size")
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not network.training


def test_larger_features_have_a_variance():
    network = classifier((4, 4))
    check_batch_of_one(network, EXAMPLE, "here")
    assert network.state_dict()["body.blocks.0.bn.num_batches_tracked"] == 0
