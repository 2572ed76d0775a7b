"""The timing script as its users run it: alone, with a bare Python."""

import ast
import os
import shutil
import subprocess
import sys

import onnx
import pytest
from onnx import TensorProto

from augcompress.evidence.records import read_measurements
from augcompress.measures import BENCH_SCRIPT


@pytest.fixture
def folder(tmp_path):
    """A script and two small networks, as they ship."""
    shutil.copy(BENCH_SCRIPT, tmp_path / "bench.py")
    value = onnx.helper.make_tensor_value_info
    shape = ["batch", 3, 8, 8]
    for name in ("model.onnx", "other.onnx"):
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Relu", ["input"], ["output"])],
            name,
            [value("input", TensorProto.FLOAT, shape)],
            [value("output", TensorProto.FLOAT, shape)],
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
        model.ir_version = 10
        onnx.save(model, tmp_path / name)
    return tmp_path


def run(folder, *arguments):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "bench.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


def test_it_needs_numpy_onnxruntime_and_nothing_else():
    imported = set()
    for node in ast.walk(ast.parse(BENCH_SCRIPT.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {one.name.partition(".")[0] for one in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module.partition(".")[0])
    assert imported - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}


def test_a_comparison_becomes_measurements(folder):
    done = run(
        folder, "model.onnx", "--baseline", "other.onnx", "--batch", "1,2", "--rounds", "2",
        "--json", "timing.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = read_measurements(folder / "timing.json")
    speedups = [one for one in found if one.name == "speedup"]
    assert [one.conditions["batch"] for one in speedups] == [1, 2]
    assert all((one.subject, one.baseline) == ("model.onnx", "other.onnx") for one in speedups)
    expected = {
        "speedup", "latency_ms", "latency_p95_ms", "throughput",
        "load_ms", "size_bytes", "compressed_bytes", "peak_memory_bytes",
    }  # fmt: skip
    assert {one.name for one in found} | {"peak_memory_bytes"} == expected
    told = speedups[0].conditions
    assert told.keys() >= {
        "threads", "batch", "cpu", "cores", "int8_dot_product", "os", "machine", "onnxruntime",
        "rounds", "calls", "warm_up", "file_sha256", "baseline_sha256",
    }  # fmt: skip
    assert not list(folder.glob("*.part"))


def test_only_times_of_one_file(folder):
    done = run(folder, "model.onnx", "--rounds", "2", "--only-times")
    assert done.returncode == 0, done.stderr
    assert "latency_ms" in done.stdout
    assert "speedup" not in done.stdout
    assert "load_ms" not in done.stdout


def test_files_of_one_name_are_told_apart(folder):
    (folder / "before").mkdir()
    shutil.copy(folder / "other.onnx", folder / "before" / "model.onnx")
    arguments = ["--rounds", "2", "--only-times", "--json", "timing.json"]
    run(folder, "model.onnx", "--baseline", "before/model.onnx", *arguments)
    first = read_measurements(folder / "timing.json")[0]
    assert (first.subject, first.baseline) == ("model.onnx", os.path.join("before", "model.onnx"))


ERRORS = {
    "missing": (["none.onnx"], "bench: none.onnx: there is no such file"),
    "no ONNX": (["bench.py"], "bench: bench.py: ONNX Runtime cannot load it"),
    "few rounds": (["model.onnx", "--rounds", "1"], "bench: rounds: 1 is too few"),
    "no threads": (["model.onnx", "--threads", "0"], "bench: threads: 0 is too few"),
    "no folder": (["model.onnx", "--json", "none/t.json"], "bench: none/t.json: No such file"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_line(folder, case):
    arguments, message = ERRORS[case]
    if case == "no folder":
        arguments = [*arguments, "--rounds", "2", "--only-times"]
    done = run(folder, *arguments)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(message)


def test_a_wrong_command_line_is_usage(folder):
    done = run(folder, "model.onnx", "--threads", "many")
    assert done.returncode == 2
    assert "--threads" in done.stderr


def test_a_child_that_fails_is_told_in_one_line(folder):
    order = {"files": ["none.onnx"], "openers": [None], "threads": 1, "batch": None}
    code = f"import bench; bench.in_new_process({order})"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert "none.onnx: a new process could not run it: bench: none.onnx: there is no" in last
