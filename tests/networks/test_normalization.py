"""Normalisation belongs to the network: whose mean and standard deviation a network has."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from end_to_end import TINY

from augcompress.models import HuggingFaceModel, TimmModel, TorchvisionModel
from augcompress.models.hugging_face_model import PREPROCESSOR
from augcompress.networks import new_network, open_network, save_network
from augcompress.running.context import Context
from augcompress.spec import validate
from augcompress.storage.run_directory import RunDir

GIVEN = {"mean": [0.25], "std": [0.5]}
IMAGENET_MEAN = (0.485 + 0.456 + 0.406) / 3


def context_of(folder, normalization="standardize") -> Context:
    recipe = copy.deepcopy(TINY)
    recipe["data"]["normalization"] = normalization
    return Context(validate(recipe), RunDir(folder))


def constants(network) -> tuple[float, float]:
    layer = network.module.normalize
    return layer.mean.item(), layer.std.item()


@pytest.fixture
def saved(tmp_path):
    """A checkpoint of a network that was made for other constants."""
    context = context_of(tmp_path, GIVEN)
    network = new_network(context, context.spec.train_teacher.model, None, "train_teacher")
    return save_network(network, tmp_path / "saved")


@pytest.mark.parametrize("normalization", ["standardize", {"mean": [0.1], "std": [0.1]}])
def test_a_checkpoint_brings_its_own(saved, tmp_path, normalization):
    context = context_of(tmp_path, normalization)
    opened = open_network(context, saved, None, "distill")
    assert constants(opened) == (0.25, 0.5)
    model = context.spec.distill.student
    assert constants(new_network(context, model, str(saved), "distill")) == (0.25, 0.5)


def test_weights_from_elsewhere_and_fresh_networks_have_the_datas(tmp_path):
    context = context_of(tmp_path, GIVEN)
    model = context.spec.distill.student
    fresh = new_network(context, model, None, "distill")
    torch.save(fresh.module.body.state_dict(), tmp_path / "body.pt")
    other = context_of(tmp_path, "standardize")
    loaded = new_network(other, model, str(tmp_path / "body.pt"), "distill")
    assert constants(fresh) == (0.25, 0.5)
    assert constants(loaded) == pytest.approx((other.data.mean[0], other.data.std[0]))


@pytest.fixture
def pretrained(monkeypatch):
    """A torchvision model with random weights in place of the download."""
    state = torchvision.models.resnet18().state_dict()
    load = "load_state_dict_from_url"
    monkeypatch.setattr(torchvision.models._api, load, lambda *given, **more: copy.copy(state))
    return TorchvisionModel(name="resnet18", stem="small", pretrained=True)


def test_a_pretrained_network_has_its_librarys_unless_the_recipe_gives_some(pretrained, tmp_path):
    own = new_network(context_of(tmp_path), pretrained, None, "distill")
    assert constants(own)[0] == pytest.approx(IMAGENET_MEAN)  # of a grey image's three channels
    given = new_network(context_of(tmp_path, GIVEN), pretrained, None, "distill")
    assert constants(given) == (0.25, 0.5)


def test_libraries_tell_what_their_weights_were_trained_with(tmp_path):
    weights = TorchvisionModel(name="mobilenet_v2", pretrained=True)
    assert weights.normalization() == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert TorchvisionModel(name="mobilenet_v2").normalization() is None
    weights = TimmModel(name="vit_tiny_patch16_224.augreg_in21k", pretrained=True)
    assert weights.normalization() == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert TimmModel(name="resnet18").normalization() is None
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert HuggingFaceModel(path=str(tmp_path), pretrained=True).normalization() is None
    told = '{"do_normalize": true, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}'
    (tmp_path / PREPROCESSOR).write_text(told)
    model = HuggingFaceModel(path=str(tmp_path), pretrained=True)
    assert model.normalization() == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
