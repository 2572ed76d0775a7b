"""What must hold of every network compression."""

import copy
import json
from typing import get_args

import pytest
import torch
from digit_networks import fresh, probe_of, train
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file

from augcompress.compressions import Channels, Compression, Magnitude
from augcompress.errors import LimitError
from augcompress.exporters import OnnxExporter
from augcompress.graphs import to_graph

STEPS = {
    "magnitude": Magnitude(sparsity=0.7),
    "magnitude, layer": Magnitude(sparsity=0.7, scope="layer"),
    "channels l1": Channels(macs=0.6, importance="l1"),
    "channels l2": Channels(macs=0.6),
    "channels bn_scale": Channels(macs=0.6, importance="bn_scale"),
    "channels taylor": Channels(macs=0.6, importance="taylor"),
    "channels random": Channels(macs=0.6, importance="random"),
    "channels, layer": Channels(macs=0.6, scope="layer"),
}


@pytest.fixture
def probe(network):
    return probe_of(network)


@pytest.fixture(params=STEPS, ids=list(STEPS))
def step(request):
    return STEPS[request.param]


def outputs(network, images):
    with torch.no_grad():
        return network.eval()(images)


def prune(step, network, probe, round=0):
    return step.prepare(network, probe, round=round)


def reopened(step, network, history, option, folder):
    save_file(
        {k: v.contiguous() for k, v in network.state_dict().items()}, folder / "m.safetensors"
    )
    (folder / "model.json").write_text(json.dumps(history))
    again = step.replay(fresh(option), json.loads((folder / "model.json").read_text()))
    again.load_state_dict(load_file(folder / "m.safetensors"))
    return again


def test_every_kind_of_the_union_is_tested():
    members = get_args(get_args(Compression)[0])
    kinds = {member.model_fields["kind"].default for member in members}
    assert kinds - {"plugin", "static_int8"} == {step.kind for step in STEPS.values()}


def test_settings_survive_json(step):
    text = step.model_dump_json()
    assert TypeAdapter(Compression).validate_json(text) == step


def test_convert_keeps_the_outputs(step, network, probe, images):
    prepared = prune(step, network, probe)
    train(prepared.network, after_step=prepared.after_step)
    before = outputs(prepared.network, images)
    converted, _ = prepared.convert()
    assert torch.equal(outputs(converted, images), before)


def test_the_given_network_is_not_modified(step, network, probe):
    before = copy.deepcopy(network.state_dict())
    modes = [layer.training for layer in network.modules()]
    prune(step, network, probe)
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in before)
    assert [layer.training for layer in network.modules()] == modes


def test_the_same_call_prunes_the_same(step, network, probe):
    first, second = (prune(step, network, probe).network.state_dict() for _ in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_survives_save_and_load_without_pickle(step, network, probe, option, images, tmp_path):
    prepared = prune(step, network, probe)
    train(prepared.network, after_step=prepared.after_step)
    converted, history = prepared.convert()
    again = reopened(step, converted, history, option, tmp_path)
    assert torch.equal(outputs(again, images), outputs(converted, images))
    assert step.check(again, history, probe)[0].value > 0
    assert step.check(again, history)[0] == step.check(again, history, probe)[0]


def test_the_promise_can_be_broken(step, network, probe):
    _, history = prune(step, network, probe).convert()
    with pytest.raises(LimitError, match="promised"):
        step.check(network, history, probe)


def test_the_promise_can_be_broken_in_the_file(step, network, probe, images):
    converted, history = prune(step, network, probe).convert()
    kept = to_graph(converted, images[:2], OnnxExporter())
    assert step.check_file(kept, history) == []
    with pytest.raises(LimitError, match="promised"):
        step.check_file(to_graph(network, images[:2], OnnxExporter()), history)


def test_pruning_by_importance_keeps_accuracy_after_fine_tuning(step, network, probe):
    prepared = prune(step, network, probe)
    train(prepared.network, epochs=2, after_step=prepared.after_step)
    converted, _ = prepared.convert()
    assert probe.score(converted) > probe.score(network) - 0.1


def test_rounds_resumed_from_an_artefact_equal_uninterrupted_ones(
    step, network, probe, option, images, tmp_path
):
    step = step.model_copy(update={"rounds": 2})
    prepared = prune(step, network, probe, 0)
    first, history = train_round(prepared)
    straight, straight_history = train_round(prune(step, first, probe, 1))

    again = reopened(step, first, history, option, tmp_path)
    resumed, resumed_history = train_round(prune(step, again, probe, 1))
    assert resumed_history == straight_history
    assert torch.equal(outputs(resumed, images), outputs(straight, images))
    assert step.check(resumed, resumed_history, probe)


def train_round(prepared):
    train(prepared.network, after_step=prepared.after_step)
    return prepared.convert()
