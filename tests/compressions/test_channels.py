import copy

import pytest
import torch
from digit_networks import digits, fresh, probe_of
from torch import nn

from augcompress.compressions import Channels
from augcompress.compressions.base import LayerSelection
from augcompress.compressions.channels import blocks_of, together
from augcompress.compressions.dependencies import (
    ROOTS,
    dependency_graph,
    mask,
    prunable,
    remove,
    sizes_of,
    verify_removal,
)
from augcompress.errors import AugcompressError, LimitError


def prune(step, network, probe):
    return step.prepare(network, probe_of(network))


def layers_of(network):
    return {one for one in network.modules() if isinstance(one, ROOTS)}


def random_running_statistics(network):
    """What a real checkpoint has: batch norms with shifts that hide no error."""
    generator = torch.Generator().manual_seed(1)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight.data, layer.bias.data, layer.running_mean):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.2)
    return network.eval()


def test_blocks_go_from_the_least_important_and_leave_multiples():
    importance = torch.tensor([5.0, 1, 4, 2, 3, 9, 8, 7, 6, 10])
    blocks = blocks_of("a", importance, 4, "global")
    assert [block.channels for block in blocks] == [(1, 3), (0, 2, 4, 8)]
    assert [block.score for block in blocks] == [1.5, 4.5]
    assert [b.score for b in blocks_of("a", importance, 4, "layer")] == [0.2, 0.6]
    assert together(blocks) == {"a": [0, 1, 2, 3, 4, 8]}


def test_layers_not_wider_than_the_rounding_keep_their_channels():
    assert blocks_of("a", torch.ones(8), 8, "global") == []


@pytest.mark.parametrize("share", [0.8, 0.55])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_target_is_reached_and_widths_are_rounded(network, probe, share, scope):
    pruned, history = prune(Channels(macs=share, scope=scope), network, probe).convert()
    assert history["macs"] == probe.cost(pruned, "macs") <= share * probe.cost(network, "macs")
    changed = [sizes.get("out_channels", 8) for sizes in history["sizes"].values()]
    assert changed
    assert all(width % 8 == 0 for width in changed)


def test_rounding_to_one_comes_close_to_the_target(network, probe):
    _, history = prune(Channels(macs=0.7, round_to=1), network, probe).convert()
    assert 0.68 < history["macs"] / history["original_macs"] <= 0.7


def test_inputs_and_outputs_keep_their_width(network, probe):
    pruned, _ = prune(Channels(macs=0.5), network, probe).convert()
    assert pruned.body.conv1.in_channels == 1
    assert pruned.body.linear.out_features == 10


def test_option_a_loses_hidden_channels_of_blocks_only():
    network = random_running_statistics(fresh("A", depth=20))
    groups = prunable(dependency_graph(network, digits()[0][:2]), layers_of(network))
    expected = {f"body.layer{i}.{j}.conv1" for i in (1, 2, 3) for j in range(3)}
    assert set(groups) == expected


def test_option_a_resnet20_removing_equals_masking(probe):
    network = random_running_statistics(fresh("A", depth=20))
    pruned, history = prune(Channels(macs=0.6), network, probe).convert()
    masked = mask(network, probe.example, history["removed"])
    with torch.no_grad():
        whole, want, got = (one(probe.example) for one in (network, masked, pruned))
    assert float((want - whole).abs().max()) > 1e-3
    assert float((want - got).abs().max()) < 1e-5


def test_option_b_also_loses_channels_of_the_residual_stream():
    network = fresh("B")
    groups = prunable(dependency_graph(network, digits()[0][:2]), layers_of(network))
    assert "body.conv1" in groups


def test_the_check_of_removal_against_masking_can_fail(network, probe):
    gone = {"body.layer1.0.conv1": [0, 1]}
    network = random_running_statistics(network)
    wrong = remove(network, probe.example, {"body.layer1.0.conv1": [2, 3]})
    with pytest.raises(AugcompressError, match="is not the same as masking"):
        verify_removal(network, wrong, probe.example, gone)


