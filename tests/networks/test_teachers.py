"""Teachers: networks, graphs and stored logits give the same; each has an input size of its own."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch
from end_to_end import TINY
from torch import nn

from augcompress.batch import Batch, ImageInput
from augcompress.errors import UsageError
from augcompress.exporters import OnnxExporter
from augcompress.graphs import to_graph
from augcompress.models import ModelFacts, SmallCNN, build_classifier
from augcompress.networks import Network, cached, open_teacher, save_network
from augcompress.networks.teachers import resized
from augcompress.running import Context
from augcompress.spec import validate
from augcompress.storage import RunDir

TEN = tuple(str(digit) for digit in range(10))
MODEL = SmallCNN(widths=[4, 8])
CLEAN = {"teacher_view": "clean", "augment": [], "cache_teachers": True}
HINT = [{"kind": "hint", "student_layer": "blocks.0", "teacher_layer": "blocks.0"}]


def context_of(folder: Path, **data) -> Context:
    recipe = {**copy.deepcopy(TINY), "data": {"kind": "digits", **data}}
    return Context(validate(recipe), RunDir(folder))


def network_for(size: tuple[int, int] = (8, 8), seed: int = 0) -> Network:
    """A network whose batch norms have seen images."""
    torch.manual_seed(seed)
    facts = ModelFacts(10, ImageInput(1, size))
    module = build_classifier(MODEL, facts, [0.3], [0.4]).train()
    module(torch.rand(64, 1, *size))
    return Network(module.eval(), MODEL, facts, TEN, {})


def saved(network: Network, folder: Path, exporter: OnnxExporter | None = None) -> Path:
    """A checkpoint, or the exported file."""
    if exporter is None:
        return save_network(network, folder)
    folder.mkdir(parents=True, exist_ok=True)
    example = torch.rand(2, 1, *network.facts.input.size)
    (folder / "model.onnx").write_bytes(
        to_graph(network.module, example, exporter).SerializeToString()
    )
    return folder / "model.onnx"


def images(count: int = 6, size: int = 8) -> Batch:
    torch.manual_seed(1)
    return Batch(torch.rand(count, 1, size, size), None, torch.arange(count))


def test_images_for_a_smaller_teacher_are_filtered_before_they_are_sampled():
    stripes = torch.zeros(1, 1, 8, 8)
    stripes[..., ::4] = 1  # columns that sampling alone would miss
    assert torch.equal(resized(stripes, (8, 8)), stripes)
    assert resized(stripes, (8, 2)).shape == (1, 1, 8, 2)
    assert resized(stripes, (8, 2)).mean() == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("output", ["logits", "probabilities"])
@pytest.mark.parametrize("size", [(8, 8), (12, 12)])
def test_a_graph_teaches_what_its_network_teaches(output, size, tmp_path):
    context, network = context_of(tmp_path), network_for(size)
    graph = saved(network, tmp_path / "onnx", OnnxExporter(output=output))
    checkpoint = saved(network, tmp_path / "checkpoint")
    left, right = (open_teacher(context, path, None, "distill") for path in (graph, checkpoint))
    ours, theirs = left(images())[0], right(images())[0]
    if output == "probabilities":  # logits but for a constant
        ours, theirs = ours.log_softmax(1), theirs.log_softmax(1)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_a_network_for_larger_images_is_shown_larger_ones(tmp_path):
    path = saved(network_for((12, 12)), tmp_path / "checkpoint")
    teacher = open_teacher(context_of(tmp_path), path, None, "distill")
    shown = []
    teacher.networks[0].register_forward_pre_hook(lambda _, given: shown.append(given[0]))
    teacher(images(size=8)), teacher(images(size=4))
    wanted = nn.functional.interpolate(
        images().images(), size=(12, 12), mode="bilinear", antialias=True
    )
    torch.testing.assert_close(shown[0], wanted)
    assert shown[1].shape[2:] == (12, 12)


@pytest.mark.parametrize("data", [{"subset": 60}, {"classes": ["8", "1", "3"], "subset": 60}])
def test_a_cache_knows_the_images_by_their_place_in_the_source(data, tmp_path):
    context = context_of(tmp_path, **data)
    path = saved(network_for(), tmp_path / "checkpoint")
    teacher = open_teacher(context, path, None, "distill")
    stored = cached(context, teacher)
    asked = []
    teacher.networks[0].register_forward_pre_hook(lambda *_: asked.append(1))
    batch = next(context.training_batches(32).epoch(3)).scaled()
    assert int(batch.index.max()) >= len(context.data.train)  # places in the source
    found = stored(batch)[0]
    assert not asked
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, teacher(batch)[0], atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"teachers": [{"file": "big.onnx"}], "objectives": HINT},
            "objectives.0: hint reads layers of the teacher, and an ONNX file or a cache gives",
        ),
        (
            {"teachers": [{"file": "big.onnx"}], "objectives": [{"kind": "attention"}]},
            "objectives.0: attention reads layers of the teacher, and an ONNX file",
        ),
        (CLEAN | {"objectives": HINT}, "objectives.0: hint reads layers of the teacher"),
        (CLEAN | {"teacher_view": "same"}, "cache_teachers: needs teacher_view: clean"),
        (CLEAN | {"augment": [{"kind": "mixup"}]}, "cache_teachers: images are mixed"),
        (
            CLEAN | {"sampling": {"resolution": [{"until": 0.5, "size": 0.5}]}},
            "cache_teachers: resolution changes",
        ),
        ({"teachers": [{}]}, "a teacher has a stage or a file; give one of the two"),
        (
            {"teachers": [{"stage": "train_teacher", "file": "big.onnx"}]},
            "a teacher has a stage or a file; give one of the two",
        ),
    ],
)
def test_teachers_that_cannot_be_are_refused_with_the_recipe(change, message):
    recipe = copy.deepcopy(TINY)
    recipe["distill"] |= change
    with pytest.raises(UsageError, match=re.escape(message)):
        validate(recipe)
