"""Networks cut to some of their classes: which rows stay, what is rebuilt, what is refused."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from end_to_end import TINY
from given_model import Given
from torch import nn

from augcompress.batch import ImageInput
from augcompress.compressions import Channels, Magnitude, Probe
from augcompress.compressions.base import LayerSelection
from augcompress.errors import AugcompressError
from augcompress.models import CifarResNet, ModelFacts, SmallCNN, TorchvisionModel, build_classifier
from augcompress.networks.checkpoint import Applied, Network, load_network, save_network
from augcompress.networks.class_subset import cut_history, rows_of
from augcompress.networks.opening import narrowed, new_network, open_network
from augcompress.running.context import Context
from augcompress.spec import validate
from augcompress.storage.run_directory import RunDir
from augcompress.system.reporter import SilentReporter

TEN = tuple(str(digit) for digit in range(10))
FEW = ("8", "1", "3")
SMALL = {"kind": "small_cnn", "widths": [8, 16]}


@dataclass
class Kept(SilentReporter):
    """Remembers what it is told."""

    messages: list[str] = field(default_factory=list)

    def message(self, text: str) -> None:
        self.messages.append(text)


@pytest.fixture
def context(tmp_path) -> Context:
    """A recipe for three of the ten digits."""
    recipe = {**copy.deepcopy(TINY), "data": {"kind": "digits", "classes": list(FEW)}}
    return Context(validate(recipe), RunDir(tmp_path / "run"), reporter=Kept())


def network_for(model, classes=TEN, channels=1, size=(8, 8), seed=0) -> Network:
    torch.manual_seed(seed)
    facts = ModelFacts(len(classes), ImageInput(channels, size))
    module = build_classifier(model, facts, [0.4] * channels, [0.3] * channels).eval()
    return Network(module, model, facts, tuple(classes), {})


def saved(network: Network, folder: Path) -> Path:
    return save_network(network, folder)


def assert_answers_for(few: nn.Module, whole: nn.Module, rows: list[int], images) -> None:
    """The weights are the same to the bit; products of fewer rows are summed in another order."""
    torch.testing.assert_close(few(images), whole(images)[:, rows], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "model, channels, size",
    [
        (SmallCNN(widths=(8, 16)), 1, 8),
        (CifarResNet(depth=8), 1, 8),
        (TorchvisionModel(name="squeezenet1_1"), 3, 32),
        (TorchvisionModel(name="mobilenet_v3_small"), 3, 32),
    ],
    ids=["small_cnn", "cifar_resnet", "squeezenet", "mobilenet"],
)
def test_cut_network_answers_with_the_chosen_columns_and_comes_back(
    model, channels, size, tmp_path
):
    whole = network_for(model, channels=channels, size=(size, size))
    few = narrowed(whole, FEW, "test")
    assert (few.classes, few.facts.classes) == (FEW, 3)
    images = torch.rand(4, channels, size, size)
    assert_answers_for(few.module, whole.module, [8, 1, 3], images)
    again = load_network(saved(few, tmp_path))
    assert again.classes == FEW
    assert torch.equal(again.module(images), few.module(images))


def test_cut_head_has_the_rows_bit_for_bit():
    whole = network_for(SmallCNN())
    few = narrowed(whole, FEW, "test").module.body.linear
    linear = whole.module.body.linear
    assert torch.equal(few.weight, linear.weight[[8, 1, 3]])
    assert torch.equal(few.bias, linear.bias[[8, 1, 3]])


@pytest.fixture
def probe() -> Probe:
    example = torch.rand(2, 1, 8, 8)

    def count(network):
        return float(sum(parameter.numel() for parameter in network.parameters()))

    return Probe(
        example=example,
        batches=lambda: iter(()),
        calibration=lambda: iter(()),
        loss=lambda *_: torch.zeros(()),
        score=lambda _: 0.0,
        cost=lambda network, name: count(network),
        original=lambda name: count(network_for(SmallCNN(widths=(16, 32))).module),
    )


def compressed(network: Network, step, probe: Probe) -> Network:
    module, history = step.prepare(network.module, probe).convert()
    return network.changed(module.eval(), Applied(step, history))


def test_pruned_network_is_cut_and_its_promise_stands(probe, tmp_path):
    whole = compressed(network_for(SmallCNN(widths=(16, 32))), Channels(macs=0.6), probe)
    few = narrowed(whole, FEW, "test")
    sizes = few.compressions[0].history["sizes"]["body.linear"]
    assert sizes["out_features"] == 3
    assert whole.compressions[0].history["sizes"]["body.linear"]["out_features"] == 10
    again = load_network(saved(few, tmp_path))
    images = torch.rand(4, 1, 8, 8)
    assert_answers_for(again.module, whole.module, [8, 1, 3], images)
    for applied in again.standing():
        assert applied.compression.check(again.module, applied.history, probe)


def test_head_with_zeros_is_not_cut_and_another_one_is(probe):
    sparse = compressed(network_for(SmallCNN()), Magnitude(sparsity=0.5), probe)
    with pytest.raises(
        AugcompressError, match=r"here: magnitude has changed the head body\.linear"
    ):
        narrowed(sparse, FEW, "here")
    step = Magnitude(sparsity=0.5, layers=LayerSelection(exclude=("linear",)))
    spared = compressed(network_for(SmallCNN()), step, probe)
    assert narrowed(spared, FEW, "here").module.body.linear.out_features == 3


@pytest.mark.parametrize(
    "history",
    [
        {"ranks": {"body.linear": 4}},
        {"layers": ["body"]},
        {"sizes": {"body.linear": {"out_features": 10}}, "removed": {"body.linear": [1]}},
    ],
)
def test_whatever_else_names_the_head_is_refused(history):
    with pytest.raises(AugcompressError, match="which cannot be cut to 3 classes any more"):
        cut_history("low_rank", history, ("body.linear",), 3, "here")


def test_rows_are_asked_for_where_there_is_something_to_cut():
    assert rows_of(TEN, FEW) == [8, 1, 3]
    assert rows_of(("a", "b"), ("b", "a")) == [1, 0]
    assert rows_of(FEW, FEW) is None
    assert rows_of(("a", "b"), ("b", "c")) is None
    assert rows_of(None, FEW) is None


def test_own_checkpoint_is_cut_by_name_and_says_so(context, tmp_path):
    whole = network_for(SmallCNN(), classes=tuple(reversed(TEN)))
    found = open_network(context, saved(whole, tmp_path), None, "distill.teacher")
    images = torch.rand(4, 1, 8, 8)
    assert found.classes == FEW
    assert_answers_for(found.module, whole.module, [1, 8, 6], images)
    expected = "distill.teacher: model.safetensors knows 10 classes; its head is cut to 8, 1, 3"
    assert expected in context.reporter.messages


def test_checkpoint_without_the_classes_is_refused(context, tmp_path):
    whole = network_for(SmallCNN(), classes=("8", "1", "cat", "dog"))
    message = r"knows 4 classes \(8, 1, cat, dog …\) and the data has 3 \(8, 1, 3 …\)"
    with pytest.raises(AugcompressError, match=message):
        open_network(context, saved(whole, tmp_path), None, "distill.teacher")


def test_foreign_weights_for_all_classes_are_cut_by_number(context, tmp_path):
    model = SmallCNN(widths=(8, 16))
    whole = network_for(model)
    torch.save(whole.module.body.state_dict(), tmp_path / "foreign.pth")
    found = open_network(context, tmp_path / "foreign.pth", model, "distill.teacher")
    assert torch.equal(found.module.body.linear.weight, whole.module.body.linear.weight[[8, 1, 3]])


def test_foreign_weights_for_another_number_of_classes_are_refused(context, tmp_path):
    model = SmallCNN(widths=(8, 16))
    torch.save(network_for(model, TEN[:7]).module.state_dict(), tmp_path / "foreign.pth")
    with pytest.raises(AugcompressError, match=r"linear.weight is \(7, 16\), not \(3, 16\)"):
        open_network(context, tmp_path / "foreign.pth", model, "distill.teacher")


def test_weights_to_train_on_keep_known_rows_and_else_start_with_a_fresh_head(context, tmp_path):
    model = SmallCNN(widths=(8, 16))
    whole = network_for(model)
    rows = whole.module.body.linear.weight[[8, 1, 3]]
    own = new_network(context, model, str(saved(whole, tmp_path)), "distill")
    assert torch.equal(own.module.body.linear.weight, rows)
    torch.save(whole.module.body.state_dict(), tmp_path / "foreign.pth")
    foreign = new_network(context, model, str(tmp_path / "foreign.pth"), "distill")
    assert not torch.equal(foreign.module.body.linear.weight, rows)
    assert foreign.module.body.linear.weight.shape == rows.shape
    assert torch.equal(
        foreign.module.body.blocks[0].conv.weight, whole.module.body.blocks[0].conv.weight
    )
    assert "distill: the head has another class count" in context.reporter.messages[-2]


def test_weights_taken_as_they_are_must_know_the_classes(context, tmp_path):
    other = saved(network_for(SmallCNN(), ("a", "b", "c")), tmp_path)
    with pytest.raises(AugcompressError, match=r"train_teacher\.weights: .* knows 3 classes"):
        new_network(context, SmallCNN(), str(other), "train_teacher", "strict")


class TwoHeads(nn.Module):
    """Its logits are the mean of two layers."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(64, classes), nn.Linear(64, classes)

    def forward(self, images):
        flat = images.flatten(1)
        return (self.one(flat) + self.two(flat)) / 2


class Shared(nn.Module):
    """Its last layer is found again in the features."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.spare = nn.Linear(64, 5)
        self.last = nn.Linear(64, classes)
        self.body = nn.Linear(64, 64)

    def forward(self, images):
        flat = images.flatten(1)
        known = self.last(flat).softmax(1) @ self.last.weight
        return self.last(self.body(known))


class Narrowing(TwoHeads):
    """A layer below the head has as many outputs as there are classes."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.two = nn.Linear(classes, classes)

    def forward(self, images):
        return self.two(self.one(images.flatten(1)))


def test_network_with_two_heads_is_cut():
    whole = network_for(Given(TwoHeads))
    images = torch.rand(4, 1, 8, 8)
    few = narrowed(whole, FEW, "test")
    assert_answers_for(few.module, whole.module, [8, 1, 3], images)


@pytest.mark.parametrize("kind, last", [(Narrowing, "two"), (Shared, "last")])
def test_network_whose_features_depend_on_the_classes_is_refused(kind, last):
    message = f"cannot be cut from 10 classes to 3, as not only its last layer body.{last} depends"
    with pytest.raises(AugcompressError, match=message):
        narrowed(network_for(Given(kind)), FEW, "here")
