"""Under which licence the weights are that a model starts from, as whoever gives them says."""

from __future__ import annotations

import huggingface_hub
import pytest

from augcompress.models import HuggingFaceModel, SmallCNN, TimmModel, TorchvisionModel


@pytest.mark.parametrize(
    ("model", "name", "licence"),
    [
        (TimmModel(name="resnet18", pretrained=True), "timm resnet18", "apache-2.0"),
        (
            TimmModel(name="convnextv2_atto.fcmae", pretrained=True),
            "timm convnextv2_atto.fcmae",
            "cc-by-nc-4.0",
        ),
        (TimmModel(name="test_vit", pretrained=True), "timm test_vit", "apache-2.0"),
        (
            TorchvisionModel(name="resnet18", pretrained=True),
            "torchvision resnet18",
            "bsd-3-clause",
        ),
        (
            TorchvisionModel(name="vit_h_14", pretrained=True),
            "torchvision vit_h_14",
            "cc-by-nc-4.0",
        ),
    ],
)
def test_of_libraries(model, name, licence):
    weights = model.pretrained_weights()
    assert (weights.name, weights.licence) == (name, licence)


@pytest.mark.parametrize(
    "model", [TimmModel(name="resnet18"), TorchvisionModel(name="resnet18"), SmallCNN()]
)
def test_a_network_that_starts_fresh_starts_from_none(model):
    assert model.pretrained_weights() is None


CARDS = {
    "---\nlicense: mit\ntags: [a]\n---\n# Net\nlicense: gpl\n": "mit",
    "---\nlicense: other\nlicense_name: seer\n---\n": "seer",
    "---\nlicense: [mit, apache-2.0]\n---\n": None,
    "---\nlanguage: en\n---\nlicense: mit\n": None,
    "license: mit\n": None,
    "---\nlicense: {: [\n---\n": None,
    "": None,
}


@pytest.mark.parametrize("card", CARDS)
def test_of_a_card_of_hugging_face(card, tmp_path, monkeypatch):
    """In the folder, and on the hub."""
    folder = tmp_path / "vit"
    folder.mkdir()
    (folder / "README.md").write_text(card)
    wanted = CARDS[card]
    settings = {"config": {"model_type": "vit"}, "pretrained": True}
    local = HuggingFaceModel.model_construct(path=str(folder), name=None, **settings)
    found = local.pretrained_weights()
    assert (found.name, found.licence) == ("hugging_face vit", wanted)
    asked = []

    def download(name, file, revision):
        asked.append((name, file, revision))
        return str(folder / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    remote = HuggingFaceModel(name="someone/vit", revision="v1", pretrained=True)
    found = remote.pretrained_weights()
    assert (found.name, found.licence) == ("hugging_face someone/vit", wanted)
    assert asked == [("someone/vit", "README.md", "v1")]


def test_without_a_card_nobody_says(tmp_path):
    local = HuggingFaceModel.model_construct(path=str(tmp_path), name=None, pretrained=True)
    assert local.pretrained_weights().licence is None
