"""Every member of the room's union."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save_file

from augcompress.batch import ImageInput
from augcompress.component import ALLOW_PLUGINS
from augcompress.errors import AugcompressError
from augcompress.models import Model, ModelFacts, build_classifier, load_weights
from augcompress.spec import meanings

PLUGIN = """
from typing import Literal
from torch import nn
from augcompress.models import ModelSettings

class Net(nn.Module):
    def __init__(self, classes, channels, hidden=4):
        super().__init__()
        self.conv = nn.Conv2d(channels, hidden, 3)
        self.head = nn.Linear(hidden, classes)
    def forward(self, images):
        return self.head(self.conv(images).mean((2, 3)))

class Settings(ModelSettings):
    kind: Literal["mine"] = "mine"
    hidden: int = 4
    def build(self, facts):
        return Net(facts.classes, facts.input.channels, self.hidden)

class NotBuilding(ModelSettings):
    kind: Literal["mine"] = "mine"
    def build(self, facts):
        return "a network"

class Pairs(nn.Module):
    def forward(self, images):
        return images, images

class Neither: pass
"""

MEMBERS = {
    "cifar_resnet": {"depth": 8, "width": 0.25},
    "small_cnn": {"widths": [4, 8], "dropout": 0.1},
    "torchvision": {"name": "mnasnet0_5", "stem": "small"},
    "timm": {"name": "test_resnet"},
    "hugging_face": {"config": {"model_type": "resnet", "hidden_sizes": [8, 8], "depths": [1, 1]}},
    "plugin": {"target": "./net.py:Net", "options": {"hidden": 6}},
}
EXTRAS = {"timm": "timm", "hugging_face": "transformers"}


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(PLUGIN)
    monkeypatch.setenv(ALLOW_PLUGINS, "1")
    return {"base": str(tmp_path)}


def settings(kind, plugins, **changes):
    if kind in EXTRAS:
        pytest.importorskip(EXTRAS[kind], reason=f"{EXTRAS[kind]} is not installed")
    data = {"kind": kind, **MEMBERS[kind], **changes}
    return TypeAdapter(Model).validate_python(data, context=plugins)


def classifier(kind, plugins, channels=3, seed=0):
    facts = ModelFacts(5, ImageInput(channels, (16, 16)))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_classifier(settings(kind, plugins), facts, [0.4] * channels, [0.2] * channels)


def test_the_table_has_every_member():
    members = get_args(get_args(Model)[0])
    assert {member.model_fields["kind"].default for member in members} == set(MEMBERS)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", MEMBERS)
def test_images_become_logits_and_every_parameter_learns(kind, channels, plugins):
    network = classifier(kind, plugins, channels)
    logits = network(torch.rand(4, channels, 16, 16))
    assert logits.shape == (4, 5)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network.training


@pytest.mark.parametrize("kind", MEMBERS)
def test_the_seed_decides_the_weights(kind, plugins):
    first, again, other = (classifier(kind, plugins, seed=seed) for seed in (0, 0, 1))
    pairs = zip(first.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
    weights = zip(first.parameters(), other.parameters(), strict=True)
    assert any(not torch.equal(one, two) for one, two in weights)


@pytest.mark.parametrize("kind", MEMBERS)
def test_a_saved_network_comes_back_bit_for_bit(kind, plugins, tmp_path):
    network, other = classifier(kind, plugins), classifier(kind, plugins, seed=1)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    state = load_file(tmp_path / "model.safetensors")
    assert load_weights(other, state, where="test") == ()
    images = torch.rand(3, 3, 16, 16)
    assert torch.equal(network.eval()(images), other.eval()(images))


@pytest.mark.parametrize("kind", MEMBERS)
def test_settings_are_frozen_and_survive_json(kind, plugins):
    model = settings(kind, plugins)
    with pytest.raises(ValidationError, match="frozen"):
        model.kind = "other"
    with pytest.raises(ValidationError, match="Extra inputs"):
        settings(kind, plugins, dpeth=3)
    assert TypeAdapter(Model).validate_json(model.model_dump_json()) == model


@pytest.mark.parametrize("kind", sorted(set(MEMBERS) - {"plugin"}))
def test_every_field_is_documented(kind, plugins):
    model = type(settings(kind, plugins))
    assert model.__doc__
    assert model.model_fields.keys() - {"kind"} <= meanings(model).keys()


def test_normalisation_is_the_first_layer(plugins):
    network = classifier("small_cnn", plugins)
    images = torch.rand(2, 3, 16, 16)
    assert torch.allclose(network.normalize(images), (images - 0.4) / 0.2, atol=1e-6)
    assert network.state_dict()["normalize.mean"].shape == (1, 3, 1, 1)


@pytest.mark.parametrize("mean, std", [([0.5], [0.2]), ([0.5] * 3, [0.2, 0.2, 0.0])])
def test_statistics_must_fit_the_channels(mean, std, plugins):
    facts = ModelFacts(5, ImageInput(3, (8, 8)))
    with pytest.raises(AugcompressError, match="one mean and one positive std per channel"):
        build_classifier(settings("small_cnn", plugins), facts, mean, std)


def test_a_plugin_may_be_settings(plugins):
    model = settings("plugin", plugins, target="./net.py:Settings")
    network = model.build(ModelFacts(5, ImageInput(1, (8, 8))))
    assert network.conv.weight.shape == (6, 1, 3, 3)


@pytest.mark.parametrize(
    "name, message",
    [
        ("Neither", "is no subclass of Module"),
        ("NotBuilding", "build gives str; return a torch.nn.Module"),
        ("Pairs", "gives tuple for one image, not logits"),
        ("Missing", "has no class Missing"),
    ],
)
def test_a_plugin_that_is_no_classifier_is_refused(name, message, plugins):
    model = settings("plugin", plugins, target=f"./net.py:{name}", options={})
    facts = ModelFacts(5, ImageInput(1, (8, 8)))
    with pytest.raises(AugcompressError, match=message):
        build_classifier(model, facts, [0.5], [0.5])


def test_a_plugin_needs_permission(plugins, monkeypatch):
    monkeypatch.delenv(ALLOW_PLUGINS)
    with pytest.raises(AugcompressError, match="--allow-plugins"):
        classifier("plugin", plugins)
