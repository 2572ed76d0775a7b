"""What the contracts promise to compressions and objectives that are still to come."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from augcompress import run
from augcompress.batch import Batch, ImageInput
from augcompress.compressions.folding import fold_norms, refold_norms
from augcompress.errors import AugcompressError, LimitError
from augcompress.exporters import OnnxExporter
from augcompress.graphs import to_graph
from augcompress.inference import load_onnx
from augcompress.models import CifarResNet, ModelFacts, SmallCNN
from augcompress.modules.points import Point
from augcompress.spec import validate
from augcompress.training import Engine, Learner, Score, Sgd, Training, fit
from augcompress.training.processes import Processes

FACTS = ModelFacts(10, ImageInput(1, (8, 8)))


class Marked(nn.Module):
    """A point at the input, behind a norm that the exporter folds, and at the output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.linear = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(144, 3)
        self.first, self.middle, self.last = Point("first"), Point("body.middle"), Point("last")

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.middle(torch.relu(self.norm(self.conv(self.first(images)))))
        return self.last(self.linear(hidden.flatten(1)))


def test_named_points_are_tensors_of_the_file() -> None:
    network, images = Marked().eval(), torch.rand(5, 1, 8, 8)
    graph = to_graph(network, images[:2], OnnxExporter())
    made = {name: node.op_type for node in graph.graph.node for name in node.output}
    assert made["first"] == "Identity"  # the input keeps its own name
    assert made["body.middle"] == "Relu"
    assert made["last"] == "Gemm"
    assert [one.domain for one in graph.opset_import] == [""]
    got = load_onnx(graph.SerializeToString())(images)
    np.testing.assert_allclose(got, network(images).detach().numpy(), atol=1e-5)


def test_two_points_of_one_name_are_refused() -> None:
    network = Marked().eval()
    network.last.name = "body.middle"
    with pytest.raises(AugcompressError, match=r"two tensors are called body\.middle"):
        to_graph(network, torch.rand(2, 1, 8, 8), OnnxExporter())


def warmed(network: nn.Module) -> nn.Module:
    """With running statistics of its own."""
    network.train()(torch.rand(64, 1, 8, 8))
    return network.eval()


@pytest.mark.parametrize("model", [SmallCNN(), CifarResNet(depth=8)])
def test_folded_norms_are_gone_and_can_be_replayed(model) -> None:
    images = torch.rand(4, 1, 8, 8)
    network = warmed(model.build(FACTS))
    with torch.no_grad():
        before = network(images)
        pairs = json.loads(json.dumps(fold_norms(network, images)))
        assert not any(isinstance(one, nn.BatchNorm2d) for one in network.modules())
        torch.testing.assert_close(network(images), before, atol=1e-4, rtol=1e-4)
        fresh = model.build(FACTS)
        refold_norms(fresh, pairs)
        fresh.load_state_dict(network.state_dict())
        torch.testing.assert_close(fresh.eval()(images), network(images))


def test_folding_refuses_a_convolution_that_others_read() -> None:
    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)

        def forward(self, images: Tensor) -> Tensor:
            hidden = self.conv(images)
            return (self.norm(hidden) + hidden).mean((2, 3))

    with pytest.raises(AugcompressError, match="folding"):
        fold_norms(warmed(Forked()), torch.rand(2, 1, 8, 8))


PLUGIN = """
import copy
from typing import Literal
from augcompress.compressions import GraphCompression, NetworkCompression, Prepared
from augcompress.errors import LimitError
from augcompress.modules.points import Point
from torch import nn

class Clip(nn.Module):
    def forward(self, tensor):
        return tensor.clamp(0, 2)

class Range(NetworkCompression):
    kind: Literal["range"] = "range"
    broken: bool = False
    def prepare(self, network, probe, *, round=0):
        return Prepared(self.replay(copy.deepcopy(network), {}))
    def replay(self, network, history):
        network.body.blocks[0].relu = Clip()
        return network
    def check(self, network, history, probe=None):
        return []
    def notes(self, network, history):
        return {"after.first": (0.0, 2.0)}
    def marked(self, network, history):
        network.body.blocks[0].relu = nn.Sequential(nn.ReLU(), Point("after.first"))
        return network
    def check_file(self, graph, history):
        if self.broken:
            raise LimitError("range: broken")
        return []

class Use(GraphCompression):
    kind: Literal["use"] = "use"
    def pack(self, graph, notes, probe):
        names = {name for node in graph.graph.node for name in node.output}
        assert set(notes["range"]) <= names, names
        assert "Clip" not in {node.op_type for node in graph.graph.node}
        return graph, {"points": len(notes["range"])}
    def check(self, graph):
        return []
"""


