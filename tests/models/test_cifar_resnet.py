"""CIFAR ResNets: sizes, shortcuts, and the public checkpoints."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torchvision.io import decode_image
from torchvision.ops import StochasticDepth

from augcompress.batch import ImageInput
from augcompress.models import (
    CifarResNet,
    ModelFacts,
    PadShortcut,
    build_classifier,
    load_weights,
    read_weights,
)
from augcompress.models.cifar_resnet import BasicBlock, linear_decay, scaled_width

FACTS = ModelFacts(10, ImageInput(3, (32, 32)))
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@pytest.fixture
def public():
    if "AUGCOMPRESS_TEST_DATA" not in os.environ:
        pytest.skip("AUGCOMPRESS_TEST_DATA is not set: no public checkpoints")
    return Path(os.environ["AUGCOMPRESS_TEST_DATA"])


def parameters(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("depth, count", [(20, 269_722), (56, 853_018)])
def test_the_papers_sizes(depth, count):
    assert parameters(CifarResNet(depth=depth).build(FACTS)) == count


@pytest.mark.parametrize(
    "depth, file", [(20, "resnet20-12fca82f.th"), (56, "resnet56-4bfd9763.th")]
)
def test_public_checkpoints_load_and_classify(depth, file, public):
    network = build_classifier(CifarResNet(depth=depth), FACTS, *IMAGENET)
    state = read_weights(public / "cifar10-resnets" / file)
    assert load_weights(network, state, where="test") == ()
    assert torch.equal(network.body.conv1.weight, state["conv1.weight"])
    images, labels = lossless_images(public / "cifar10-lossless-a", 100)
    with torch.no_grad():
        found = network.eval()(images).argmax(1)
    # These are training images; the checkpoints' authors and our README measured 99.8 % and more.
    assert (found == labels).float().mean() >= 0.98


def lossless_images(folder: Path, count: int):
    strip = decode_image(str(folder / "cifar10_batch_0.png"))  # (3, 1000, 32 * 32)
    images = strip[:, :count].reshape(3, count, 32, 32).transpose(0, 1).float() / 255
    rows = list(csv.DictReader((folder / "labels.csv").open()))[:count]
    return images, torch.tensor([int(row["label"]) for row in rows])


@pytest.mark.parametrize("option", ["A", "B"])
def test_stages_halve_the_resolution(option):
    network = CifarResNet(depth=8, option=option).build(FACTS).eval()
    features = network.layer2(network.layer1(torch.rand(2, 16, 15, 15)))
    assert features.shape == (2, 32, 8, 8)
    assert network.layer3(features).shape == (2, 64, 4, 4)


def test_option_a_has_no_parameters_and_option_b_a_convolution():
    plain = CifarResNet(depth=8).build(FACTS)
    projected = CifarResNet(depth=8, option="B").build(FACTS)
    pads = [module for module in plain.modules() if isinstance(module, PadShortcut)]
    assert len(pads) == 2
    assert not any(isinstance(module, PadShortcut) for module in projected.modules())
    extra = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64  # two 1x1 convolutions with batch norm
    assert parameters(projected) == parameters(plain) + extra
    assert "layer2.0.shortcut.0.weight" in projected.state_dict()


def test_the_pad_shortcut_subsamples_and_pads_both_sides():
    features = torch.arange(16.0).view(1, 1, 4, 4)
    padded = PadShortcut(1, 4, stride=2)(features)
    assert padded.shape == (1, 4, 2, 2)
    assert padded[0, 1].tolist() == [[0, 2], [8, 10]]
    assert padded[0, [0, 2, 3]].abs().sum() == 0


@pytest.mark.parametrize(
    "base, width, channels",
    [(16, 0.5, 8), (16, 0.6, 8), (16, 0.65, 12), (16, 0.01, 4), (64, 2, 128)],
)
def test_widths_are_multiples_of_four(base, width, channels):
    assert scaled_width(base, width) == channels


def test_widths_may_be_given():
    network = CifarResNet(depth=8, widths=(5, 7, 11)).build(FACTS)
    assert network.linear.weight.shape == (10, 11)
    assert network.eval()(torch.rand(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"depth": 18}, "not 6n \\+ 2; take 20"),
        ({"depth": 6}, "greater than or equal to 8"),
        ({"width": 0}, "greater than 0"),
        ({"width": 0.5, "widths": (8, 16, 32)}, "exclude each other"),
        ({"widths": (16, 8, 32)}, "option A only adds channels"),
        ({"widths": (0, 8, 32)}, "at least 1"),
        ({"stochastic_depth": 1.0}, "less than 1"),
    ],
)
def test_impossible_designs_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        CifarResNet(**settings)


def test_blocks_are_left_out_more_often_towards_the_end():
    assert linear_decay(4, 0.4) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    network = CifarResNet(depth=14, stochastic_depth=0.6).build(FACTS)
    drops = [module.p for module in network.modules() if isinstance(module, StochasticDepth)]
    assert drops == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def test_without_stochastic_depth_there_is_no_trace_of_it():
    plain, dropping = (CifarResNet(depth=8, stochastic_depth=p).build(FACTS) for p in (0, 0.5))
    assert not any(isinstance(module, StochasticDepth) for module in plain.modules())
    assert "drop" not in "".join(name for name, _ in plain.named_modules())
    assert list(plain.state_dict()) == list(dropping.state_dict())
    dropping.load_state_dict(plain.state_dict())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(plain.eval()(images), dropping.eval()(images))


def test_a_block_is_left_out_for_whole_images_and_scaled_up_for_the_others():
    torch.manual_seed(0)
    block = BasicBlock(4, 4, 1, "A", drop=0.75).train()
    block.bn1.eval()
    block.bn2.eval()
    features = torch.rand(64, 4, 6, 6)
    with torch.no_grad():
        residual = block.bn2(block.conv2(block.relu1(block.bn1(block.conv1(features)))))
        out = block(features)
    left_out = (out == features.relu()).flatten(1).all(1)
    kept = (features + 4 * residual).relu()  # 1 / (1 - 0.75)
    torch.testing.assert_close(out[~left_out], kept[~left_out])
    assert 36 <= left_out.sum() <= 60  # 48 expected, standard deviation 3.5
