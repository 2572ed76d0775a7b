import numpy as np
import pytest
import torch
from torch import nn

from augcompress.errors import AugcompressError
from augcompress.evidence import MeasureName, agreement, top_k
from augcompress.evidence.statistics import wilson
from augcompress.measures import macs, nonzero_parameters, parameters, size_bytes

PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.35, 0.25], [0.2, 0.6, 0.2]])
LABELS = np.array([0, 2, 1, 0])


def test_top_1_by_hand():
    found = top_k(PROBABILITIES, LABELS, 1, "test", "export/model.onnx")
    assert (found.name, found.value, found.n) == ("top1", 0.5, 4)
    assert (found.split, found.subject, found.method) == ("test", "export/model.onnx", "wilson")
    assert (found.low, found.high) == wilson(2, 4)


def test_top_2_by_hand():
    assert top_k(PROBABILITIES, LABELS, 2).value == 1.0  # the last one ties and comes first
    assert top_k(PROBABILITIES, np.array([0, 2, 1, 2]), 2).value == 0.75  # ... and last


def test_ties_are_not_all_counted_as_right():
    same = np.full((10, 10), 0.1)
    assert top_k(same, np.arange(10), 1).value == 0.1
    assert top_k(same, np.arange(10), 5).value == 0.5


def test_nan_is_never_right():
    assert top_k(np.full((3, 2), np.nan), np.zeros(3, int), 2).value == 0.0


def test_agreement_by_hand():
    others = PROBABILITIES.copy()
    others[0] = [0.1, 0.8, 0.1]
    found = agreement(PROBABILITIES, others, "validation", baseline="float")
    assert (found.value, found.n, found.baseline) == (0.75, 4, "float")


def small():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Flatten(), nn.Linear(8 * 16, 10),
    )  # fmt: skip


def test_macs_by_hand():
    # 8x8 image, stride 2: 16 positions of 8 filters of 27 weights; depthwise 16 * 8 * 9; dense
    expected = 16 * 8 * 27 + 16 * 8 * 9 + 8 * 16 * 10
    found = macs(small(), torch.rand(5, 3, 8, 8))
    assert found.value == expected
    assert found.conditions["counts"] == "multiply-adds"
    assert found.better == "lower"


def test_macs_of_attention_are_all_counted():
    network = nn.MultiheadAttention(8, 2, batch_first=True)

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = network

        def forward(self, tokens):
            return self.attention(tokens, tokens, tokens)[0]

    # 4 tokens of 8: three projections in, one out, and two products of (4, 4) with 8 in 2 heads
    expected = 4 * 8 * 8 * 4 + 2 * 4 * 4 * 8
    assert macs(Attention(), torch.rand(2, 4, 8)).value == expected
    assert torch.backends.mha.get_fastpath_enabled()


def test_counting_macs_leaves_the_network_alone():
    network = small().train()
    before = network[1].running_mean.clone()
    macs(network, torch.rand(2, 3, 8, 8))
    assert network.training
    assert torch.equal(network[1].running_mean, before)


def test_parameters_by_hand():
    network = small()
    count = (8 * 27 + 8) + 16 + (8 * 9 + 8) + (8 * 16 * 10 + 10)
    assert parameters(network).value == count
    for layer in (network[0], network[3], network[5]):
        nn.init.constant_(layer.bias, 1.0)
    nn.init.zeros_(network[5].weight)
    assert nonzero_parameters(network).value == count - 8 * 16 * 10 - 8  # and the batch norm's bias


def test_shared_parameters_count_once():
    layer = nn.Linear(4, 4)
    assert parameters(nn.Sequential(layer, layer)).value == 20


def test_size_on_disk(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert size_bytes(tmp_path / "file").value == 5
    with pytest.raises(AugcompressError, match="none: No such file"):
        size_bytes(tmp_path / "none")


def test_names_of_the_room():
    assert {"top1", "speedup", "macs", "agreement", "roc_auc", "top1_difference"} <= set(
        MeasureName
    )
