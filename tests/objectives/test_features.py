"""Taps on hidden layers."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from augcompress.errors import AugcompressError
from augcompress.objectives import FeatureTaps


class Pair(nn.Module):
    def forward(self, images):
        return images, images


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = [("layer1", nn.Linear(3, 4)), ("relu", nn.ReLU()), ("layer2", nn.Linear(4, 2))]
    return nn.Sequential(OrderedDict(layers))


def test_features_are_the_layers_outputs_with_gradient(network):
    images = torch.rand(5, 3)
    with FeatureTaps(network, ["layer1", "relu"]) as taps:
        logits = network(images)
        features = taps.take()
    assert torch.equal(features["layer1"], network.layer1(images))
    assert torch.equal(network.layer2(features["relu"]), logits)
    features["layer1"].sum().backward()
    assert network.layer1.weight.grad is not None


def test_each_pass_has_its_own_features(network):
    with FeatureTaps(network, ["layer1"]) as taps:
        network(torch.rand(5, 3))
        first = taps.take()
        network(torch.rand(2, 3))
        assert len(taps.take()["layer1"]) == 2
    assert len(first["layer1"]) == 5


def test_no_hook_stays(network):
    with FeatureTaps(network, ["layer1"]):
        assert len(network.layer1._forward_hooks) == 1
    assert len(network.layer1._forward_hooks) == 0


def test_names_may_start_at_the_body(network):
    whole = nn.Sequential(OrderedDict([("normalize", nn.Identity()), ("body", network)]))
    with FeatureTaps(whole, ["layer2", "body.layer1"]) as taps:
        logits = whole(torch.rand(5, 3))
        features = taps.take()
    assert torch.equal(features["layer2"], logits)
    assert features["body.layer1"].shape == (5, 4)


def test_an_unknown_layer_names_the_nearest(network):
    with pytest.raises(AugcompressError, match=r"no layer layer3; did you mean layer[12]\?"):
        FeatureTaps(network, ["layer3"])


def test_a_layer_that_did_not_run_is_said(network):
    with (
        FeatureTaps(network, ["layer1"]) as taps,
        pytest.raises(AugcompressError, match="layer1 did not run"),
    ):
        taps.take()


def test_a_layer_without_a_tensor_is_refused():
    network = nn.Sequential(Pair())
    with (
        FeatureTaps(network, ["0"]),
        pytest.raises(AugcompressError, match="layer 0 gives tuple, not a tensor"),
    ):
        network(torch.rand(2, 3))


def test_a_compiled_network_is_refused(network):
    with pytest.raises(AugcompressError, match=r"switch torch\.compile off"):
        FeatureTaps(torch.compile(network), ["layer1"])
