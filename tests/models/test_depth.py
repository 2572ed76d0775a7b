"""The layers below the head, from input to output."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from augcompress.batch import ImageInput
from augcompress.models import (
    CifarResNet,
    ModelFacts,
    SmallCNN,
    TimmModel,
    TorchvisionModel,
    backbone_layers,
    build_classifier,
    find_head,
)

TORCHVISION = {
    "resnet18": 32,
    "densenet121": 32,
    "squeezenet1_1": 32,
    "googlenet": 64,
    "shufflenet_v2_x0_5": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "mnasnet0_5": 32,
    "efficientnet_b0": 32,
    "regnet_y_400mf": 32,
    "convnext_tiny": 32,
    "swin_t": 32,
    "vit_b_32": 64,
}


def built(settings, size: int = 16) -> nn.Module:
    facts = ModelFacts(4, ImageInput(3, (size, size)))
    return build_classifier(settings, facts, [0.5] * 3, [0.25] * 3)


def layers_of(network: nn.Module, size: int = 16) -> list[nn.Module]:
    example = torch.rand(2, 3, size, size)
    return backbone_layers(network, example, find_head(network, example))


def names_of(network: nn.Module, size: int = 16) -> list[str]:
    names = {module: name for name, module in network.named_modules()}
    layers = layers_of(network, size)
    return [names[layer].removeprefix("body.") for layer in layers]


def check_covers(network: nn.Module, size: int) -> None:
    """Every parameter is in one layer below the head, or in the head."""
    layers = layers_of(network, size)
    (name,) = find_head(network, torch.rand(2, 3, size, size)).layers
    head = network.get_submodule(name)
    own = [id(one) for layer in layers for one in layer.parameters(recurse=False)]
    own += [id(one) for one in head.parameters()]
    assert sorted(own) == sorted(id(one) for one in network.parameters())
    assert head not in layers


@pytest.mark.parametrize("name, size", TORCHVISION.items())
def test_every_parameter_has_its_place_in_torchvisions_families(name, size):
    network = built(TorchvisionModel(name=name), size)
    check_covers(network, size)
    assert names_of(network, size) == names_of(network, size)


@pytest.mark.parametrize(
    "name, size", [("test_resnet", 32), ("test_vit", 32), ("test_convnext", 32)]
)
def test_every_parameter_has_its_place_in_timms_families(name, size):
    pytest.importorskip("timm", reason="timm is not installed")
    check_covers(built(TimmModel(name=name), size), size)


@pytest.mark.parametrize("option", ["A", "B"])
def test_cifar_resnet_goes_from_its_first_convolution_to_its_last_norm(option):
    names = names_of(built(CifarResNet(depth=8, option=option)))
    assert names[:4] == ["conv1", "bn1", "layer1.0.conv1", "layer1.0.bn1"]
    # the shortcut of option B runs after the two convolutions beside it
    last = "layer3.0.shortcut.1" if option == "B" else "layer3.0.bn2"
    assert names[-1] == last


def test_small_cnn_block_by_block():
    names = names_of(built(SmallCNN(widths=(4, 8))))
    assert names == ["blocks.0.conv", "blocks.0.bn", "blocks.1.conv", "blocks.1.bn"]


def test_parameters_of_containers_stand_before_what_they_contain():
    names = names_of(built(TorchvisionModel(name="vit_b_32"), 64), 64)
    assert names[:3] == ["body", "conv_proj", "encoder"]  # class token, position embedding
    block = "encoder.layers.encoder_layer_0"
    # attention reads the weights of out_proj without calling it
    assert names[3:6] == [
        f"{block}.ln_1",
        f"{block}.self_attention",
        f"{block}.self_attention.out_proj",
    ]
    assert names[-1] == "encoder.ln"


class Backwards(nn.Module):
    """Registered from output to input; one layer is never run, one runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)
        self.last = nn.Linear(4, 4)
        self.spare = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm1d(4)
        self.first = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        features = self.norm(self.first(images).mean((2, 3)))
        return self.head(self.last(self.last(features)))


def test_order_is_that_of_the_forward_pass():
    names = names_of(Backwards())
    assert names == ["first", "norm", "last", "spare"]


def test_modes_statistics_and_hooks_are_left_as_they_are():
    network = Backwards()
    network.first.eval()
    before = network.norm.running_mean.clone()
    layers_of(network, 8)
    assert (network.training, network.norm.training, network.first.training) == (True, True, False)
    assert torch.equal(network.norm.running_mean, before)
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_network_without_a_dense_layer_is_all_backbone():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten())
    assert layers_of(network, 4) == [network[0]]
