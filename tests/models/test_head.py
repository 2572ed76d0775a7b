"""The head, found by following the logits back: whatever the order of registration."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from augcompress.batch import ImageInput
from augcompress.models import (
    CifarResNet,
    HuggingFaceModel,
    ModelFacts,
    SmallCNN,
    TimmModel,
    TorchvisionModel,
    build_classifier,
    find_head,
    unused_parameters,
)
from augcompress.models.hugging_face_model import Logits

CLASSES, WIDTH = 4, 6
EXAMPLE = torch.full((1, 3, 8, 8), 0.5)


class Features(nn.Module):
    """`fc` is registered first; two convolutions and a batch norm make features `(N,WIDTH)`."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(WIDTH, CLASSES)
        self.first, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)
        self.second = nn.Conv2d(5, WIDTH, 3)

    def features(self, images):
        return self.second(self.norm(self.first(images)).relu()).relu().mean((2, 3))

    def forward(self, images):
        return self.fc(self.features(images))


class ScaledAndShifted(Features):
    def __init__(self):
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1, CLASSES))

    def forward(self, images):
        return super().forward(images) * self.scale.exp() + self.shift


class NormOfLogits(Features):
    def __init__(self):
        super().__init__()
        self.last = nn.BatchNorm1d(CLASSES)

    def forward(self, images):
        return self.last(super().forward(images))


class ReshapedConvolution(Features):
    def __init__(self):
        super().__init__()
        self.fc = nn.Conv2d(WIDTH, CLASSES, 1)

    def forward(self, images):
        maps = self.second(self.norm(self.first(images)).relu())
        return self.fc(maps).relu().mean((2, 3), keepdim=True).reshape(len(images), -1)


class TwoHeads(Features):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(WIDTH, CLASSES)

    def forward(self, images):
        features = self.features(images)
        return (self.fc(features) + self.other(features.tanh())) / 2


class Unused(Features):
    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(WIDTH, CLASSES)


class LearnsTwice(Features):
    """`fc` runs on two views of the features, and its scores are added up."""

    def forward(self, images):
        return self.fc(self.features(images)) + self.fc(self.features(images.flip(3)))


class Tied(nn.Module):
    """One layer below itself, and under two names."""

    def __init__(self):
        super().__init__()
        self.last = self.again = nn.Linear(CLASSES, CLASSES)
        self.first = nn.Conv2d(3, CLASSES, 3)

    def forward(self, images):
        return self.last(self.again(self.first(images).mean((2, 3))).relu())


class Own(Features):
    """Weights of the module itself, beside a token that belongs to the features."""

    def __init__(self):
        super().__init__()
        del self.fc
        self.token = nn.Parameter(torch.zeros(1, WIDTH))
        self.matrix = nn.Parameter(torch.rand(WIDTH, CLASSES))

    def forward(self, images):
        return (self.features(images) + self.token) @ self.matrix


class Cosine(Features):
    """Directions are compared: the features' length has a way of its own to the logits."""

    def forward(self, images):
        features = self.features(images)
        return self.fc(features) / (features.norm(dim=1, keepdim=True) + 1)


class Normalised(Features):
    def forward(self, images):
        return F.linear(F.normalize(self.features(images)), F.normalize(self.fc.weight)) * 16


class Distances(Features):
    def __init__(self):
        super().__init__()
        self.fc = nn.Embedding(CLASSES, WIDTH)

    def forward(self, images):
        return -(self.features(images)[:, None] - self.fc.weight[None]).square().sum(2)


class Residual(Features):
    """The last layer adds to what it reads."""

    def __init__(self):
        super().__init__()
        self.early = nn.Linear(WIDTH, CLASSES)
        self.fc = nn.Linear(CLASSES, CLASSES)

    def forward(self, images):
        early = self.early(self.features(images))
        return early + self.fc(early.relu())