class MeanAfter(nn.Module):
    """A sigmoid is not zero where its input is: masking and removing differ."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3)
        self.second = nn.Conv2d(16, 10, 3)

    def forward(self, images):
        return self.second(self.first(images).sigmoid()).mean(dim=(2, 3))


def test_a_network_where_removing_is_not_masking_is_refused(probe):
    torch.manual_seed(0)
    with pytest.raises(AugcompressError, match=r"first is not the same as masking"):
        prune(Channels(macs=0.6), MeanAfter(), probe)


def test_an_unreachable_target_says_what_is_reachable(trained, probe):
    with pytest.raises(
        AugcompressError, match=r"macs 0\.05 cannot be reached, 0\.\d+ is the least"
    ):
        prune(Channels(macs=0.05), trained["A"], probe)


def test_excluded_layers_keep_their_channels(network, probe):
    step = Channels(macs=0.8, layers=LayerSelection(exclude=("layer3.*",)))
    pruned, history = prune(step, network, probe).convert()
    assert not any("layer3.0.conv1" in root for root in history["removed"])
    assert pruned.body.layer3[0].conv1.out_channels == 64


def test_bn_scale_needs_a_batch_norm(probe):
    network = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10))
    with pytest.raises(AugcompressError, match="0 has no batch norm"):
        prune(Channels(importance="bn_scale"), network, probe)


def test_a_dense_layer_after_flattening_loses_all_positions_of_a_channel(probe):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10))
    pruned, _ = prune(Channels(macs=0.5), network, probe).convert()
    assert (pruned[0].out_channels, pruned[3].in_features) == (8, 8 * 36)


def test_depthwise_convolutions_follow_their_input(probe):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 32, 1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 32, 3, groups=32), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    pruned, history = prune(Channels(macs=0.5), network, probe).convert()
    assert pruned[3].groups == pruned[3].in_channels == pruned[0].out_channels == 16
    assert pruned[6].out_channels == 10
    again = Channels().replay(copy.deepcopy(network), history)
    again.load_state_dict(pruned.state_dict())
    assert torch.equal(again.eval()(probe.example), pruned.eval()(probe.example))


def test_random_depends_on_its_seed(trained, probe):
    removed = [
        prune(Channels(importance="random", seed=seed), trained["A"], probe).convert()[1]["removed"]
        for seed in (0, 1)
    ]
    assert removed[0] != removed[1]


def test_a_network_with_more_macs_than_promised_fails_its_check(trained, probe):
    step = Channels(macs=0.8)
    pruned, history = prune(step, trained["A"], probe).convert()
    with pytest.raises(LimitError, match="of the original MACs are left"):
        step.check(pruned, {**history, "original_macs": history["original_macs"] / 2}, probe)


def test_sizes_tell_what_changed(trained, probe):
    pruned, history = prune(Channels(macs=0.8), trained["A"], probe).convert()
    before, after = sizes_of(trained["A"]), sizes_of(pruned)
    assert {name for name in after if after[name] != before[name]} == set(history["sizes"])


class Shuffled(nn.Module):
    """Pixel shuffle: four channels become one, of which Torch-Pruning knows nothing."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 32, 3), nn.Conv2d(8, 16, 3)
        self.head = nn.Linear(16, 4)

    def forward(self, images):
        maps = nn.functional.pixel_shuffle(self.first(images).relu(), 2)
        return self.head(self.second(maps).mean((2, 3)))


class FixedWidth(nn.Module):
    """Its code knows how many channels there are."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Conv2d(1, 32, 3), nn.Linear(32, 4)

    def forward(self, images):
        maps = self.first(images)
        return self.head(maps.reshape(len(maps), 32, -1).mean(2))


@pytest.mark.parametrize("network", [Shuffled, FixedWidth])
@pytest.mark.parametrize("importance", ["l2", "random"])
def test_networks_that_torch_pruning_spoils_are_refused_in_one_line(network, importance):
    step = Channels(macs=0.6, importance=importance)
    with pytest.raises(AugcompressError, match=r"^channels: .*Torch-Pruning .*; ") as caught:
        prune(step, network(), None)
    assert "\n" not in str(caught.value)
