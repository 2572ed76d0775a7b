"""Dropout and stochastic depth: gone from what is pruned, traced and exported."""

from __future__ import annotations

import pytest
import torch
from digit_networks import probe_of, train

from augcompress.batch import ImageInput
from augcompress.compressions import Channels
from augcompress.exporters import OnnxExporter, check_float, network_reference
from augcompress.graphs import save, to_graph
from augcompress.inference import load_onnx
from augcompress.models import (
    CifarResNet,
    ModelFacts,
    SmallCNN,
    backbone_layers,
    build_classifier,
    find_head,
)

MODELS = {
    "stochastic depth, option A": CifarResNet(depth=8, stochastic_depth=0.5),
    "stochastic depth, option B": CifarResNet(depth=8, option="B", stochastic_depth=0.5),
    "dropout": SmallCNN(widths=(16, 32), dropout=0.5),
}


@pytest.fixture(params=MODELS.values(), ids=list(MODELS))
def network(request):
    torch.manual_seed(0)
    facts = ModelFacts(10, ImageInput(1, (8, 8)))
    return train(build_classifier(request.param, facts, [0.3], [0.4]))


def test_channels_are_removed_and_the_rest_still_drops_in_training(network, images):
    probe = probe_of(network)
    step = Channels(macs=0.7)
    pruned, history = step.prepare(network, probe).convert()
    assert probe.cost(pruned, "macs") <= 0.7 * probe.original("macs")
    step.check(pruned, history, probe)
    body = pruned.train().body
    for layer in body.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eval()
    assert not torch.equal(pruned(images[:64]), pruned(images[:64]))


def test_the_file_drops_nothing(network, images, tmp_path):
    graph = to_graph(network.train(), images[:2], OnnxExporter())
    kinds = {node.op_type for node in graph.graph.node}
    assert not {
        kind for kind in kinds if "Dropout" in kind or "Random" in kind or "Bernoulli" in kind
    }
    save(graph, tmp_path / "model.onnx")
    pixels = (images[:32] * 255).round().to(torch.uint8).numpy()
    rows = check_float(
        load_onnx(tmp_path / "model.onnx"),
        network_reference(network.eval()),
        pixels,
        tolerance=1e-4,
    )
    assert rows


def test_layers_are_found_below_the_head(network, images):
    layers = backbone_layers(network, images[:2], find_head(network, images[:2]))
    kinds = {type(layer) for layer in layers}
    assert kinds == {torch.nn.Conv2d, torch.nn.BatchNorm2d}