class OneFeature(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.first = nn.Linear(1, CLASSES), nn.Conv2d(3, 1, 3)

    def forward(self, images):
        return self.fc(self.first(images).mean((2, 3)))


class FrozenBelow(Features):
    def forward(self, images):
        with torch.no_grad():
            features = self.features(images)
        return self.fc(features)


class Random(Features):
    def forward(self, images):
        return self.fc(F.dropout(self.features(images), training=True))


def weight_normed() -> nn.Module:
    network = Features()
    parametrizations.weight_norm(network.fc)
    return network


FC = {"fc.weight", "fc.bias"}
HEADS = {
    "registered first": (Features(), FC),
    "scaled and shifted": (ScaledAndShifted(), FC | {"scale", "shift"}),
    "batch norm behind it": (NormOfLogits(), FC | {"last.weight", "last.bias"}),
    "a convolution, pooled and reshaped": (ReshapedConvolution(), FC),
    "two heads": (TwoHeads(), FC | {"other.weight", "other.bias"}),
    "an unused layer behind it": (Unused(), FC),
    "run twice": (LearnsTwice(), FC),
    "tied": (Tied(), {"last.weight", "last.bias"}),
    "a matrix of the network's own": (Own(), {"matrix"}),
    "cosine": (Cosine(), FC),
    "normalised weights": (Normalised(), {"fc.weight"}),
    "distances": (Distances(), {"fc.weight"}),
    "residual": (Residual(), FC),
    "one feature": (OneFeature(), FC),
    "features without gradients": (FrozenBelow(), FC),
    "random": (Random(), FC),
    "weight norm": (
        weight_normed(),
        {"fc.bias"} | {f"fc.parametrizations.weight.original{place}" for place in (0, 1)},
    ),
}


@pytest.mark.parametrize("network, expected", HEADS.values(), ids=list(HEADS))
def test_the_head_is_what_makes_the_logits(network, expected):
    head = find_head(network, EXAMPLE)
    assert set(head.parameters) == expected
    assert set(head.layers) == {name.rpartition(".")[0] for name in expected}


@pytest.mark.parametrize("network", [network for network, _ in HEADS.values()], ids=list(HEADS))
def test_looking_for_the_head_changes_nothing(network):
    network.first.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.random.get_rng_state()
    find_head(network, EXAMPLE)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert network.training
    assert not network.first.weight.requires_grad
    assert all(one.requires_grad for name, one in network.named_parameters() if name[:5] != "first")
    assert all(one.grad is None for one in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    network.first.weight.requires_grad_(True)


@pytest.mark.parametrize(
    "settings, size, layers",
    [
        (SmallCNN(widths=(4, 8)), 8, ["linear"]),
        (CifarResNet(depth=8), 8, ["linear"]),
        (TorchvisionModel(name="squeezenet1_1"), 32, ["classifier.1"]),
        (TorchvisionModel(name="googlenet"), 32, ["fc"]),
        (TorchvisionModel(name="vit_b_32"), 32, ["heads.head"]),
        (TorchvisionModel(name="swin_t"), 32, ["head"]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_heads_of_published_networks(settings, size, layers):
    check_layers(settings, size, layers)


@pytest.mark.parametrize(
    "name, options, layers",
    [
        ("test_resnet", {}, ["fc"]),
        ("test_vit", {}, ["head"]),
        ("deit_tiny_distilled_patch16_224", {}, ["head", "head_dist"]),
        ("levit_128s", {}, ["head.linear", "head_dist.linear"]),
    ],
)
def test_heads_of_timm(name, options, layers):
    pytest.importorskip("timm", reason="timm is not installed")
    check_layers(TimmModel(name=name, options=options), 224, layers)


def test_heads_of_hugging_face():
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    small = {"embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1], "layer_type": "basic"}
    config = {"model_type": "resnet", **small}
    check_layers(HuggingFaceModel(config=config), 32, ["network.classifier.1"])
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    told = transformers.DeiTConfig(**small, image_size=8, patch_size=4, num_labels=CLASSES)
    network = Logits(transformers.DeiTForImageClassificationWithTeacher(told))
    heads = ("network.cls_classifier", "network.distillation_classifier")
    assert find_head(network, EXAMPLE).layers == heads


def check_layers(settings, size, layers):
    facts = ModelFacts(CLASSES, ImageInput(3, (size, size)))
    network = build_classifier(settings, facts, [0.5] * 3, [0.25] * 3)
    head = find_head(network, facts.example())
    assert [name.removeprefix("body.") for name in head.layers] == layers
    assert all(size == 0 for name, size in head.classes.items())
    weights = [network.get_parameter(name) for name in head.parameters]
    assert all(CLASSES in weight.shape for weight in weights)


def test_the_dimension_of_the_classes_is_known():
    assert find_head(Features(), EXAMPLE).classes == {"fc.weight": 0, "fc.bias": 0}
    assert find_head(Own(), EXAMPLE).classes == {"matrix": 1}
    both = {"last.weight": 0, "last.bias": 0, "again.weight": 0, "again.bias": 0}
    assert find_head(Tied(), EXAMPLE).classes == both
    normed = find_head(NormOfLogits(), EXAMPLE).classes
    assert {"last.running_mean", "last.running_var", "last.bias"} <= set(normed)


def test_a_network_without_weights_has_no_head():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert find_head(network, EXAMPLE).layers == ()


def test_parameters_without_a_part_in_the_logits_are_named():
    assert unused_parameters(Unused(), EXAMPLE) == ["spare.weight", "spare.bias"]
    assert unused_parameters(Normalised(), EXAMPLE) == ["fc.bias"]
    assert unused_parameters(TwoHeads(), EXAMPLE) == []
