"""The commands compare, check, search and report on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from end_to_end import STAGES, TINY, done, invoke, training, write_recipe

from augcompress.datasets import Digits
from augcompress.training import loop

RUN = Path("runs/tiny")
KEPT = "limits=[{measure: top1, at_least: 0.001}, {measure: size_bytes, at_most: 1000000}]"
TIGHTENED = "limits=[{measure: top1, at_least: 0.001}, {measure: size_bytes, at_most: 10}]"


def test_check_passes_then_fails_with_3_after_a_limit_is_tightened(mine):
    assert done("check", RUN, "-r", "tiny.yaml", "--set", KEPT).code == 0
    answer = invoke("check", RUN, "-r", "tiny.yaml", "--set", TIGHTENED)
    assert answer.code == 3
    assert "size_bytes at most 10" in answer.error
    rows = [" ".join(line.split()) for line in answer.out.splitlines()]
    assert any(row.startswith("MISSED size_bytes at most 10") for row in rows)
    assert max(map(len, answer.out.splitlines())) <= 80


def test_check_writes_junit_and_appends_a_summary(mine):
    Path("summary.md").write_text("before\n")
    given = ("--junit", "check.xml", "--summary", "summary.md", "--json")
    answer = invoke("check", RUN, "-r", "tiny.yaml", "--set", TIGHTENED, *given)
    suite = ElementTree.parse("check.xml").getroot()[0]
    verdicts = json.loads(answer.out)["limits"]
    assert (int(suite.get("tests")), int(suite.get("failures"))) == (len(verdicts), 1)
    summary = Path("summary.md").read_text()
    assert summary.startswith("before\n## ")
    assert "Top-1 on test" in summary
    assert summary.count("**missed**") == 1


def test_check_of_a_measure_that_was_not_taken_says_what_is_near(mine):
    limit = "limits=[{measure: top5, split: validation, label: x, at_least: 0.5}]"
    answer = invoke("check", RUN, "-r", "tiny.yaml", "--set", limit)
    assert answer.code == 3
    assert "top5" in answer.out
    answer = invoke(
        "check", RUN, "-r", "tiny.yaml", "--set", "limits=[{measure: acc, at_least: 1}]"
    )
    assert (answer.code, answer.error) == (
        2,
        "error: limits.0.measure: unknown measure 'acc'; did you mean top1?",
    )


def test_check_finds_a_file_that_was_changed_after_it_was_measured(mine):
    path = RUN / "export/model.onnx"
    content = path.read_bytes()
    path.unlink()  # it is the store's own file
    path.write_bytes(content.replace(b"body", b"bodY", 1))
    answer = invoke("check", RUN, "-r", "tiny.yaml", "--set", KEPT)
    assert answer.code == 3
    assert "model.onnx" in answer.error


def test_check_takes_the_timing_of_the_target_device(mine):
    rows = json.loads((RUN / "export/measurements.json").read_text())["measurements"]
    latency = next(r for r in rows if r["name"] == "latency_ms" and r["subject"] == "model.onnx")
    quiet = {k: v for k, v in latency["conditions"].items() if k != "too_noisy"}
    told = {**latency, "conditions": quiet, "baseline": None}
    limit = ("--set", "limits=[{measure: latency_ms, at_most: 4}]", "--timing", "timing.json")
    for value, code in ((3.0, 0), (5.0, 3)):
        row = {**told, "value": value, "low": value - 0.1, "high": value + 0.1}
        Path("timing.json").write_text(json.dumps({"version": 1, "measurements": [row]}))
        assert invoke("check", RUN, "-r", "tiny.yaml", *limit).code == code


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("limits=[{measure: top1, at_lest: 1}]", "limits.0.at_lest: unknown key; did you mean"),
        ("limits=1", "limits: 1 is no list; put it in [ ]"),
        ("distil={}", "distil: unknown key; did you mean distill?"),
    ],
)
def test_check_refuses_a_recipe_that_is_wrong_anywhere(mine, change, said):
    answer = invoke("check", RUN, "-r", "tiny.yaml", "--set", change)
    assert answer.code == 2
    assert said in answer.error


def test_check_fails_where_the_recipe_is_not_the_one_that_was_run(mine):
    changed = ("--set", KEPT, "--set", "distill.training.epochs=9")
    answer = invoke("check", RUN, "-r", "tiny.yaml", *changed)
    assert answer.code == 3
    assert "other settings in distill; run it again, or --allow-other-settings" in answer.error
    done("check", RUN, "-r", "tiny.yaml", *changed, "--allow-other-settings")
    done("check", RUN, "-r", "tiny.yaml", "--set", KEPT, "--set", "evaluate.split=validation")
    (RUN / "spec.json").unlink()
    assert invoke("check", RUN, "-r", "tiny.yaml", "--set", KEPT).code == 3


def test_check_fails_where_a_stage_of_the_recipe_is_missing(mine):
    shutil.rmtree(RUN / "export")
    on_validation = "limits=[{measure: top1, at_least: 0.001}]"
    answer = invoke("check", RUN, "-r", "tiny.yaml", "--set", on_validation)
    assert answer.code == 3
    assert "every stage of the recipe is done (export not done; run:" in answer.error
    until = ("--set", "pipeline=[train_teacher, distill, prune, quantize]")
    allowed = invoke("check", RUN, "-r", "tiny.yaml", *until, "--set", on_validation)
    assert "other settings in pipeline" in allowed.error


@pytest.mark.parametrize("command", ["run", "distill"])
def test_check_fails_after_a_run_with_other_settings_has_failed(mine, command):
    changed = ("--set", KEPT, "--set", "distill.weights=nowhere.pt")
    assert invoke(command, "-r", "tiny.yaml", *changed).code == 1
    answer = invoke("check", RUN, "-r", "tiny.yaml", *changed)
    assert answer.code == 3
    assert "distill, prune, quantize, export not done" in answer.error
    assert invoke("check", RUN, "-r", "tiny.yaml", "--set", KEPT).code == 3
    assert (RUN / "export/model.onnx").is_file()
    done("report", RUN)
    page = (RUN / "report.html").read_text()
    assert "2 of 6 stages done" in page
    assert "Nothing ships yet" in page
    assert done("run", "-r", "tiny.yaml", "--json").stages == dict.fromkeys(STAGES, "cached")
    done("check", RUN, "-r", "tiny.yaml", "--set", KEPT)


def test_check_fails_where_a_later_stage_was_made_with_other_settings(mine):
    changed = ("--set", KEPT, "--set", "quantize.steps.0.percentile=99.0")
    assert done("prune", "-r", "tiny.yaml", *changed, "--json").stages == {"prune": "cached"}
    answer = invoke("check", RUN, "-r", "tiny.yaml", *changed)
    assert answer.code == 3
    assert "quantize, export not done" in answer.error
    done("quantize", "-r", "tiny.yaml", *changed)
    done("export", "-r", "tiny.yaml", *changed)
    done("check", RUN, "-r", "tiny.yaml", *changed)
    assert not (RUN / "pending.json").exists()


def test_report_of_a_run_with_its_limits(mine):
    write_recipe(mine, lambda r: r.update(limits=[{"measure": "top1", "at_least": 0.001}]))
    done("run", "-r", "tiny.yaml", "-q")
    answer = done("report", RUN)
    assert answer.out == f"{RUN / 'report.html'}\n"
    page = (RUN / "report.html").read_text()
    assert "top1 on test at least 0.1 %" in page
    assert done("report", RUN, RUN, "--to", "both.html").out == "both.html\n"


def test_report_of_no_run(mine):
    Path("empty").mkdir()
    answer = invoke("report", "empty")
    assert answer.code == 1
    assert "empty" in answer.error


def study(folder: Path) -> Path:
    def change(recipe):
        recipe |= {"name": "study", "data": TINY["data"] | {"subset": 200}, "augment": {}}
        recipe["distill"]["training"] = recipe["train_teacher"]["training"] = training(1)
        levels = {"off": {"distill.objectives": [{"kind": "labels"}]}, "on": {}}
        vary = {"teacher": levels, "distill.training.epochs": [1, 2]}
        recipe["search"] = {"vary": vary, "seeds": [0, 1], "until": "distill"}

    return write_recipe(folder, change)


def test_search_prints_its_table_and_knows_its_trials_as_runs(place):
    recipe = study(place)
    answer = done("search", "-r", recipe)
    for title in ("Main effects", "Interactions"):
        assert title in answer.out
    assert max(map(len, answer.out.splitlines())) <= 80
    again = json.loads(done("search", "-r", recipe, "--json").out)
    assert len(again["trials"]) == 8
    assert "study of 8 trials" in done("runs", "list").out
    planned = done("search", "-r", recipe, "--dry-run")
    assert "8 trials" in planned.out


def test_cleaning_keeps_the_stages_of_a_study_and_removes_it_by_name(place):
    recipe = study(place)
    done("search", "-r", recipe, "-q")
    store = Path("runs/.store")
    before = sorted(path.name for path in store.iterdir() if not path.name.startswith("."))
    done("runs", "clean")
    after = sorted(path.name for path in store.iterdir() if not path.name.startswith("."))
    assert before == after
    done("runs", "clean", "study")
    assert not Path("runs/study").exists()
    assert not [path for path in store.iterdir() if not path.name.startswith(".")]


@pytest.mark.parametrize("option", [("--from", "x.onnx"), ("--force",)])
def test_search_refuses_what_has_no_meaning_for_it(place, option):
    answer = invoke("search", "-r", study(place), *option)
    assert answer.code == 2
    assert option[0] in answer.error


def test_check_fails_after_a_run_on_other_data_has_failed(mine, monkeypatch):
    done("check", RUN, "-r", "tiny.yaml", "--set", KEPT)
    monkeypatch.setattr(Digits, "fingerprint", lambda self: "0" * 64)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop._Run, "one_step", interrupted)
    assert invoke("run", "-r", "tiny.yaml").code == 130
    answer = invoke("check", RUN, "-r", "tiny.yaml", "--set", KEPT)
    assert answer.code == 3
    assert "train_teacher, distill, prune, quantize, export not done" in answer.error


def test_a_licence_that_nobody_says_misses_its_limit_until_the_recipe_says_it(mine):
    """Weights of a file from elsewhere, which ship as they are: after the work, in check and on the
    card."""
    shutil.copy(RUN / "distill/model.safetensors", "foreign.safetensors")
    limit = "limits=[{measure: weights_licence, allow: [mit]}]"
    given = ("-r", "tiny.yaml", "--set", limit)
    telling = ("--set", "export.card.weights_license={foreign.safetensors: MIT}")
    for said, code in ((), 3), (telling, 0):
        exported = invoke("export", *given, *said, "--from", "foreign.safetensors")
        answer = invoke("check", RUN, *given, *said)
        assert (exported.code, answer.code) == (code, code), answer.err
        licence = "mit" if said else "unknown"
        assert f"foreign.safetensors: {licence}" in " ".join(answer.out.split())
        assert f"| foreign.safetensors: {licence} |" in (RUN / "export/MODEL_CARD.md").read_text()
