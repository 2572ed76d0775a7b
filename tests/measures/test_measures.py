import numpy as np
import onnx
import pytest
import torch
from torch import nn

from augcompress.errors import AugcompressError
from augcompress.measures import (
    MeasureName,
    agreement,
    latency,
    macs,
    nonzero_parameters,
    parameters,
    size_bytes,
    speedup,
    top_k,
)
from augcompress.measures.intervals import bootstrap_median, bootstrap_ratio, wilson
from augcompress.measures.latency import feed_of, interleaved_ms, warm_up

PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.35, 0.25], [0.2, 0.6, 0.2]])
LABELS = np.array([0, 2, 1, 0])


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.277533),  # z^2 / (n + z^2)
        (10, 10, 0.722467, 1.0),
        (5, 10, 0.236593, 0.763407),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
        (15, 148, 0.0624, 0.1605),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_against_published_values(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


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


def test_bootstrap_of_a_constant_is_the_constant():
    assert bootstrap_median(np.full(20, 3.0)) == (3.0, 3.0)
    assert bootstrap_ratio(np.full(20, 6.0), np.full(20, 3.0)) == (2.0, 2.0)


def test_bootstrap_covers_the_median_ratio_and_repeats():
    rng = np.random.default_rng(0)
    slow, fast = rng.normal(4, 0.4, 200), rng.normal(2, 0.2, 200)
    low, high = bootstrap_ratio(slow, fast)
    assert low < 2 < high
    assert high - low < 0.2
    assert bootstrap_ratio(slow, fast) == (low, high)


def test_the_ratio_is_paired():
    times = np.random.default_rng(0).lognormal(size=101)
    assert bootstrap_ratio(2 * times, times) == pytest.approx((2.0, 2.0))


class Clocked:
    """A session on a clock of its own: each call takes as long as it is told."""

    def __init__(self, clock, milliseconds, log, name, threads=1, kind="tensor(float)"):
        self.clock, self.milliseconds, self.log, self.name = clock, milliseconds, log, name
        self.threads, self.kind = threads, kind

    def run(self, names, feed):
        self.log.append(self.name)
        self.clock[0] += int(self.milliseconds * 1e6)

    def get_inputs(self):
        return [type("Input", (), {"name": "input", "type": self.kind})]

    def get_session_options(self):
        return type("Options", (), {"intra_op_num_threads": self.threads})


@pytest.fixture
def clock(monkeypatch):
    now = [0]
    monkeypatch.setattr("time.perf_counter_ns", lambda: now[0])
    return now


def test_speedup_on_a_known_clock(clock):
    log = []
    slow, fast = Clocked(clock, 6, log, "slow"), Clocked(clock, 1.5, log, "fast")
    image = np.zeros((1, 2, 2), np.uint8)
    ratio, ours, theirs = speedup(slow, fast, image, repeats=8, subject="b", baseline="a")
    assert (ratio.name, ratio.value, ratio.low, ratio.high) == ("speedup", 4.0, 4.0, 4.0)
    assert (ours.value, ours.subject, theirs.value, theirs.subject) == (1.5, "b", 6.0, "a")
    assert ours.conditions["p95_ms"] == 1.5
    assert ratio.conditions["threads"] == 1
    assert ratio.n == 8


def test_sessions_take_turns_and_swap_places(clock):
    log = []
    sessions = [Clocked(clock, 1, log, "a"), Clocked(clock, 1, log, "b")]
    interleaved_ms(sessions, [{}, {}], 3)
    assert log == ["a", "b", "b", "a", "a", "b"]


def test_warming_up_goes_on_until_times_are_stable(clock):
    class Settling(Clocked):
        def run(self, names, feed):
            super().run(names, feed)
            self.milliseconds = max(1.0, self.milliseconds * 0.95)

    settling = Settling(clock, 8, [], "a")
    calls = warm_up([settling], [{}])
    assert settling.milliseconds == 1.0
    assert 50 < calls < 100


def test_latency_of_another_thread_count_is_refused(clock):
    session = Clocked(clock, 1, [], "a", threads=2)
    with pytest.raises(AugcompressError, match="has 2 threads, not 1"):
        latency(session, np.zeros((1, 2, 2), np.float32))


def test_images_are_fed_in_the_sessions_type(clock):
    image = np.full((1, 2, 2), 1.0, np.float32)
    floats = feed_of(Clocked(clock, 1, [], "a"), (image * 255).astype(np.uint8), 3)["input"]
    raw = feed_of(Clocked(clock, 1, [], "a", kind="tensor(uint8)"), image)["input"]
    assert (floats.shape, floats.dtype, floats.max()) == ((3, 1, 2, 2), np.float32, 1.0)
    assert (raw.dtype, raw.max()) == (np.uint8, 255)


def test_latency_of_a_real_session(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    shape = ["batch", 1, 2, 2]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["input"], ["output"])],
        "relu",
        [value("input", onnx.TensorProto.FLOAT, shape)],
        [value("output", onnx.TensorProto.FLOAT, shape)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    model.ir_version = 10
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(model.SerializeToString(), options)
    found = latency(session, np.zeros((1, 2, 2), np.float32), repeats=20, batch=4)
    assert found.value > 0
    assert found.low <= found.value <= found.high
    assert found.conditions["batch"] == 4


def test_names_of_the_room():
    assert {"top1", "speedup", "macs", "agreement"} <= set(MeasureName)