def recipe(tmp_path: Path, **settings) -> dict:
    (tmp_path / "plugin_range.py").write_text(PLUGIN)
    training = {"epochs": 1, "batch_size": 64, "precision": "fp32"}
    step = {"kind": "plugin", "target": f"{tmp_path}/plugin_range.py:Range", "options": settings}
    return {
        "version": 1,
        "name": "contracts",
        "data": {"kind": "digits", "subset": 320},
        "train_teacher": {"model": {"kind": "small_cnn"}, "training": training},
        "prune": {"steps": [step], "training": training},
        "export": {"targets": [{"kind": "onnx", "agreement": 0.1}]},
    }


def test_notes_and_points_reach_the_graph_step(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AUGCOMPRESS_ALLOW_PLUGINS", "1")
    raw = recipe(tmp_path)
    use = {"kind": "plugin", "target": f"{tmp_path}/plugin_range.py:Use"}
    raw |= {"quantize": {"steps": [use], "max_drop": None}, "pipeline": None}
    raw["pipeline"] = ["train_teacher", "prune", "quantize"]
    result = run(validate(raw), tmp_path / "run")
    assert result.stages[-1].notes == ["use: points 1"]


def test_a_promise_is_asserted_on_the_float_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AUGCOMPRESS_ALLOW_PLUGINS", "1")
    raw = recipe(tmp_path, broken=True) | {"pipeline": ["train_teacher", "prune", "export"]}
    with pytest.raises(LimitError, match="range: broken"):
        run(validate(raw), tmp_path / "run")


class Remembering(Learner):
    """Keeps a row for every sample, and learns from the mean over all rows."""

    def __init__(self, gather) -> None:
        super().__init__()
        self.linear, self.gather = nn.Linear(4, 3), gather
        self.register_buffer("bank", torch.zeros(32, 3))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        rows = self.linear(batch.images())
        everyone, index = self.gather(rows), self.gather(batch.index)
        self.bank[index] = everyone.detach()
        spread = (rows - everyone.mean(0)).square().sum(1)  # a mean over rows, like any objective
        return {
            "spread": (spread - 1).square().mean(),
            "bank": (rows - self.bank.mean(0)).abs().mean(),
        }

    def score(self) -> Score:
        return Score(float(self.bank.abs().sum()), name="sum")


class Shared:
    """Eight samples a step, shared out like `Batches` does."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes

    def __len__(self) -> int:
        return 4

    def epoch(self, epoch: int, start_step: int = 0):
        images = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
        for step in range(start_step, len(self)):
            index = torch.arange(8 * step, 8 * step + 8)
            index = index[self.processes.rank :: self.processes.world]
            yield Batch(images[index], None, index)


def train_together(rank: int, world: int, folder: str, state: str | None) -> None:
    torch.set_num_threads(1)
    if world > 1:
        place = f"file://{folder}/meeting"
        dist.init_process_group("gloo", init_method=place, rank=rank, world_size=world)
    processes = Processes(rank, world)
    torch.manual_seed(rank)
    learner = Remembering(processes.gather)
    training = Training(epochs=3, batch_size=8, optimizer=Sgd(lr=0.05), precision="fp32")
    place = None if state is None else Path(state)
    engine = Engine(torch.device("cpu"), processes=processes, state=place)
    fit(learner, Shared(processes), training, engine)
    torch.save(learner.state_dict(), f"{folder}/{world}-{rank}.pt")
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


@pytest.mark.skipif(sys.platform == "win32", reason="gloo's file meeting place needs POSIX")
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    train_together(0, 1, str(tmp_path), None)
    torch.multiprocessing.spawn(train_together, (2, str(tmp_path), str(state)), nprocs=2)
    one, left, right = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    assert list(one) == list(left)  # no wrapper's prefix
    for name, value in one.items():
        torch.testing.assert_close(left[name], value, atol=1e-5, rtol=1e-4)
        assert torch.equal(left[name], right[name])
    kept = torch.load(state / "fit.pt")
    assert len(kept["random"]["cpu"]) == 2  # a random state for each process
