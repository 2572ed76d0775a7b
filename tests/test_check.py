"""`check`: a run judged from its files, and what continuous integration reads of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from augcompress.errors import AugcompressError
from augcompress.evidence import Limit
from augcompress.evidence.predictions import Predictions
from augcompress.evidence.records import ORDER, Measurement, Verdict, write_measurements
from augcompress.gate import check_run, integrity, junit, read_timing, shipped_file, summary
from augcompress.storage.runs import pipeline_of

GRAPH = b"a graph with weights"
RIGHT = 80  # of 100 test images


def row(name: str, value: float, role: str = "shipped", **facts: Any) -> Measurement:
    conditions = {"role": role} if role else {}
    better = facts.pop("better", "lower")
    return Measurement(name=name, value=value, better=better, conditions=conditions, **facts)


def top1(value: float, role: str = "shipped", split: str = "test") -> Measurement:
    ends = {"low": value - 0.08, "high": value + 0.07}
    return row("top1", value, role, split=split, better="higher", n=100, **ends)


def answers(wrong: range, data: str = "d1", count: int = 100, split: str = "test") -> Predictions:
    """Two classes; the images of `wrong` are answered wrongly."""
    labels = np.arange(count) % 2
    chosen = np.where(np.isin(np.arange(count), list(wrong)), 1 - labels, labels)
    index = np.arange(count)
    return Predictions(np.eye(2)[chosen], labels, index, ("a", "b"), split, data)


def write_stage(run: Path, name: str, artifact: str | None, rows: list[Measurement]) -> Path:
    """A finished stage in a run directory; its files are those that lie there already."""
    folder = run / name
    folder.mkdir(parents=True, exist_ok=True)
    write_measurements(folder / "measurements.json", rows)
    digest = hashlib.sha256((folder / artifact).read_bytes()).hexdigest() if artifact else ""
    if (folder / "model.json").exists():
        digest += hashlib.sha256((folder / "model.json").read_bytes()).hexdigest()
    paths = [path for path in folder.iterdir() if path.name != "stage.json"]
    record = {
        "version": 1,
        "stage": name,
        "key": "0" * 64,
        "artifact": artifact,
        "artifact_digest": digest,
        "seconds": 1.5,
        "notes": [],
        "environment": {},
        "files": {path.name: path.stat().st_size for path in paths},
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths},
    }
    (folder / "stage.json").write_text(json.dumps(record))
    return folder


def write_run(
    run: Path,
    graph: bytes = GRAPH,
    found: Predictions | None = None,
    rows: list[Measurement] | None = None,
) -> Path:
    """A run of three stages, `export` written first: the order of the files says nothing."""
    (run / "export").mkdir(parents=True)
    (run / "export" / "model.onnx").write_bytes(graph)
    (run / "export" / "bench.py").write_text("print(1)\n")
    (found or answers(range(100 - RIGHT))).save(run / "export" / "predictions.npz")
    sums = [(hashlib.sha256(graph), "model.onnx"), (hashlib.sha256(b"print(1)\n"), "bench.py")]
    text = "".join(f"{digest.hexdigest()}  {name}\n" for digest, name in sums)
    (run / "export" / "SHA256SUMS").write_text(text)
    shipped = [top1(0.8), row("size_bytes", 1000.0), row("latency_ms", 1.0, n=9, low=1, high=1)]
    write_stage(run, "export", "model.onnx", shipped if rows is None else rows)
    (run / "distill").mkdir()
    (run / "distill" / "model.safetensors").write_bytes(b"weights")
    (run / "distill" / "model.json").write_text("{}")
    write_stage(run, "distill", "model.safetensors", [top1(0.99, "", split="validation")])
    write_stage(run, "evaluate", None, [top1(0.2, "")])
    return run


@pytest.fixture
def run(tmp_path) -> Path:
    return write_run(tmp_path / "run")


def timing_rows(graph: bytes = GRAPH, other: bytes = b"teacher") -> list[dict[str, Any]]:
    """As bench.py writes them."""
    ours, theirs = (hashlib.sha256(content).hexdigest() for content in (graph, other))
    machine = {"threads": 1, "batch": 1, "cpu": "Cortex-A76"}
    common = {"unit": "ms", "better": "lower", "n": 12, "level": 0.95, "method": "student_t"}
    latency = {"name": "latency_ms", "split": None, "baseline": None, **common}
    return [
        {
            **common,
            "name": "speedup",
            "value": 4.0,
            "unit": "ratio",
            "better": "higher",
            "low": 3.9,
            "high": 4.1,
            "subject": "model.onnx",
            "baseline": "teacher.onnx",
            "conditions": {**machine, "file_sha256": ours, "baseline_sha256": theirs},
        },
        {**latency, "value": 2.0, "low": 1.9, "high": 2.1, "subject": "model.onnx"}
        | {"conditions": {**machine, "file_sha256": ours}},
        {**latency, "value": 8.0, "low": 7.9, "high": 8.1, "subject": "teacher.onnx"}
        | {"conditions": {**machine, "file_sha256": theirs}},
    ]


def write_timing(path: Path, rows: Any, version: Any = 1) -> Path:
    path.write_text(json.dumps({"version": version, "measurements": rows}))
    return path


def missed(verdicts: list[Verdict]) -> list[str]:
    return [one.limit for one in verdicts if not one.reached]


def notes(verdicts: list[Verdict]) -> str:
    return "; ".join(one.note for one in verdicts)


def test_a_run_passes_and_fails_when_one_limit_is_tightened(run):
    kept = [Limit(measure="top1", at_least=0.8), Limit(measure="size_bytes", at_most=1000)]
    assert missed(check_run(run, kept)) == []
    tightened = [kept[0], Limit(measure="size_bytes", at_most=999)]
    assert missed(check_run(run, tightened)) == ["size_bytes at most 999"]


def test_what_evaluate_measured_does_not_pass_for_the_export(run):
    (found,) = check_run(run, [Limit(measure="top1", at_least=0.5)])[-1:]
    assert found.actual == 0.8  # not evaluate's 0.2


def test_without_export_evaluate_counts(run):
    shutil.rmtree(run / "export")
    (found,) = check_run(run, [Limit(measure="top1", split="test", at_least=0.1)])[-1:]
    assert found.actual == 0.2


PRUNED_FIRST = ["train_teacher", "prune", "distill"]


def write_pruned_first(run: Path) -> Path:
    """A run that prunes before it distils, and exports nothing."""
    for name, value in zip(PRUNED_FIRST, (0.95, 0.8, 0.9), strict=True):
        (run / name).mkdir(parents=True)
        (run / name / "model.safetensors").write_bytes(name.encode())
        write_stage(run, name, "model.safetensors", [top1(value, "", split="validation")])
    (run / "spec.json").write_text(json.dumps({"pipeline": PRUNED_FIRST}))
    return run


def test_stages_are_judged_in_the_order_of_the_recipes_pipeline(tmp_path):
    run = write_pruned_first(tmp_path / "run")
    limit = Limit(measure="top1", baseline="previous", at_most_worse=0)
    (found,) = check_run(run, [limit])[-1:]
    assert found.value == pytest.approx(-0.1)  # distill against prune
    assert shipped_file(run) == run / "distill" / "model.safetensors"
    (run / "distill" / "model.safetensors").write_bytes(b"dystill")
    assert missed(integrity(run)) == [
        "every file is as it was written",
        "distill/model.safetensors is the file that was measured",
    ]


@pytest.mark.parametrize(
    ("text", "order"),
    [
        (json.dumps({"pipeline": PRUNED_FIRST}), tuple(PRUNED_FIRST)),
        (json.dumps({"pipeline": None}), ORDER),
        ("{}", ORDER),
        ("[]", ORDER),
        ("{", ORDER),
        (None, ORDER),
    ],
)
def test_the_order_of_a_runs_stages(tmp_path, text, order):
    if text is not None:
        (tmp_path / "spec.json").write_text(text)
    assert pipeline_of(tmp_path) == order


def test_a_graph_that_was_exported_beside_the_pipeline_ships(tmp_path):
    run = write_pruned_first(tmp_path / "run")
    (run / "export").mkdir()
    (run / "export" / "model.onnx").write_bytes(GRAPH)
    write_stage(run, "export", "model.onnx", [top1(0.7)])
    assert shipped_file(run) == run / "export" / "model.onnx"
    limit = Limit(measure="top1", at_least=0.5)
    assert check_run(run, [limit])[-1].actual == 0.7


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(AugcompressError, match="nowhere: no stage has finished here"):
        check_run(tmp_path / "nowhere", [])


def test_a_damaged_record_is_an_error(run):
    (run / "export" / "stage.json").write_text("{")
    with pytest.raises(AugcompressError, match=r"stage\.json: is damaged; repeat the stage"):
        check_run(run, [])
    assert "export/stage.json is damaged" in notes(integrity(run))


def test_an_unchanged_run_has_integrity(run):
    found = integrity(run)
    assert [one.limit for one in found] == [
        "every file is as it was written",
        "export/model.onnx is the file that was measured",
        "the files in export are those of SHA256SUMS",
    ]
    assert missed(found) == []
    assert {one.kind for one in found} == {"integrity"}


def test_one_changed_weight_is_caught(run):
    (run / "export" / "model.onnx").write_bytes(GRAPH.replace(b"weights", b"Weights"))
    found = integrity(run)
    assert missed(found) == [
        "every file is as it was written",
        "export/model.onnx is the file that was measured",
        "the files in export are those of SHA256SUMS",
    ]
    assert "export/model.onnx has changed since it was measured; repeat" in notes(found)


@pytest.mark.parametrize("name", ["measurements.json", "predictions.npz", "bench.py"])
@pytest.mark.parametrize("stage", ["export", "distill", "evaluate"])
def test_another_byte_in_any_file_is_caught(run, stage, name):
    path = run / stage / name
    if not path.exists():
        pytest.skip(f"{stage} writes no {name}")
    content, before = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    (found,) = [one for one in integrity(run) if one.limit == "every file is as it was written"]
    assert not found.reached
    assert f"{stage}/{name} has changed since it was written" in found.note


def test_changed_sizes_and_missing_files_are_caught(run):
    (run / "export" / "predictions.npz").unlink()
    (run / "distill" / "model.safetensors").write_bytes(b"other weights")
    found = integrity(run)
    assert missed(found) == ["every file is as it was written"]
    assert "export/predictions.npz is missing" in notes(found)
    assert "distill/model.safetensors has 13 bytes and was written with 7" in notes(found)


def test_a_missing_graph_is_caught(run):
    (run / "export" / "model.onnx").unlink()
    assert len(missed(integrity(run))) == 3


@pytest.mark.parametrize("line", ["hello", f"{'0' * 64}  ../spec.json", f"{'0' * 64}  /etc/hosts"])
def test_a_line_that_is_no_checksum_is_caught(run, line):
    sums = run / "export" / "SHA256SUMS"
    sums.write_text(sums.read_text() + line + "\n")
    assert "is no checksum" in notes(integrity(run))


def test_a_checkpoint_ships_where_nothing_was_exported(run):
    shutil.rmtree(run / "export")
    assert missed(integrity(run)) == []
    (run / "distill" / "model.json").write_text("[]")
    assert missed(integrity(run)) == [
        "every file is as it was written",
        "distill/model.safetensors is the file that was measured",
    ]
    assert "distill/model.json has changed" in notes(integrity(run))


def test_a_real_run_has_integrity_until_a_byte_changes(mine):
    run = mine / "runs" / "tiny"
    assert missed(integrity(run)) == []
    file = shipped_file(run)
    assert file == run / "export" / "model.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert "export/model.onnx is the file that was measured" in missed(integrity(run))


def test_timings_are_the_shipped_files_and_its_baselines(run, tmp_path):
    path = write_timing(tmp_path / "timing.json", timing_rows())
    found = read_timing(path, shipped_file(run))
    assert [(one.name, one.role, one.baseline) for one in found] == [
        ("speedup", "shipped", "teacher"),
        ("latency_ms", "shipped", None),
        ("latency_ms", "teacher", None),
    ]


def test_timings_come_before_the_runs_own(run, tmp_path):
    path = write_timing(tmp_path / "timing.json", timing_rows())
    limits = [
        Limit(measure="latency_ms", at_most=1.5),
        Limit(measure="latency_ms", baseline="teacher", times_better=3.9, bound="interval"),
        Limit(measure="latency_ms", baseline="teacher", at_least_better=6),
    ]
    assert missed(check_run(run, limits[:1])) == []
    assert missed(check_run(run, limits, timing_file=path)) == ["latency_ms at most 1.5"]


def test_a_timing_against_the_last_release_counts_as_the_reference(run, tmp_path):
    other = write_run(tmp_path / "last", graph=b"last release")
    path = write_timing(tmp_path / "timing.json", timing_rows(other=b"last release"))
    limits = [Limit(measure="latency_ms", baseline="reference", times_better=4)]
    found = check_run(run, limits, timing_file=path, reference_run=other)
    assert missed(found) == []


def test_a_timing_of_another_file_is_refused(run, tmp_path):
    path = write_timing(tmp_path / "timing.json", timing_rows(graph=b"another graph"))
    with pytest.raises(
        AugcompressError, match=r"timing\.json: was taken of another file than .*run"
    ):
        check_run(run, [], timing_file=path)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (None, "No such file"),
        ("{", "is no JSON"),
        ("[]", "is no measurements file of version 1"),
        ('{"version": 2}', "is no measurements file of version 1"),
        ('{"version": 1}', "holds no measurement"),
        ('{"version": 1, "measurements": 3}', "one of its measurements is damaged"),
        ('{"version": 1, "measurements": [{"name": "x"}]}', "one of its measurements is damaged"),
        (
            '{"version": 1, "measurements": [{"name": "latency_ms", "value": 1}]}',
            "does not say which file was timed",
        ),
    ],
)
def test_a_timing_that_cannot_be_read_is_refused(run, tmp_path, text, wrong):
    path = tmp_path / "timing.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(AugcompressError, match=wrong):
        read_timing(path, shipped_file(run))


def test_the_reference_is_compared_image_by_image(run, tmp_path):
    last = write_run(tmp_path / "last", found=answers(range(19)), rows=[top1(0.81)])
    limit = {"measure": "top1", "baseline": "reference", "bound": "interval"}
    (found,) = check_run(run, [Limit(**limit, at_most_worse=0.06)], reference_run=last)[
        -1:
    ]  # one image of 100 is lost, so Tango's interval is far narrower than Newcombe's
    assert found.reached
    assert found.value == pytest.approx(0.01)
    assert found.high == pytest.approx(0.0545, abs=1e-4)
    assert "paired interval on the same images (tango)" in found.note


def test_a_reference_on_other_images_is_refused_and_its_bytes_are_not(run, tmp_path):
    other = [top1(0.8), row("size_bytes", 2000.0)]
    last = write_run(tmp_path / "last", found=answers(range(20), data="d2"), rows=other)
    limits = [
        Limit(measure="top1", baseline="reference", at_most_worse=0.5),
        Limit(measure="size_bytes", baseline="reference", times_better=2),
    ]
    found = check_run(run, limits, reference_run=last)
    assert missed(found) == ["top1 at most 50 points worse than reference"]
    assert (
        "reference has no top1 on the same images: it was measured on other images; run:"
        " augcompress export in the reference run"
    ) in notes(found)


@pytest.mark.parametrize(
    ("whose", "content", "why"),
    [
        ("last", None, "last/export/predictions.npz: there is no such file; run the stage"),
        ("last", b"no zip", "last/export/predictions.npz: is no predictions file"),
        ("run", None, "run/export/predictions.npz: there is no such file"),
    ],
)
def test_a_reference_whose_images_are_not_known_is_not_compared_on_them(
    run, tmp_path, whose, content, why
):
    last = write_run(tmp_path / "last")
    path = tmp_path / whose / "export" / "predictions.npz"
    path.unlink() if content is None else path.write_bytes(content)
    limits = [
        Limit(measure="top1", baseline="reference", at_most_worse=0.2, bound="interval"),
        Limit(measure="top1_difference", baseline="reference", at_least=-0.2),
        Limit(measure="size_bytes", baseline="reference", at_most_worse=0),
    ]
    top1_verdict, difference, size = check_run(run, limits, reference_run=last)[-3:]
    assert not top1_verdict.reached
    assert "reference has no top1 on the same images: " in top1_verdict.note
    assert why in top1_verdict.note
    assert why in difference.note
    assert size.reached


def test_runs_that_export_nothing_are_compared_on_validation(tmp_path):
    ours, last = write_run(tmp_path / "run"), write_run(tmp_path / "last")
    for one, wrong in ((ours, 20), (last, 19)):
        shutil.rmtree(one / "export")
        answers(range(wrong), split="validation").save(one / "distill" / "predictions.npz")
    limit = Limit(measure="top1", baseline="reference", at_most_worse=0.02)
    (found,) = check_run(ours, [limit], reference_run=last)[-1:]
    assert (found.reached, found.value) == (True, pytest.approx(0.01))
    assert found.limit == "top1 on validation at most 2 points worse than reference"


def test_given_differences_come_before_computed_ones(run, tmp_path):
    last = write_run(tmp_path / "last")
    given = row("top1_difference", -0.3, better="higher", split="test", baseline="reference", n=9)
    limit = Limit(measure="top1", baseline="reference", at_most_worse=0.2)
    assert missed(check_run(run, [limit], reference_run=last)) == []
    assert len(missed(check_run(run, [limit], reference_run=last, extra=[given]))) == 1


def test_a_damaged_prediction_file_leaves_a_verdict(run, tmp_path):
    (run / "export" / "predictions.npz").write_bytes(b"no zip")
    found = check_run(run, [], reference_run=write_run(tmp_path / "last"))
    assert missed(found) == ["every file is as it was written"]


VERDICTS = [
    Verdict(limit="top1 at least 0.9", reached=True, actual=0.93, found="0.93", asked="≥ 0.9"),
    Verdict(
        limit='recall of a|b <"&> at least 0.5',
        reached=False,
        actual=0.4,
        wanted=0.5,
        found="0.4",
        asked="≥ 0.5",
        note="line\nbreak, bell \x07 and *stars*",
    ),
    Verdict(limit="the file is there", reached=True, kind="integrity"),
]


def test_junit_has_a_case_for_each_verdict():
    root = ElementTree.fromstring(junit(VERDICTS, "runs/x").encode())
    (suite,) = root.findall("testsuite")
    told = {name: suite.get(name) for name in ("name", "tests", "failures", "errors")}
    assert told == {"name": "runs/x", "tests": "3", "failures": "1", "errors": "0"}
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [one.limit for one in VERDICTS]
    assert {case.get("classname") for case in cases} == {"runs/x"}
    failures = [case.find("failure") for case in cases]
    assert [failure is not None for failure in failures] == [False, True, False]
    message = failures[1].get("message")
    assert message.startswith("found 0.4, wanted ≥ 0.5; line")
    assert "�" in message  # XML has no bell


def test_junit_of_nothing_is_an_empty_suite():
    (suite,) = ElementTree.fromstring(junit([], "x").encode()).findall("testsuite")
    assert suite.get("tests") == "0"


def test_the_summary_is_a_table_with_the_missed_first():
    lines = summary(VERDICTS, "check x", ["Top-1 | 93 %"]).splitlines()
    assert lines[0] == "## check x"
    assert "**1 of 3 missed**" in lines
    assert r"- Top-1 \| 93 %" in lines
    table = [line for line in lines if line.startswith("|")]
    assert table[2].startswith(r'| **missed** | recall of a\|b &lt;"&amp;> at least 0.5 | 0.4 |')
    assert r"line break, bell" in table[2]
    assert r"\*stars\*" in table[2]
    assert len(table) == 5
    unescaped = [line.replace(r"\|", "").count("|") for line in table]
    assert unescaped == [6] * 5


def test_a_summary_where_all_is_well_says_so():
    assert "All 1 reached." in summary(VERDICTS[:1], "x")
