"""The estimator on a clock and sessions of its own: nothing depends on how fast a machine is."""

import gc
import itertools
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from augcompress.errors import AugcompressError
from augcompress.evidence import MeasureName
from augcompress.evidence.records import Measurement
from augcompress.measures import BENCH_SCRIPT, bench, footprint, time_file
from augcompress.measures.bench import (
    Candidate,
    Round,
    Settings,
    cpu_name,
    has_int8_dot_product,
    in_turns,
    over_rounds,
    student_t,
    take_round,
    take_rounds,
    timing_rows,
    warm_up,
)


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch):
    """No call of a fake session is interrupted by what this machine does meanwhile."""
    monkeypatch.setattr(bench, "WALL", itertools.count().__next__)


class Clock:
    """Nanoseconds that pass only when somebody works."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now


class Fake:
    """A session whose calls take as long as it is told."""

    def __init__(self, clock, milliseconds, log=None, name=""):
        self.clock, self.milliseconds, self.log, self.name = clock, milliseconds, log, name

    def run(self, names, feed):
        if self.log is not None:
            self.log.append(self.name)
        self.clock.now += round(1e6 * self.milliseconds())


def constant(value):
    return lambda: value


def fakes(clock, *costs, log=None):
    return [
        lambda cost=cost, name=name: (Fake(clock, cost, log, name), {})
        for cost, name in zip(costs, "ab", strict=False)
    ]


def files(count=2):
    return [Candidate(f"{name}.onnx", f"{name}.onnx", batch=4) for name in "ab"[:count]]


def rounds_by(make):
    """What `timing_rows` takes rounds with: `make()` gives the opens of each round."""

    def taking(files, settings):
        def take(first, calls):
            clock = Clock()
            return take_round(make(clock), first, calls, clock)

        return take_rounds(take, len(files), settings)

    return taking


def noisy(spread, seed=0):
    """Opens of two equal files; each session is slower or faster as long as it lives."""
    rng = np.random.default_rng(seed)
    return lambda clock: fakes(
        clock, *(constant(float(np.exp(spread * rng.standard_normal()))) for _ in "ab")
    )


def row_of(rows, name, subject="a.onnx"):
    return next(one for one in rows if (one["name"], one["subject"]) == (name, subject))


def test_values_on_a_known_clock():
    rows = timing_rows(
        files(), Settings(calls=20), rounds_by(lambda clock: fakes(clock, *map(constant, (1, 2))))
    )
    assert [one["name"] for one in rows] == [
        "speedup", *(2 * ["latency_ms", "latency_p95_ms", "throughput"])
    ]  # fmt: skip
    ratio = row_of(rows, "speedup")
    assert (ratio["value"], ratio["low"], ratio["high"]) == pytest.approx((2, 2, 2))
    assert (ratio["n"], ratio["baseline"], ratio["method"]) == (bench.ROUNDS, "b.onnx", "student_t")
    assert row_of(rows, "latency_ms")["value"] == pytest.approx(1)
    assert row_of(rows, "latency_p95_ms", "b.onnx")["value"] == pytest.approx(2)
    assert row_of(rows, "throughput")["value"] == pytest.approx(4000)  # 4 images a millisecond
    assert not any("too_noisy" in one["conditions"] for one in rows)


def test_rows_are_measurements():
    taking = rounds_by(lambda clock: fakes(clock, *map(constant, (1, 2))))
    for row in timing_rows(files(), Settings(), taking):
        found = Measurement.model_validate(row)
        assert row == found.model_dump(mode="json")
        assert found.low <= found.value <= found.high
        assert found.name in set(MeasureName)


def test_the_tail_is_the_slow_calls():
    slow = itertools.cycle([*[1.0] * 9, 5.0])  # one call of ten
    make = lambda clock: fakes(clock, lambda: next(slow))  # noqa: E731
    rows = timing_rows(files(1), Settings(calls=100), rounds_by(make))
    assert row_of(rows, "latency_ms")["value"] == pytest.approx(1)
    assert row_of(rows, "latency_p95_ms")["value"] == pytest.approx(5)
    assert row_of(rows, "throughput")["value"] == pytest.approx(4 * 1000 / 1.4)


def test_the_interval_covers_what_differs_between_sessions():
    contains = 0
    for seed in range(40):
        rows = timing_rows(files(), Settings(calls=8), rounds_by(noisy(0.01, seed)))
        ratio = row_of(rows, "speedup")
        contains += ratio["low"] <= 1 <= ratio["high"]
        assert ratio["high"] - ratio["low"] < 0.05
    assert contains >= 34


def test_the_table_fits_a_terminal():
    rows = [
        bench.row(name, unit, "lower", estimate, n, subject, {})
        for subject in ("model.onnx", f"{'a' * 60}.onnx")
        for name, unit, estimate, n in (
            ("throughput", "images/s", (110134.0, 20134.0, 930134.0), 10),
            ("peak_memory_bytes", "bytes", (169430e3, 69321e3, 269540e3), 5),
            ("compressed_bytes", "bytes", (81545,) * 3, None),
            ("latency_ms", "ms", (0.01234, 0.01231, 0.01236), 10),
        )
    ]
    lines = bench.table(rows).splitlines()
    assert max(map(len, lines)) <= 80
    shown = [" ".join(line.split()[1:]) for line in lines]
    assert shown[1] == "model.onnx 110134 images/s 20134 - 930134 too noisy"
    assert shown[3] == "model.onnx 81.5 kB"
    assert shown[4] == "model.onnx 0.0123 ms 0.0123 - 0.0124"
    assert "aaaaaaaaaaaaa... " in lines[5]


def test_too_much_noise_is_said():
    rows = timing_rows(files(), Settings(calls=8), rounds_by(noisy(0.5)))
    assert row_of(rows, "speedup")["conditions"]["too_noisy"] is True
    assert row_of(rows, "latency_ms")["conditions"]["too_noisy"] is True


@pytest.mark.parametrize(
    ("threads", "opener", "waited", "too_noisy"),
    [(1, None, 0.9, False), (2, None, 0.9, True), (2, None, 0.01, False),
     (1, {"function": "a:b", "given": {}}, 0.9, True)],
)  # fmt: skip
def test_wall_times_are_too_noisy_where_others_took_their_part(threads, opener, waited, too_noisy):
    taken = lambda files, settings: [Round(np.ones((2, 8)), 1, waited)] * 4  # noqa: E731
    both = [Candidate(f"{name}.onnx", f"{name}.onnx", 1, opener=opener) for name in "ab"]
    rows = timing_rows(both, Settings(threads), taken)
    assert {bool(one["conditions"].get("too_noisy")) for one in rows} == {too_noisy}
    assert {one["conditions"]["waited"] for one in rows} == {waited}


def test_one_thread_is_timed_by_its_own_cpu_time():
    if sys.platform == "win32":
        pytest.skip("CPU time is counted too coarsely there")
    assert bench.clock_of(1, [None, None]) == bench.CPU_TIME
    assert bench.clock_of(2, [None]) == bench.WALL_TIME
    clock = bench.CLOCKS[bench.CPU_TIME]
    start = clock()
    time.sleep(0.05)
    assert clock() - start < 25e6  # sleeping is no work


class Interrupted(Fake):
    """A session that is interrupted when `hit()` says so: the clock on the wall goes on, and what
    is left behind makes the call and the next one slower."""

    def __init__(self, clock, milliseconds, wall, hit):
        super().__init__(clock, milliseconds)
        self.wall, self.hit, self.cold = wall, hit, False

    def run(self, names, feed):
        before, hit = self.clock.now, self.hit()
        super().run(names, feed)
        if hit or self.cold:
            self.clock.now += (self.clock.now - before) // 2
        self.wall.now += self.clock.now - before + 5_000_000 * hit
        self.cold = hit


def interrupted_rounds(monkeypatch, share, seed=0):
    """Rounds of files of 0.1 and 1 ms, the long one interrupted in that share of its calls."""
    rng, wall = np.random.default_rng(seed), Clock()
    monkeypatch.setattr(bench, "WALL", wall)
    noise = lambda base: lambda: base * float(np.exp(0.002 * abs(rng.standard_normal())))  # noqa: E731
    return rounds_by(
        lambda clock: [
            lambda: (Interrupted(clock, noise(0.1), wall, lambda: rng.random() < share / 10), {}),
            lambda: (Interrupted(clock, noise(1.0), wall, lambda: rng.random() < share), {}),
        ]
    )


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8])
def test_interruptions_do_not_favour_the_shorter_call(share, monkeypatch):
    rows = timing_rows(files(), Settings(calls=40), interrupted_rounds(monkeypatch, share))
    ratio = row_of(rows, "speedup")
    assert ratio["low"] <= 10 <= ratio["high"]
    assert ratio["high"] - ratio["low"] < (0.5 if share else 0.02)
    assert "too_noisy" not in ratio["conditions"]
    assert ratio["conditions"]["short_rounds"] == 0
    assert (ratio["conditions"]["interrupted"] > 0.1) is (share > 0)


def test_a_timing_without_steady_calls_is_too_noisy(monkeypatch):
    rows = timing_rows(files(), Settings(calls=8), interrupted_rounds(monkeypatch, 1.0))
    ratio = row_of(rows, "speedup")
    assert ratio["value"] > 12
    assert ratio["high"] < 1.05 * ratio["value"]
    assert ratio["conditions"]["too_noisy"] is True
    assert ratio["conditions"]["short_rounds"] == ratio["n"] == bench.ROUNDS  # none were added


def test_waiting_for_a_cpu_is_told():
    if not Path("/proc/self/schedstat").exists():
        pytest.skip("this system does not tell how long a process has waited")
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    busy = subprocess.Popen([sys.executable, "-c", f"{code}while True: pass"])
    measure = (
        f"{code}import time; from augcompress.measures.bench import waiting_ns; end = time.time()"
        " + 0.5\nwhile time.time() < end: pass\nprint(waiting_ns())"
    )
    try:
        done = subprocess.run([sys.executable, "-c", measure], capture_output=True, text=True)
    finally:
        busy.kill()
        busy.wait()
    assert int(done.stdout) > 1e6


def rounds_taken(spread):
    counts = []

    def take(first, calls):
        counts.append((first, calls))
        scale = 1 + spread * (-1) ** (len(counts) // 2)
        return Round(np.array([[1.0] * 10, [scale] * 10]), 1)

    return take_rounds(take, 2, Settings(rounds=5)), counts


def test_rounds_are_added_while_the_interval_is_wide():
    assert len(rounds_taken(0.001)[0]) == 6  # even, so that each file begins as often
    assert len(rounds_taken(0.5)[0]) == 18


def test_rounds_begin_with_either_file_and_keep_the_number_of_calls():
    _, counts = rounds_taken(0.001)
    assert [first for first, _ in counts] == [0, 1, 0, 1, 0, 1]
    assert [calls for _, calls in counts] == [None, *[10] * 5]


def test_blocks_take_turns_and_swap_places():
    clock, log = Clock(), []
    sessions = [one()[0] for one in fakes(clock, constant(1), constant(2), log=log)]
    times, steady = in_turns(sessions, [{}, {}], 20, 0, clock)
    assert steady.all()
    blocks = [(name, len(list(same))) for name, same in itertools.groupby(log)]
    assert blocks == [("a", 12), ("b", 24), ("a", 12)]  # two calls of each block do not count
    np.testing.assert_array_equal(times, [[1.0] * 20, [2.0] * 20])
    log.clear()
    assert in_turns(sessions, [{}, {}], 7, 1, clock)[0].shape == (2, 8)
    assert log[:6] == ["b"] * 6


def test_a_file_alone_has_no_calls_that_do_not_count():
    clock, log = Clock(), []
    session = Fake(clock, constant(1), log, "a")
    assert in_turns([session], [{}], 20, 0, clock)[0].shape == (1, 20)
    assert len(log) == 20


def test_calls_fill_the_time_of_a_round():
    for cost, calls in ((0.01, 200), (1.0, 40), (100.0, 8)):
        clock = Clock()
        taken = take_round(fakes(clock, constant(cost / 2), constant(cost / 2)), 0, None, clock)
        assert taken.times.shape == (2, 60 if cost == 1.0 else calls)


def test_warming_up_goes_on_until_times_are_stable():
    cost = [2.0]

    def call(count):
        taken = []
        for _ in range(count):
            taken.append(cost[0])
            cost[0] = max(1.0, 0.95 * cost[0])
        return np.array([taken])

    calls, took = warm_up(call)
    assert (cost[0], took) == (1.0, 1.0)
    assert calls in (21, 31, 41)


def test_garbage_is_collected_again():
    during = []
    cost = lambda: during.append(gc.isenabled()) or 1  # noqa: E731
    clock = Clock()
    take_round(fakes(clock, cost), 0, 8, clock)
    assert not any(during)
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("level", "freedom", "expected"),
    [(0.95, 1, 12.7062), (0.95, 2, 4.30265), (0.95, 9, 2.26216), (0.95, 10, 2.22814),
     (0.99, 5, 4.03214), (0.95, 29, 2.04523), (0.90, 120, 1.65765)],
)  # fmt: skip
def test_student_t_against_tables(level, freedom, expected):
    assert student_t(level, freedom) == pytest.approx(expected, rel=1e-5)


def test_geometric_mean_and_interval_by_hand():
    value, low, high = over_rounds(np.exp([0.0, 0.2]))
    assert value == pytest.approx(np.exp(0.1))
    assert np.log([low, high]) == pytest.approx([0.1 - 1.27062, 0.1 + 1.27062], rel=1e-5)


@pytest.mark.parametrize(
    ("text", "name"),
    [("processor\t: 0\nmodel name\t: A CPU\nModel\t: Board\n", "A CPU"),
     ("Hardware\t: BCM\nModel\t: Raspberry Pi 4\n", "Raspberry Pi 4")],
)  # fmt: skip
def test_the_name_of_the_cpu(tmp_path, text, name):
    (tmp_path / "cpuinfo").write_text(text)
    assert cpu_name(tmp_path / "cpuinfo") == name
    assert cpu_name(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("flags\t\t: fpu avx2 avx512_vnni\n", True), ("flags\t\t: avx_vnni\n", True),
     ("flags\t\t: fpu avx2\n", False), ("Features\t: asimddp\n", None)],
)  # fmt: skip
def test_int8_dot_products_are_read_from_the_cpu_flags(tmp_path, text, expected):
    (tmp_path / "cpuinfo").write_text(text)
    assert has_int8_dot_product(tmp_path / "cpuinfo") is expected


def save_model(path, shape=("batch", 1, 8, 8), kind=TensorProto.FLOAT, inputs=1):
    value = onnx.helper.make_tensor_value_info
    names = ["input", "other"][:inputs]
    operator = "Relu" if inputs == 1 else "Add"
    nodes = [onnx.helper.make_node("Cast", [one], [f"{one}_f"], to=1) for one in names]
    nodes.append(onnx.helper.make_node(operator, [f"{one}_f" for one in names], ["output"]))
    graph = onnx.helper.make_graph(
        nodes,
        "tiny",
        [value(one, kind, list(shape)) for one in names],
        [value("output", TensorProto.FLOAT, list(shape))],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    model.ir_version = 10
    path.write_bytes(model.SerializeToString())
    return path


def test_timing_of_real_files(tmp_path):
    file, other = save_model(tmp_path / "file.onnx"), save_model(tmp_path / "other.onnx")
    found = time_file(
        file, baseline=other, batch=3, subject="m", baseline_name="teacher", rounds=2, repeats=4
    )
    speedup, *latencies = found
    assert (speedup.name, speedup.subject, speedup.baseline) == ("speedup", "m", "teacher")
    assert [one.subject for one in latencies] == ["m"] * 3 + ["other.onnx"] * 3
    told = speedup.conditions
    assert (told["batch"], told["threads"], told["calls"]) == (3, 1, 4)
    assert told["file_sha256"] == told["baseline_sha256"]
    assert speedup.n == told["rounds"]
    assert speedup.n in (2, 4, 6)
    assert all(one.value > 0 for one in found)


def test_footprint_of_a_real_file(tmp_path):
    load, *memory, packed = footprint(save_model(tmp_path / "file.onnx"), "model.onnx")
    assert (load.name, load.n, load.subject) == ("load_ms", bench.FRESH, "model.onnx")
    assert load.conditions["first_call_ms"] > 0
    assert [one.name for one in memory] in ([], ["peak_memory_bytes"])
    assert all(one.value > 0 for one in memory)
    assert (packed.name, packed.n, packed.low) == ("compressed_bytes", None, None)
    assert 0 < packed.value < (tmp_path / "file.onnx").stat().st_size


def test_memory_counts_the_weights(tmp_path):
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell the memory of a process")
    model = onnx.load(save_model(tmp_path / "small.onnx"))
    model.graph.node[-1].output[0] = "relu"
    model.graph.node.append(onnx.helper.make_node("Add", ["relu", "weight"], ["sum"]))
    model.graph.node.append(onnx.helper.make_node("ReduceSum", ["sum"], ["output"]))
    weight = np.random.default_rng(0).standard_normal((4096, 1, 8, 8), np.float32)  # 1 MB
    weight = np.concatenate([weight] * 32)  # 32 MB
    model.graph.initializer.append(numpy_helper.from_array(weight, "weight"))
    model.graph.output[0].CopyFrom(
        onnx.helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 1, 1])
    )
    onnx.save(model, tmp_path / "large.onnx")
    small, large = (
        bench.in_new_process(
            {"files": [str(tmp_path / name)], "openers": [None], "threads": 1, "batch": 1}
        )
        for name in ("small.onnx", "large.onnx")
    )
    assert large["peak_bytes"] - small["peak_bytes"] > 32e6


def test_memory_that_the_system_does_not_tell_is_left_out(tmp_path, monkeypatch):
    answer = {"load_ms": 1.0, "first_call_ms": 1.0, "peak_bytes": None, "counts": ""}
    monkeypatch.setattr(bench, "in_new_process", lambda order: answer)
    found = footprint(save_model(tmp_path / "file.onnx"))
    assert [one.name for one in found] == ["load_ms", "compressed_bytes"]


@pytest.mark.parametrize("reset", [True, False])
def test_memory_without_linux(tmp_path, monkeypatch, reset):
    pytest.importorskip("resource")
    monkeypatch.setattr(bench, "_status", lambda key: None)
    if not reset:
        monkeypatch.setattr(bench, "resource", None)
    found = bench.load(save_model(tmp_path / "file.onnx"))
    assert (found["peak_bytes"] is None) != reset
    assert "getrusage" in found["counts"]


WRONG = {
    "two inputs": ({"inputs": 2}, r"has 2 inputs \(input, other\); needs one"),
    "a vector": ({"shape": ("batch", 8)}, r"takes \['batch', 8\]; needs \(N,C,H,W\)"),
    "open sizes": ({"shape": ("batch", 1, "h", "w")}, "with fixed C, H and W"),
    "integers": ({"kind": TensorProto.INT32}, r"takes tensor\(int32\); needs tensor\(uint8\)"),
    "batch": ({"shape": (4, 1, 8, 8)}, "takes batches of 4, not 2"),
}


@pytest.mark.parametrize("case", WRONG)
def test_files_that_cannot_be_timed(tmp_path, case):
    settings, message = WRONG[case]
    file = save_model(tmp_path / "file.onnx", **settings)
    with pytest.raises(AugcompressError, match=message):
        time_file(file, batch=2)


def test_files_that_are_none(tmp_path):
    with pytest.raises(AugcompressError, match=r"none\.onnx: there is no such file"):
        time_file(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(AugcompressError, match=r"text\.onnx: ONNX Runtime cannot load it"):
        footprint(tmp_path / "text.onnx")
    with pytest.raises(AugcompressError, match="rounds: 1 is too few; give at least 2"):
        time_file(tmp_path / "text.onnx", rounds=1)


def test_files_of_different_batch_cannot_be_compared(tmp_path):
    file = save_model(tmp_path / "file.onnx", (2, 1, 8, 8))
    other = save_model(tmp_path / "other.onnx", (4, 1, 8, 8))
    with pytest.raises(AugcompressError, match="different sizes"):
        time_file(file, baseline=other)


def test_images_are_fed_in_the_type_that_the_file_takes(tmp_path):
    floats = save_model(tmp_path / "float.onnx", (3, 1, 8, 8))
    raw = save_model(tmp_path / "raw.onnx", kind=TensorProto.UINT8)
    of = partial(bench.open_with_images, threads=1)
    (_, first), (_, second) = of(floats), of(raw, batch=3)
    assert (first["input"].dtype, second["input"].dtype) == (np.float32, np.uint8)
    assert 0.9 < first["input"].max() <= 1
    np.testing.assert_allclose(first["input"] * 255, second["input"], atol=1e-4)


def test_the_script_is_the_module():
    assert BENCH_SCRIPT.read_text(encoding="utf-8").startswith(f'"""{bench.__doc__[:40]}')
