"""Records: what reports, gates and users' own scripts read."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from augcompress.errors import AugcompressError
from augcompress.evidence.predictions import Predictions
from augcompress.evidence.records import (
    Measurement,
    RunResult,
    StageResult,
    headline,
    own_measurements,
    read_measurements,
    write_measurements,
)
from augcompress.system.reporter import Reporter, SilentReporter

KEYS = [
    "name",
    "value",
    "unit",
    "better",
    "n",
    "low",
    "high",
    "level",
    "method",
    "split",
    "subject",
    "baseline",
    "conditions",
]


def top1(value: float, split: str = "test", **rest) -> Measurement:
    return Measurement(name="top1", value=value, better="higher", n=100, split=split, **rest)


def predictions() -> Predictions:
    probabilities = np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]])
    return Predictions(probabilities, np.array([1, 0, 0]), np.array([7, 3, 5]))


def test_measurements_file_has_the_contracts_keys_in_order(tmp_path):
    write_measurements(tmp_path / "measurements.json", [top1(0.9, low=0.8, high=0.95)])
    payload = json.loads((tmp_path / "measurements.json").read_text())
    assert list(payload) == ["version", "measurements"]
    assert payload["version"] == 1
    assert list(payload["measurements"][0]) == KEYS


def test_measurements_come_back_as_written(tmp_path):
    written = [top1(0.9, low=0.8, high=0.95, method="wilson", conditions={"role": "shipped"})]
    write_measurements(tmp_path / "m.json", written)
    assert read_measurements(tmp_path / "m.json") == written


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is no JSON; repeat"),
        ("[]", "no measurements file of version 1"),
        ('{"version": 2, "measurements": []}', "no measurements file of version 1"),
        (
            '{"version": 1, "measurements": [{"name": "top1"}]}',
            "one of its measurements is damaged",
        ),
        ('{"version": 1, "measurements": 3}', "measurements is damaged"),
    ],
)
def test_damaged_measurements_are_said(tmp_path, content, complaint):
    (tmp_path / "m.json").write_text(content)
    with pytest.raises(AugcompressError, match=complaint):
        read_measurements(tmp_path / "m.json")


def test_missing_measurements_are_said(tmp_path):
    with pytest.raises(AugcompressError, match="No such file or directory; repeat the stage"):
        read_measurements(tmp_path / "m.json")


@pytest.mark.parametrize(
    ("facts", "complaint"),
    [
        ({"value": float("nan")}, "finite number"),
        ({"value": float("inf")}, "finite number"),
        ({"value": 1.0, "low": 0.5}, "needs both low and high"),
        ({"value": 1.0, "low": 0.5, "high": 0.4}, "is above high"),
        ({"value": 1.0, "colour": "red"}, "Extra inputs"),
    ],
)
def test_senseless_measurements_are_refused(facts, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Measurement(name="top1", **facts)


def test_measurement_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        top1(0.9).value = 1.0


def test_run_result_prints_the_contracts_keys():
    stage = StageResult(
        name="distill", status="done", seconds=1.5, measurements=[top1(0.9)], notes=["a sentence"]
    )
    payload = json.loads(RunResult(run_dir="runs/a", stages=[stage]).to_json())
    assert list(payload) == ["version", "run_dir", "stages"]
    assert list(payload["stages"][0]) == ["name", "status", "seconds", "artifact", "measurements"]
    assert list(payload["stages"][0]["measurements"][0]) == KEYS


def test_predictions_come_back_exactly(tmp_path):
    predictions().save(tmp_path / "p.npz")
    found = Predictions.load(tmp_path / "p.npz")
    assert found.probabilities.dtype == np.float32
    assert found.labels.dtype == found.index.dtype == np.int64
    np.testing.assert_array_equal(found.probabilities, predictions().probabilities)
    np.testing.assert_array_equal(found.index, [7, 3, 5])


def test_equal_predictions_are_equal_bytes_and_numpy_reads_them(tmp_path, monkeypatch):
    predictions().save(tmp_path / "a.npz")
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    predictions().save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as arrays:
        names = ["classes", "data", "index", "labels", "probabilities", "split"]
        assert sorted(arrays) == names


def test_predictions_with_pickle_are_refused(tmp_path):
    objects = np.array([object()], dtype=object)
    np.savez(tmp_path / "p.npz", probabilities=objects, labels=objects, index=objects)
    with pytest.raises(AugcompressError, match="is no predictions file"):
        Predictions.load(tmp_path / "p.npz")


@pytest.mark.parametrize("keep", [0, 10, 300])
def test_truncated_predictions_are_said(tmp_path, keep):
    predictions().save(tmp_path / "p.npz")
    content = (tmp_path / "p.npz").read_bytes()
    (tmp_path / "p.npz").write_bytes(content[:keep])
    with pytest.raises(AugcompressError, match="is no predictions file"):
        Predictions.load(tmp_path / "p.npz")


def test_missing_predictions_are_said(tmp_path):
    with pytest.raises(AugcompressError, match="there is no such file"):
        Predictions.load(tmp_path / "p.npz")


def test_predictions_must_fit_each_other():
    with pytest.raises(ValueError, match="predictions need"):
        Predictions(np.zeros((3, 2)), np.zeros(2), np.zeros(3))


def test_headline_is_the_stages_own_top1_on_the_preferred_split():
    teacher = top1(0.99, conditions={"role": "teacher"})
    compared = top1(0.5, baseline="teacher")
    mine, validation = top1(0.9), top1(0.8, split="validation")
    found = [teacher, compared, validation, mine]
    assert headline(found) == mine
    assert headline(found, ("validation", "test")) == validation
    assert headline([teacher, compared]) is None
    assert own_measurements(found, "top1") == [validation, mine]


def test_silent_reporter_is_a_reporter():
    reporter: Reporter = SilentReporter()
    calls = [
        reporter.start("train", 3, "batch"),
        reporter.advance(1, loss=2.0),
        reporter.message("hello"),
        reporter.finish(),
    ]
    assert calls == [None] * 4


@pytest.mark.parametrize("module", ["evidence", "storage", "system", "render", "gate"])
def test_reading_records_loads_no_torch(module):
    code = f"import augcompress.{module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
