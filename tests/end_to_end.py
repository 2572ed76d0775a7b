"""Helpers of the end-to-end tests: a tiny recipe, and the command line inside this process."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from augcompress import cli

STAGES = ("augment", "train_teacher", "distill", "prune", "quantize", "export")
NETWORK_FILES = {
    "log.jsonl",
    "measurements.json",
    "model.json",
    "model.safetensors",
    "predictions.npz",
    "stage.json",
}
GRAPH_FILES = {"measurements.json", "model.onnx", "predictions.npz", "stage.json"}
SHIPPED_FILES = GRAPH_FILES | {
    "MODEL_CARD.md",
    "SHA256SUMS",
    "bench.py",
    "examples.npz",
    "layers.json",
    "predict.py",
    "predictions-float.npz",
    "predictions-teacher.npz",
}
STAGE_FILES = {
    "augment": {"before_after.png", "contact_sheet.png", "measurements.json", "stage.json"},
    "train_teacher": NETWORK_FILES,
    "distill": NETWORK_FILES,
    "prune": NETWORK_FILES,
    "quantize": GRAPH_FILES,
    "export": SHIPPED_FILES,
}
ARTIFACTS = {
    "train_teacher": "model.safetensors",
    "distill": "model.safetensors",
    "prune": "model.safetensors",
    "quantize": "model.onnx",
    "export": "model.onnx",
}
TIMINGS = {
    "latency_ms", "latency_p95_ms", "load_ms", "peak_memory_bytes", "speedup", "throughput",
    "int8_time",
}  # fmt: skip
"""Measurements that differ from run to run: times and memory."""


def training(epochs: int) -> dict[str, Any]:
    """A training section."""
    return {"epochs": epochs, "batch_size": 32, "optimizer": {"kind": "sgd", "lr": 0.1}}


TINY: dict[str, Any] = {
    "version": 1,
    "name": "tiny",
    "data": {"kind": "digits", "validation": 0.1, "subset": 300},
    "augment": {
        "pipeline": [{"kind": "affine", "degrees": 5, "translate": 0.1, "scale": [0.9, 1.1]}]
    },
    "train_teacher": {"model": {"kind": "small_cnn", "widths": [8, 16]}, "training": training(6)},
    "distill": {"student": {"kind": "small_cnn", "widths": [8, 16]}, "training": training(6)},
    "prune": {"steps": [{"kind": "channels", "macs": 0.7}], "training": training(2)},
    "quantize": {"steps": [{"kind": "static_int8"}], "max_drop": None},
    "export": {"targets": [{"kind": "onnx", "agreement": 0.7}], "timing": {"rounds": 2}},
}


def write_recipe(folder: Path, change: Callable[[dict[str, Any]], Any] | None = None) -> Path:
    """The tiny recipe, changed in place by `change`, as `folder/tiny.yaml` (JSON is YAML)."""
    recipe = copy.deepcopy(TINY)
    if change is not None:
        change(recipe)
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(recipe, indent=1))
    return path


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of an error."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert self.err.splitlines()[-1] == lines[0], self.err
        return lines[0]

    @property
    def stages(self) -> dict[str, str]:
        """Status by stage, of a command with --json."""
        return {stage["name"]: stage["status"] for stage in json.loads(self.out)["stages"]}


TRAIN = {"run", "pretrain", "train-teacher", "distill", "prune", "quantize", "export"}
"""Commands that stop at a network which has learned nothing."""


def invoke(*arguments: str | Path, chance: bool = True) -> Answer:
    """The command `augcompress` in this process.  With `chance`, an epoch on a few images will do:
    networks that only guess are allowed."""
    if chance and arguments and arguments[0] in TRAIN and "--help" not in arguments:
        arguments = (*arguments, "--allow-chance")
    out, err = io.StringIO(), io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    argv = ["augcompress", *map(str, arguments)]
    code: Any = 0
    try:
        with (
            mock.patch.object(sys, "argv", argv),
            mock.patch.object(torch.cuda, "is_available", return_value=False),  # bits are compared
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            cli.main()
    except SystemExit as error:
        code = error.code
    finally:
        signal.signal(signal.SIGTERM, handler)
    return Answer(code or 0, out.getvalue(), err.getvalue())


def done(*arguments: str | Path) -> Answer:
    """The same, and it must succeed."""
    answer = invoke(*arguments)
    assert answer.code == 0, answer.err
    return answer


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "augcompress", *map(str, arguments)]
    pipe, environment = subprocess.PIPE, {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def wait_for(process: subprocess.Popen[str], found: Callable[[], bool]) -> None:
    """Until `found` says so, while the process lives."""
    deadline = time.monotonic() + 240
    while not found():
        if process.poll() is not None:
            raise AssertionError(f"ended too early with {process.returncode}: {process.stderr}")
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain")
        time.sleep(0.002)


def files(folder: Path) -> set[str]:
    """All files below a folder, relative."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def artifacts(run: Path) -> dict[str, bytes]:
    """The bytes of every artefact in a run."""
    found = {stage: run / stage / name for stage, name in ARTIFACTS.items()}
    return {stage: path.read_bytes() for stage, path in found.items() if path.is_file()}


def measured(run: Path) -> dict[str, list[Any]]:
    """Every measurement of a run that does not depend on time."""
    found = {}
    for path in sorted(run.glob("*/measurements.json")):
        rows = json.loads(path.read_text())["measurements"]
        found[path.parent.name] = [row for row in rows if row["name"] not in TIMINGS]
    return found


def entries(store: Path, stage: str = "") -> list[Path]:
    """The finished entries of a store; each must have a record that lists its files."""
    found = [path for path in sorted(store.glob(f"{stage}*-*")) if not path.name.startswith(".")]
    for path in found:
        record = json.loads((path / "stage.json").read_text())
        sizes = {name: (path / name).stat().st_size for name in files(path) - {"stage.json"}}
        assert record["files"] == sizes
    return found
