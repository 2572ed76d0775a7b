"""Classifiers of transformers: folders, heads, weights, and checkpoints that need no folder."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from augcompress.batch import ImageInput
from augcompress.component import key_of
from augcompress.errors import AugcompressError
from augcompress.exporters import OnnxExporter, check_float, network_reference
from augcompress.graphs import save, to_graph
from augcompress.inference import load_onnx
from augcompress.models import HuggingFaceModel, Model, ModelFacts, build_classifier

transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed; pip install 'augcompress[hugging-face]'"
)

FACTS = ModelFacts(7, ImageInput(3, (16, 16)))
VIT = {
    "model_type": "vit",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 16,
    "patch_size": 4,
}
CONVNEXT = {"model_type": "convnext", "hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}
RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
    "layer_type": "basic",
}


@pytest.fixture
def folder(tmp_path):
    """A ViT of five classes as `save_pretrained` leaves it."""
    design = {name: value for name, value in VIT.items() if name != "model_type"}
    config = transformers.ViTConfig(**design, num_labels=5)
    torch.manual_seed(3)
    network = transformers.ViTForImageClassification(config)
    network.save_pretrained(tmp_path / "vit")
    return tmp_path / "vit"


def built(facts=FACTS, **settings):
    model = HuggingFaceModel(**settings)
    return build_classifier(
        model, facts, [0.5] * facts.input.channels, [0.25] * facts.input.channels
    )


def stored(folder):
    return transformers.ViTForImageClassification.from_pretrained(folder).eval()


@pytest.mark.parametrize("channels, size", [(3, (16, 16)), (1, (32, 16))])
@pytest.mark.parametrize("design", [VIT, CONVNEXT, RESNET], ids=["vit", "convnext", "resnet"])
def test_a_design_is_fitted_to_the_data(design, channels, size, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(design))
    facts = ModelFacts(7, ImageInput(channels, size))
    network = built(facts, path=str(tmp_path)).eval()
    assert network(torch.rand(2, channels, *size)).shape == (2, 7)


@pytest.mark.parametrize("design", [VIT, CONVNEXT, RESNET], ids=["vit", "convnext", "resnet"])
def test_a_file_does_what_the_network_does(design, tmp_path):
    torch.manual_seed(0)
    network, images = built(config=design), torch.rand(8, 3, 16, 16)
    save(to_graph(network, images[:2], OnnxExporter()), tmp_path / "model.onnx")
    assert (
        check_float(load_onnx(tmp_path / "model.onnx"), network_reference(network), images)[1].value
        == 1.0
    )


def test_weights_come_from_the_folder(folder):
    facts = ModelFacts(5, ImageInput(3, (16, 16)))
    network = built(facts, path=str(folder), pretrained=True)
    assert network.training
    images = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        want = stored(folder)(pixel_values=images).logits
        assert torch.equal(network.body.eval()(images), want)


def test_the_head_starts_fresh_where_the_class_count_differs(folder):
    network, source = built(path=str(folder), pretrained=True), stored(folder)
    assert network.body.network.classifier.weight.shape == (7, 16)
    mine, theirs = network.body.network.vit.state_dict(), source.vit.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_checkpoint_needs_no_folder(folder):
    model = HuggingFaceModel(path=str(folder), pretrained=True)
    told = model.model_dump_json()
    shutil.rmtree(folder)
    again = TypeAdapter(Model).validate_json(told)
    assert again == model
    bare = again.model_copy(update={"pretrained": False})
    assert bare.build(FACTS)(torch.rand(2, 3, 16, 16)).shape == (2, 7)
    with pytest.raises(AugcompressError, match=r"vit: holds no \.safetensors; save the model"):
        again.build(FACTS)


def test_content_and_not_place_is_in_the_key(folder, tmp_path):
    first = key_of(HuggingFaceModel(path=str(folder), pretrained=True))
    folder.rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    assert key_of(HuggingFaceModel(path=str(moved), pretrained=True)) == first
    weights = moved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    assert key_of(HuggingFaceModel(path=str(moved), pretrained=True)) != first


def test_weights_that_changed_since_are_refused(folder):
    model = HuggingFaceModel(path=str(folder), pretrained=True)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    with pytest.raises(AugcompressError, match="are others than weights_sha256 says"):
        model.build(FACTS)


def test_relative_folders_start_at_the_recipe(folder):
    data = {"kind": "hugging_face", "path": "vit"}
    found = TypeAdapter(Model).validate_python(data, context={"base": str(folder.parent)})
    assert found.path == str(folder)
    assert found.config["hidden_size"] == 16


def test_code_in_the_folder_is_not_run(folder):
    told = json.loads((folder / "config.json").read_text())
    told["auto_map"] = {"AutoModelForImageClassification": "evil.Evil", "AutoConfig": "evil.Evil"}
    (folder / "config.json").write_text(json.dumps(told))
    (folder / "evil.py").write_text("raise SystemExit('run')")
    network = built(path=str(folder), pretrained=True)
    assert type(network.body.network).__name__ == "ViTForImageClassification"


def test_pickled_weights_are_not_read(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValidationError, match=r"holds no \.safetensors; save the model"):
        HuggingFaceModel(path=str(folder), pretrained=True)


def test_weights_of_another_design_are_refused(folder):
    told = json.loads((folder / "config.json").read_text()) | {"hidden_size": 24}
    (folder / "config.json").write_text(json.dumps(told))
    with pytest.raises(AugcompressError, match="the weights do not fit the network: vit"):
        built(path=str(folder), pretrained=True)


def test_images_of_another_size_are_an_error(folder):
    facts = ModelFacts(7, ImageInput(3, (32, 32)))
    with pytest.raises(AugcompressError, match=r"cannot take images of 3 x 32 x 32 .*; resize"):
        built(facts, path=str(folder), pretrained=True)


def test_building_prints_nothing(folder, capfd):
    built(path=str(folder), pretrained=True)
    assert capfd.readouterr() == ("", "")


def test_a_hub_name_is_asked_for_with_its_revision(folder, monkeypatch):
    asked = []
    classifier, config = transformers.AutoModelForImageClassification, transformers.AutoConfig
    load, read = classifier.from_pretrained, config.from_pretrained

    def from_pretrained(name, **how):
        asked.append((name, how.pop("revision"), how["local_files_only"], how["use_safetensors"]))
        return load(folder, **how)

    monkeypatch.setattr(classifier, "from_pretrained", from_pretrained)
    monkeypatch.setattr(config, "from_pretrained", lambda name, **how: read(folder))
    built(name="someone/net", revision="v1", pretrained=True)
    assert asked == [("someone/net", "v1", False, True)]


@pytest.mark.parametrize(
    "design, message",
    [
        ({"model_type": "bert"}, "cannot be built: Unrecognized configuration"),
        ({"model_type": "vitt"}, "the config cannot be used: Unrecognized model"),
        ({"model_type": "vit", "hidden_size": "a"}, "the config cannot be used"),
        ({}, "the config cannot be used"),
    ],
)
def test_a_config_of_something_else_is_an_error(design, message):
    with pytest.raises(AugcompressError, match=message) as caught:
        built(config=design)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({}, "names no network; give path"),
        ({"name": "google/vit-base-patch16-224"}, "name needs pretrained: true"),
        ({"config": VIT, "pretrained": True}, "pretrained needs weights; give path or name"),
        ({"path": "/absent"}, r"config\.json: No such file or directory; give its folder"),
    ],
)
def test_a_source_is_needed(settings, message):
    with pytest.raises(ValidationError, match=message):
        HuggingFaceModel(**settings)


@pytest.mark.parametrize(
    "text, message", [("{", "is no JSON"), ("{}", "names no model_type"), ("[]", "no model_type")]
)
def test_a_config_that_is_none_is_an_error(text, message, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValidationError, match=message):
        HuggingFaceModel(path=str(tmp_path))


def test_path_and_name_exclude_each_other(folder):
    with pytest.raises(ValidationError, match="path and name are both given"):
        HuggingFaceModel(path=str(folder), name="a/b", pretrained=True)


def test_without_transformers_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(AugcompressError, match=r"pip install 'augcompress\[hugging-face\]'"):
        built(config=VIT)
