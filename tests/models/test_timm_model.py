"""Timm's classifiers: heads, channels, image sizes, weights and what they are exported to."""

from __future__ import annotations

import sys

import pytest
import torch
from pydantic import ValidationError

from augcompress.batch import ImageInput
from augcompress.errors import AugcompressError
from augcompress.exporters import OnnxExporter, check_float, network_reference
from augcompress.graphs import save, to_graph
from augcompress.inference import load_onnx
from augcompress.models import ModelFacts, TimmModel, build_classifier

timm = pytest.importorskip("timm", reason="timm is not installed; pip install 'augcompress[timm]'")

SMALL = ModelFacts(7, ImageInput(3, (32, 32)))
GREY = ModelFacts(7, ImageInput(1, (48, 32)))


def built(facts=SMALL, **settings):
    mean, std = [0.5] * facts.input.channels, [0.25] * facts.input.channels
    return build_classifier(TimmModel(**settings), facts, mean, std)


@pytest.mark.parametrize("facts", [SMALL, GREY], ids=["rgb32", "grey48x32"])
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"])
def test_a_classifier_fits_the_data(name, facts):
    network = built(facts, name=name).eval()
    assert network(torch.rand(2, facts.input.channels, *facts.input.size)).shape == (2, 7)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_a_file_does_what_the_network_does(name, tmp_path):
    torch.manual_seed(0)
    network, images = built(name=name), torch.rand(8, 3, 32, 32)
    save(to_graph(network, images[:2], OnnxExporter()), tmp_path / "model.onnx")
    assert (
        check_float(load_onnx(tmp_path / "model.onnx"), network_reference(network), images)[1].value
        == 1.0
    )


def test_options_reach_timm():
    assert built(name="test_resnet", options={"drop_rate": 0.25}).body.drop_rate == 0.25


def test_pretrained_weights_come_from_timm(monkeypatch):
    asked = []

    def create_model(name, **arguments):
        asked.append((name, arguments.pop("pretrained")))
        return made(name, **arguments)

    made = timm.create_model
    monkeypatch.setattr(timm, "create_model", create_model)
    built(name="resnet10t.c3_in1k", pretrained=True)
    assert asked == [("resnet10t.c3_in1k", True)]


def test_weights_that_cannot_be_had_are_an_error(monkeypatch):
    def create_model(name, **arguments):
        raise FileNotFoundError("no connection\nand more")

    monkeypatch.setattr(timm, "create_model", create_model)
    message = r"timm test_resnet: pretrained weights cannot be downloaded \(no connection\); set"
    with pytest.raises(AugcompressError, match=message):
        built(name="test_resnet", pretrained=True)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"name": "test_resnett"}, "no classifier 'test_resnett'; did you mean 'test_resnet'"),
        ({"name": "hf-hub:timm/resnet18"}, "no classifier 'hf-hub:timm/resnet18'; did you mean"),
        ({"name": "resnet18.nonsense"}, "Invalid pretrained tag"),
        ({"name": "test_resnet", "options": {"depht": 3}}, "unexpected keyword argument 'depht'"),
        ({"name": "test_resnet", "options": {"features_only": True}}, "not logits"),
    ],
)
def test_what_timm_does_not_know_is_an_error(settings, message):
    with pytest.raises(AugcompressError, match=message):
        built(**settings)


def test_our_own_arguments_are_refused():
    with pytest.raises(ValidationError, match="num_classes is set by augcompress"):
        TimmModel(name="test_resnet", options={"num_classes": 3})


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(AugcompressError, match=r"pip install 'augcompress\[timm\]'"):
        built(name="test_resnet")
