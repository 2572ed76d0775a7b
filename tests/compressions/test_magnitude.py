import pytest
import torch
from digit_networks import train
from torch import nn

from augcompress.compressions import Magnitude
from augcompress.compressions.base import LayerSelection
from augcompress.compressions.magnitude import cubic_sparsity, smallest
from augcompress.errors import AugcompressError


def zero_share(weight):
    return float((weight == 0).float().mean())


def test_cubic_schedule_by_hand():
    # 0.8 * (1 - (1 - t/4)^3): 1 - 27/64, 1 - 1/8, 1 - 1/64, 1
    expected = [0.8 * 37 / 64, 0.8 * 7 / 8, 0.8 * 63 / 64, 0.8]
    assert [cubic_sparsity(0.8, round, 4) for round in range(4)] == pytest.approx(expected)


def test_smallest_compares_across_tensors_and_counts_exactly():
    masks = smallest([torch.tensor([[0.1, -3.0]]), torch.tensor([2.0, -0.2])], 0.5)
    assert [mask.tolist() for mask in masks] == [[[True, False]], [False, True]]


def test_smallest_takes_the_first_of_equals():
    assert smallest([torch.ones(5)], 0.4)[0].tolist() == [True, True, False, False, False]


def test_scope_layer_gives_every_layer_its_share(network, probe):
    step = Magnitude(sparsity=0.5, scope="layer")
    pruned, history = step.prepare(network, probe).convert()
    shares = [zero_share(pruned.get_parameter(f"{name}.weight")) for name in history["layers"]]
    assert shares == pytest.approx([0.5] * len(shares), abs=0.01)


def test_scope_global_reaches_the_share_over_all(network, probe):
    pruned, history = Magnitude(sparsity=0.6).prepare(network, probe).convert()
    flat = torch.cat([pruned.get_parameter(f"{n}.weight").flatten() for n in history["layers"]])
    assert int((flat == 0).sum()) == int(0.6 * flat.numel() + 0.5)


def test_excluded_layers_keep_all_weights(network, probe):
    step = Magnitude(sparsity=0.9, layers=LayerSelection(exclude=("linear", "layer1.*")))
    pruned, history = step.prepare(network, probe).convert()
    assert "body.linear" not in history["layers"]
    assert zero_share(pruned.body.linear.weight) == 0
    assert zero_share(pruned.body.layer1[0].conv1.weight) == 0
    assert zero_share(pruned.body.layer2[0].conv1.weight) > 0.5


def test_types_choose_layers(network, probe):
    step = Magnitude(layers=LayerSelection(include=("Linear",)))
    _, history = step.prepare(network, probe).convert()
    assert history["layers"] == {"body.linear": 640}


def test_a_pattern_that_matches_nothing_is_an_error(network, probe):
    step = Magnitude(layers=LayerSelection(exclude=("layer9.*",)))
    with pytest.raises(AugcompressError, match=r"layer9\.\* matches no layer; names are like body"):
        step.prepare(network, probe)


def test_zeros_stay_while_training_and_while_a_later_stage_trains(network, probe):
    step = Magnitude(sparsity=0.8)
    prepared = step.prepare(network, probe)
    train(prepared.network, after_step=prepared.after_step)
    pruned, history = prepared.convert()
    zeros = {name: pruned.get_parameter(f"{name}.weight") == 0 for name in history["layers"]}
    train(pruned, after_step=step.mask_hooks(pruned, history).after_step)
    assert all((pruned.get_parameter(f"{n}.weight")[zero] == 0).all() for n, zero in zeros.items())
    assert step.check(pruned, history)[0].value == pytest.approx(0.8, abs=1e-3)


def test_a_history_of_another_network_is_an_error():
    with pytest.raises(AugcompressError, match=r"has no layer body\.linear"):
        Magnitude().replay(nn.Linear(2, 2), {"layers": ["body.linear"]})
