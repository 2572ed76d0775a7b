"""Predict functions and the scorer of training: evaluation mode, fp32, modes put back."""

import numpy as np
import pytest
import torch
from end_to_end import write_recipe
from torch import nn

from augcompress.batch import Batch
from augcompress.running import Context
from augcompress.scoring import accuracy_scorer, predict_with_network
from augcompress.spec import load
from augcompress.storage import RunDir
from augcompress.training import Engine


class Noisy(nn.Sequential):
    """Batch norm and dropout make training mode another function."""

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(nn.BatchNorm2d(1), nn.Flatten(), nn.Dropout(0.9), nn.Linear(64, 10))
        self[0].running_mean.fill_(0.3)


@pytest.fixture
def context(place):
    spec, _ = load(str(write_recipe(place)))
    return Context(spec, RunDir(place / "run"))


def test_networks_predict_in_evaluation_mode_and_fp32(context):
    network = Noisy().train()
    batch = Batch(torch.rand(50, 1, 8, 8), None, torch.arange(50))
    found = predict_with_network(network, context)(batch)
    assert network.training
    assert network[0].num_batches_tracked == 0
    with torch.no_grad():
        want = network.eval()(batch.images()).double().softmax(1).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, want, atol=1e-6)  # bf16 is 1e-3 off


def test_the_score_that_chooses_the_epoch_is_of_evaluation_mode(context):
    network = Noisy().train()
    score = accuracy_scorer(context, Engine(torch.device("cpu"), "fp32"))(network)
    assert network.training
    assert network[0].num_batches_tracked == 0
    split = context.split("validation")
    with torch.no_grad():
        logits = network.eval()(split.fetch(np.arange(len(split))).float() / 255)
    assert score.value == pytest.approx(float((logits.argmax(1).numpy() == split.labels).mean()))
