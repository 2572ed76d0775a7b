"""Taps on hidden layers."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from augcompress.batch import ImageInput
from augcompress.errors import AugcompressError
from augcompress.models import Model, ModelFacts
from augcompress.objectives import Attention, FeatureTaps, Relational, Taps, stage_ends
from augcompress.objectives.matched import matched


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


class ChannelsLast(nn.Sequential):
    """A block that works on `(N,H,W,C)` inside."""

    def forward(self, images):
        return super().forward(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def built(settings, size):
    facts = ModelFacts(10, ImageInput(3, (size, size)))
    return TypeAdapter(Model).validate_python(settings).build(facts).eval()


def flat():
    """A stem, a block that works channels last, an expansion inside a strided block, a pooling."""
    strided = nn.Sequential(nn.Conv2d(12, 16, 1), nn.Conv2d(16, 6, 3, 2, 1))
    last = ChannelsLast(nn.Linear(12, 12))
    layers = [nn.BatchNorm2d(3, affine=False), nn.Conv2d(3, 12, 3, 2, 1), last, strided]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


@pytest.mark.parametrize(
    ("network", "size", "ends"),
    [
        (
            lambda: built({"kind": "cifar_resnet", "depth": 8}, 32),
            32,
            {"layer1": (16, 32, 32), "layer2": (32, 16, 16), "layer3": (64, 8, 8)},
        ),
        (
            lambda: built({"kind": "small_cnn", "widths": [4, 8]}, 8),
            8,
            {"blocks.0": (4, 8, 8), "blocks": (8, 4, 4)},
        ),
        (
            lambda: built({"kind": "torchvision", "name": "mobilenet_v2"}, 64),
            64,
            {
                "features.1": (16, 32, 32),
                "features.3": (24, 16, 16),
                "features.6": (32, 8, 8),
                "features.13": (96, 4, 4),
                "features": (1280, 2, 2),
            },
        ),
        (flat, 16, {"2": (12, 8, 8), "3": (6, 4, 4)}),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), 4, {}),
    ],
)
def test_ends_of_stages_are_where_the_size_of_maps_changes(network, size, ends):
    with torch.no_grad():
        found = stage_ends(network(), torch.rand(2, 3, size, size))
    assert list(found.items()) == list(ends.items())


def test_ends_of_stages_leave_no_hook(network):
    stage_ends(network, torch.rand(5, 3))
    assert not any(layer._forward_hooks for layer in network.modules())


SHAPES = {"a": (4, 8, 8), "b": (8, 4, 4), "c": (8, 2, 2)}


@pytest.mark.parametrize(
    ("teacher", "pairs"),
    [
        ({"x": (9, 8, 8), "y": (9, 2, 2)}, [("a", "x"), ("c", "y")]),
        ({"x": (9, 28, 28), "y": (9, 14, 14)}, [("b", "x"), ("c", "y")]),  # another input size
    ],
)
def test_layers_match_by_size_else_by_depth(teacher, pairs):
    assert matched(SHAPES, teacher) == pairs
    named = Attention().with_layers(SHAPES, teacher)
    assert list(zip(named.student_layers, named.teacher_layers, strict=True)) == pairs
    deepest = Relational().with_layers(SHAPES, teacher)
    assert deepest.taps() == Taps((pairs[-1][0],), (pairs[-1][1],))
    given = Attention(student_layers=("b",), teacher_layers=("y",))
    assert given.with_layers(SHAPES, teacher) == given


def test_networks_without_maps_want_named_layers():
    with pytest.raises(AugcompressError, match="attention: finds no feature maps to match; name"):
        Attention().with_layers({}, SHAPES)
