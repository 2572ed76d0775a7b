"""Torchvision's classifiers: families, stems, heads, channels and pretrained weights."""

from __future__ import annotations

from urllib.error import URLError

import pytest
import torch
import torchvision
from pydantic import ValidationError
from torch.nn import functional as F

from augcompress.batch import ImageInput
from augcompress.errors import AugcompressError
from augcompress.models import ModelFacts, TorchvisionModel, build_classifier
from augcompress.models.torchvision_model import classifiers, first_convolution, fitted_filters

SMALL = ModelFacts(7, ImageInput(3, (32, 32)))
GREY = ModelFacts(7, ImageInput(1, (28, 28)))
FAMILIES = [
    "resnet18",
    "densenet121",
    "squeezenet1_0",
    "squeezenet1_1",
    "shufflenet_v2_x0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mnasnet0_5",
    "efficientnet_b0",
    "regnet_y_400mf",
]


def built(facts=SMALL, **settings):
    mean, std = [0.5] * facts.input.channels, [0.25] * facts.input.channels
    return build_classifier(TorchvisionModel(**settings), facts, mean, std)


def test_classifiers_are_those_that_torchvision_registers():
    assert classifiers() == torchvision.models.list_models(module=torchvision.models)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("facts", [SMALL, GREY], ids=["rgb32", "grey28"])
def test_a_small_stem_keeps_the_resolution(name, facts):
    network = built(facts, name=name, stem="small")
    _, convolution = first_convolution(network.body)
    assert (convolution.stride, convolution.kernel_size) == ((1, 1), (3, 3))
    seen = []
    network.body.register_forward_hook(lambda module, inputs, output: seen.append(output))
    convolution.register_forward_hook(lambda module, inputs, output: seen.append(output))
    images = torch.rand(2, facts.input.channels, *facts.input.size)
    assert network.eval()(images).shape == (2, 7)
    assert seen[0].shape[2:] == facts.input.size


def test_a_small_stem_has_no_early_pooling():
    network = built(name="resnet18", stem="small")
    sizes = []
    network.body.layer1.register_forward_hook(lambda m, i, output: sizes.append(output.shape[2:]))
    network.eval()(torch.rand(1, 3, 32, 32))
    assert sizes == [(32, 32)]


@pytest.mark.parametrize("name", ["vit_b_32", "googlenet", "convnext_tiny"])
def test_other_families_at_their_default_stem(name):
    network = built(ModelFacts(4, ImageInput(1, (64, 64))), name=name)
    logits = network(torch.rand(2, 1, 64, 64))
    assert logits.shape == (2, 4)


def test_options_reach_torchvision():
    narrow = built(name="mobilenet_v2", stem="small", options={"width_mult": 0.25})
    wide = built(name="mobilenet_v2", stem="small")
    assert narrow.body.features[1].conv[1].out_channels < wide.body.features[1].conv[1].out_channels


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"name": "resnet19"}, "did you mean 'resnet18'"),
        ({"name": "vgg11", "stem": "small"}, "vgg11 has no small stem"),
        ({"name": "vit_b_16", "stem": "small"}, "no small stem"),
        ({"name": "resnet18", "options": {"num_classes": 3}}, "num_classes is set by augcompress"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        TorchvisionModel(**settings)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"name": "resnet18", "options": {"widht": 3}}, "widht.*mend its options"),
        (
            {"name": "resnet18", "options": {"replace_stride_with_dilation": [0, 1, 1]}},
            "not supported in BasicBlock",
        ),
        ({"name": "alexnet"}, "cannot take images of 3 x 32 x 32"),
        ({"name": "maxvit_t"}, "mend its options or the image size"),
    ],
)
def test_what_torchvision_refuses_is_one_line(settings, message):
    with pytest.raises(AugcompressError, match=message) as caught:
        built(**settings)
    assert "\n" not in str(caught.value)


def test_no_network_is_said(monkeypatch):
    def unreachable(*args, **kwargs):
        raise URLError("no route")

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", unreachable)
    with pytest.raises(AugcompressError, match=r"no route.*give weights: a local file"):
        built(name="squeezenet1_1", pretrained=True)


@pytest.fixture
def imagenet(monkeypatch):
    """Random weights in place of the download."""
    torch.manual_seed(0)
    states = {}

    def load(url, *args, **kwargs):
        name = next(n for n in ("googlenet", "mobilenet_v2", "resnet18") if n in url)
        options = {"init_weights": False, "aux_logits": True} if name == "googlenet" else {}
        network = torchvision.models.get_model(name, **options)
        states[name] = network.state_dict()
        return states[name]

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", load)
    return states


def test_pretrained_weights_are_taken_but_for_the_head(imagenet):
    network = built(name="resnet18", pretrained=True).body
    state = imagenet["resnet18"]
    assert torch.equal(network.conv1.weight, state["conv1.weight"])
    assert torch.equal(network.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    assert network.fc.weight.shape == (7, 512)


def test_pretrained_weights_with_a_small_stem_leave_the_first_convolution(imagenet):
    network = built(name="resnet18", pretrained=True, stem="small").body
    assert network.conv1.weight.shape == (64, 3, 3, 3)
    assert torch.equal(network.bn1.weight, imagenet["resnet18"]["bn1.weight"])


def test_pretrained_weights_on_grey_images_see_grey_rgb(imagenet):
    network = built(GREY, name="resnet18", pretrained=True).body
    grey = torch.rand(1, 1, 28, 28)
    rgb = F.conv2d(
        grey.expand(1, 3, 28, 28), imagenet["resnet18"]["conv1.weight"], stride=2, padding=3
    )
    assert torch.allclose(network.conv1(grey), rgb, atol=1e-5)


def test_pretrained_weights_without_auxiliary_heads(imagenet):
    network = built(ModelFacts(4, ImageInput(3, (64, 64))), name="googlenet", pretrained=True).body
    assert network.transform_input
    assert torch.equal(network.conv1.conv.weight, imagenet["googlenet"]["conv1.conv.weight"])
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 4)


def test_pretrained_weights_and_another_width_do_not_fit(imagenet):
    with pytest.raises(AugcompressError, match=r"do not fit options .*width_mult"):
        built(name="mobilenet_v2", pretrained=True, options={"width_mult": 0.5})


def test_filters_of_another_kernel_stay_fresh():
    fresh = torch.rand(4, 1, 3, 3)
    assert fitted_filters(torch.rand(4, 3, 7, 7), fresh) is fresh
