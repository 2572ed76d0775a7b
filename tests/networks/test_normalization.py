"""Normalisation belongs to the network: whose mean and standard deviation a network has."""

from __future__ import annotations

import copy
import json
import re

import pytest
import torch
import torchvision
from end_to_end import TINY

from augcompress.models import HuggingFaceModel, SmallCNN, TimmModel, TorchvisionModel
from augcompress.models.hugging_face_images import PREPROCESSOR
from augcompress.networks import new_network, open_network, save_network
from augcompress.running.context import Context
from augcompress.spec import validate
from augcompress.storage.run_directory import RunDir
from augcompress.system import SilentReporter

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


def test_of_a_file_of_a_known_design_the_published_weights_ones_are_taken(tmp_path):
    model = TimmModel(name="test_resnet")  # published with mean and std 0.5
    fresh = new_network(context_of(tmp_path), model, None, "distill")
    file = tmp_path / "test_resnet.pt"
    torch.save(fresh.module.body.state_dict(), file)
    context = context_of(tmp_path)
    assert constants(fresh) == pytest.approx((context.data.mean[0], context.data.std[0]))
    loaded = new_network(context, model, str(file), "distill")
    assert constants(loaded) == (0.5, 0.5)
    with_given = new_network(context_of(tmp_path, GIVEN), model, str(file), "distill")
    assert constants(with_given) == (0.25, 0.5)
    minmax = new_network(context_of(tmp_path, "minmax"), model, str(file), "distill")
    assert constants(minmax) == (0.0, 1.0)


class Heard(SilentReporter):
    """What stages tell."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.parametrize(
    ("model", "normalization", "said"),
    [
        (TimmModel(name="test_resnet"), "standardize", r"std \(0\.5\), as the published weights"),
        (TimmModel(name="test_resnet"), GIVEN, r"mean \(0\.25\) .* as data\.normalization says"),
        (TimmModel(name="test_resnet"), "none", r"as data\.normalization says; images are 8 x 8"),
        (SmallCNN(), "standardize", r"fitted to the data, as nothing says what body\.pt was"),
        (SmallCNN(), GIVEN, r"mean \(0\.25\) and std \(0\.5\), as data\.normalization says$"),
    ],
)
def test_what_is_used_is_said(tmp_path, model, normalization, said):
    context = context_of(tmp_path, normalization)
    fresh = new_network(context, model, None, "distill")
    torch.save(fresh.module.body.state_dict(), tmp_path / "body.pt")
    context.reporter = Heard()
    new_network(context, model, None, "distill")
    assert context.reporter.said == []
    new_network(context, model, str(tmp_path / "body.pt"), "distill")
    assert re.search(said, context.reporter.said[-1])


def test_a_checkpoint_says_that_it_brings_its_own(saved, tmp_path):
    context = context_of(tmp_path)
    context.reporter = Heard()
    new_network(context, context.spec.distill.student, str(saved), "distill")
    assert "which come with model.safetensors" in context.reporter.said[-1]


def test_a_pretrained_network_says_on_what_it_was_trained(pretrained, tmp_path):
    context = context_of(tmp_path)
    context.reporter = Heard()
    new_network(context, pretrained, None, "distill")
    theirs = "8 x 8 px stretched, bilinear, theirs were 224 x 224 px cropped from 256, bilinear"
    assert theirs in context.reporter.said[-1]


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("model", "file", "told"),
    [
        (TorchvisionModel(name="mobilenet_v2"), None, None),
        (TorchvisionModel(name="mobilenet_v2", pretrained=True), None, (IMAGENET, 224, 232)),
        (TorchvisionModel(name="resnet50"), "a/resnet50-0676ba61.pth", (IMAGENET, 224, 256)),
        (TorchvisionModel(name="resnet50"), "resnet50-11ad3fa6.pth", (IMAGENET, 224, 232)),
        (TorchvisionModel(name="resnet50"), "mine.pth", (IMAGENET, 224, 232)),
        (TimmModel(name="resnet18"), None, None),
        (TimmModel(name="tf_efficientnet_lite0"), "x.safetensors", (HALF, 224, 256, "bicubic")),
        (TimmModel(name="vit_tiny_patch16_224.augreg_in21k"), "x.pt", (HALF, 224, 248, "bicubic")),
        (TimmModel(name="coat_lite_medium_384.in1k", pretrained=True), None,
         (IMAGENET, 384, None, "bicubic")),
    ],
)  # fmt: skip
def test_libraries_tell_what_their_weights_were_trained_with(model, file, told):
    assert_told(model.trained_with(file), told)


def assert_told(found, told):
    if told is None:
        assert found is None
        return
    constants, side, resize, *method = told
    assert [*map(tuple, found.constants)] == [*map(tuple, constants)]
    assert found.size == (None if side is None else (side, side))
    assert (found.resize, [found.interpolation]) == (resize, method or ["bilinear"])


OWN = {"do_normalize": True, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
OWNS = ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.mark.parametrize(
    ("preprocessor", "told"),
    [
        (None, None),
        ({}, None),
        (OWN, (OWNS, None, None)),
        ({**OWN, "do_resize": True, "resample": 3, "size": {"height": 96, "width": 96}},
         (OWNS, 96, None, "bicubic")),
        ({**OWN, "do_resize": True, "resample": 2, "size": {"shortest_edge": 256},
          "do_center_crop": True, "crop_size": {"height": 224, "width": 224}}, (OWNS, 224, 256)),
        ({**OWN, "do_resize": True, "resample": 3, "size": {"shortest_edge": 224},
          "crop_pct": 0.875}, (OWNS, 224, 256, "bicubic")),
        ({**OWN, "do_resize": True, "size": {"shortest_edge": 384}, "crop_pct": 0.875},
         (OWNS, 384, None)),
        ({**OWN, "do_resize": True, "size": 224, "crop_size": 224, "do_center_crop": False},
         (OWNS, 224, None)),
        ({**OWN, "do_resize": True, "resample": 1, "size": 224}, (OWNS, None, None)),
    ],
)  # fmt: skip
def test_a_hugging_face_folder_tells_what_its_weights_were_trained_with(
    tmp_path, preprocessor, told
):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    if preprocessor is not None:
        (tmp_path / PREPROCESSOR).write_text(json.dumps(preprocessor))
    assert HuggingFaceModel(path=str(tmp_path)).trained_with() is None
    for model, weights in (
        (HuggingFaceModel(path=str(tmp_path), pretrained=True), None),
        (HuggingFaceModel(path=str(tmp_path)), "other.pt"),
    ):
        assert_told(model.trained_with(weights), told)
