"""The public CIFAR ResNet-20 (option A): what padding shortcuts and real weights need."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from augcompress.batch import Batch, ImageInput
from augcompress.compressions import Channels, GraphProbe, Probe, StaticInt8
from augcompress.evidence import agreement
from augcompress.exporters import OnnxExporter, check_float, check_quantized, network_reference
from augcompress.graphs import save, to_graph
from augcompress.inference import load_onnx
from augcompress.measures import count_macs
from augcompress.models import CifarResNet, ModelFacts, build_classifier

DATA = os.environ.get("AUGCOMPRESS_TEST_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="AUGCOMPRESS_TEST_DATA is not set")
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    facts = ModelFacts(10, ImageInput(3, (32, 32)))
    network = build_classifier(CifarResNet(depth=20), facts, MEAN, STD)
    file = Path(DATA) / "cifar10-resnets" / "resnet20-12fca82f.th"
    state = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
    named = {name.removeprefix("module."): value for name, value in state.items()}
    missing, unexpected = network.body.load_state_dict(named, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return network.eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    with Image.open(Path(DATA) / "cifar10-lossless-a" / "cifar10_batch_0.png") as strip:
        rows = np.asarray(strip.convert("RGB")).reshape(1000, 32, 32, 3)
    return torch.from_numpy(rows.transpose(0, 3, 1, 2).copy())


@pytest.fixture(scope="module")
def probe(network, images) -> Probe:
    example = images[:2].float() / 255

    def batches():
        with torch.no_grad():
            found = images[:256].float() / 255
            targets = network(found).softmax(1)
        yield Batch(found, targets, torch.arange(256))

    def loss(network, batch):
        return nn.functional.cross_entropy(network(batch.inputs), batch.targets)

    return Probe(
        example=example,
        batches=batches,
        calibration=lambda: (batch.images() for batch in batches()),
        loss=loss,
        score=lambda network: 0.0,
        cost=lambda network, name: count_macs(network, example),
        original=lambda name: count_macs(network, example),
    )


@pytest.mark.parametrize("importance", ["l2", "taylor"])
def test_channels_are_removed_inside_blocks_only(network, probe, importance):
    """`prepare` itself refuses where removing is not masking."""
    step = Channels(macs=0.75, importance=importance, round_to=8)
    original = probe.original("macs")
    pruned, history = step.prepare(network, probe).convert()
    assert original == 40_551_040  # 41 M in the literature
    assert history["macs"] <= 0.75 * original
    assert all(root.endswith("conv1") and "layer" in root for root in history["removed"])
    stream = [pruned.body.layer1[0].conv2, pruned.body.layer2[0].conv2, pruned.body.layer3[0].conv2]
    assert [one.out_channels for one in stream] == [16, 32, 64]


def test_float_and_int8_files_keep_their_promises(network, probe, images, tmp_path):
    graph = to_graph(network, probe.example, OnnxExporter())
    save(graph, tmp_path / "float.onnx")
    check_float(load_onnx(tmp_path / "float.onnx"), network_reference(network), images)
    step = StaticInt8()
    calibration = lambda: iter([images[:500].float().numpy() / 255])  # noqa: E731
    packed, _ = step.pack(graph, {}, GraphProbe(calibration, lambda graph: 0.0, network))
    save(packed, tmp_path / "int8.onnx")
    assert [one.value for one in step.check(packed)] == [1.0, 1.0]
    assert (
        check_quantized(
            load_onnx(tmp_path / "int8.onnx"), network_reference(network), images[500:]
        )[0].value
        > 0.97
    )
    sizes = [(tmp_path / name).stat().st_size for name in ("int8.onnx", "float.onnx")]
    assert sizes[0] < 0.33 * sizes[1]
    outputs = [load_onnx(tmp_path / n)(images[500:]) for n in ("int8.onnx", "float.onnx")]
    assert agreement(*outputs).low > 0.95
