"""What people and scripts see."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from augcompress.errors import AugcompressError
from augcompress.evidence import Measurement, RunResult, StageResult, Verdict
from augcompress.render import NullProgress, Renderer
from augcompress.render.shipped import shipped_rows
from augcompress.storage.runs import RunSummary
from augcompress.system import progress
from augcompress.system.progress import ConsoleProgress, _Bar
from augcompress.system.reporter import SilentReporter


def top1(value: float, split: str, role: str | None = None, n: int = 10_000) -> Measurement:
    return Measurement(
        name="top1",
        value=value,
        better="higher",
        n=n,
        low=value - 0.003,
        high=min(1.0, value + 0.003),
        method="wilson",
        split=split,
        subject="model.onnx",
        conditions={"role": role} if role else {},
    )


def fact(name: str, value: float, unit: str, role: str | None = None, **rest) -> Measurement:
    conditions = {"role": role} if role else {}
    return Measurement(name=name, value=value, unit=unit, conditions=conditions, **rest)


def costs(parameters: float, macs: float) -> list[Measurement]:
    return [
        fact("parameters", parameters, "parameters"),
        fact("macs", macs, "macs"),
        fact("size_bytes", 4 * parameters, "bytes"),
    ]


SHIPPED = "runs/fashion-mnist/export/model.onnx"
SHIPPED_FACTS = [
    top1(0.9311, "test", "shipped"),
    top1(0.9389, "test", "teacher"),
    fact("size_bytes", 81_234, "bytes", "shipped"),
    fact("size_bytes", 5.1e6, "bytes", "teacher", subject="train_teacher/model.onnx"),
    fact("latency_ms", 0.213, "ms", "shipped", n=100, low=0.20, high=0.22),
    fact("speedup", 4.21, "ratio", n=100, low=4.0, high=4.4, baseline="train_teacher/model.onnx"),
    fact("speedup", 1.91, "ratio", n=100, low=1.8, high=2.0, baseline="float"),
    fact("agreement", 0.991, "fraction", "shipped", n=500, low=0.98, high=0.995, baseline="float"),
]
RESULT = RunResult(
    run_dir="runs/fashion-mnist",
    stages=[
        StageResult(
            name="train_teacher",
            status="done",
            seconds=1234,
            artifact="runs/fashion-mnist/train_teacher/model.safetensors",
            measurements=[top1(0.9972, "validation"), *costs(1.274e6, 40.6e6)],
            notes=["12 images are in train and in test"],
        ),
        StageResult(
            name="distill",
            status="cached",
            seconds=0,
            measurements=[top1(0.9721, "validation", n=144), *costs(270_000, 12.5e6)],
        ),
        StageResult(
            name="export", status="done", seconds=3.2, artifact=SHIPPED, measurements=SHIPPED_FACTS
        ),
    ],
)
KEPT = "top1 at most 0.01 worse than teacher"
VERDICTS = [
    Verdict(limit=KEPT, reached=True, actual=0.0078, wanted=0.01, found="0.0078", asked="≤ 0.01"),
    Verdict(
        limit="speedup at least 5", reached=False, actual=4.21, wanted=5, found="4.21", asked="≥ 5"
    ),
    Verdict(limit="nll at most 1", reached=False, wanted=1, note="was not measured"),
]


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def rows(text: str) -> dict[str, str]:
    """Lines by their first word, blanks collapsed."""
    return {line.split()[0]: " ".join(line.split()) for line in text.splitlines() if line.strip()}


def test_result_fits_80_columns_with_one_line_a_stage(capsys):
    Renderer().result(RESULT, VERDICTS)
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 80
    found = rows(text)
    assert found["train_teacher"] == (
        "train_teacher done 21 min val 99.7 % (99.4–100, n=10000) 5.1 MB 1.27M/40.6M"
    )
    assert found["distill"] == ("distill cached val 97.2 % (96.9–97.5, n=144) 1.08 MB 270k/12.5M")
    assert found["export"].startswith("export done 3.2 s test 93.1 % (92.8–93.4, n=10000) 81.2 kB")
    assert "top-1 accuracy with its 95 % interval" in text


@pytest.mark.parametrize("columns", ["0", "1", "-3", "many", "1000000"])
def test_a_width_that_no_terminal_has_is_none(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    Renderer().result(RESULT, VERDICTS)
    assert "MACs: multiply-adds for one image." in " ".join(capsys.readouterr().out.split())


def test_widest_score_still_takes_one_line(capsys):
    widest = StageResult(
        name="train_teacher",
        status="done",
        seconds=5900,
        measurements=[top1(0.9999, "test", n=60_000), *costs(11.27e6, 40.6e6)],
    )
    Renderer().result(RunResult(run_dir="runs/a", stages=[widest]))
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("train_teacher")]
    assert "n=60000" in line
    assert "11.3M/40.6M" in line


def test_shipped_file_is_set_against_the_teacher(capsys):
    Renderer().result(RESULT)
    text = " ".join(capsys.readouterr().out.split())
    for words in (
        f"The shipped file: {SHIPPED}",
        "Top-1 on test 93.1 % (92.8–93.4, n=10000)",
        "Against the teacher 0.8 points below it; it has 93.9 % (93.6–94.2, n=10000)",
        "Size 81.2 kB, 62.8 times smaller than the teacher's 5.1 MB",
        "Speed 4.21 times as fast as the teacher (4–4.4, n=100 processes);"
        " 1.91 times as fast as the float network (1.8–2, n=100 processes)",
        "Agreement with float 99.1 % (98.0–99.5, n=500)",
    ):
        assert words in text


@pytest.mark.parametrize("low, high, word", [(-0.01, -0.002, "beyond"), (-0.01, 0.001, "within")])
def test_difference_says_whether_chance_explains_it(capsys, low, high, word):
    change = fact(
        "top1_difference", -0.005, "fraction", "shipped", low=low, high=high, baseline="teacher"
    )
    stage = RESULT.stages[2].model_copy(update={"measurements": [*SHIPPED_FACTS, change]})
    Renderer().result(RunResult(run_dir="runs/a", stages=[stage]))
    text = " ".join(capsys.readouterr().out.split())
    assert f"-0.50 points ({100 * low:+.2f} to {100 * high:+.2f}), {word} chance; it has" in text


def test_timing_that_is_too_noisy_says_so(capsys):
    noisy = SHIPPED_FACTS[5].model_copy(update={"conditions": {"too_noisy": True}})
    facts = [*SHIPPED_FACTS[:5], noisy]
    stage = RESULT.stages[2].model_copy(update={"measurements": facts})
    Renderer().result(RunResult(run_dir="runs/a", stages=[stage]))
    text = " ".join(capsys.readouterr().out.split())
    assert "Speed too noisy to say (measured: 4.21 times as fast as the teacher (4–4.4" in text


def test_nothing_shipped_shows_no_second_table(capsys):
    Renderer().result(RunResult(run_dir="runs/a", stages=RESULT.stages[:2]))
    assert "shipped file" not in capsys.readouterr().out


def test_verdicts_say_reached_and_missed(capsys):
    Renderer().verdicts(VERDICTS)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"reached {KEPT} 0.0078 ≤ 0.01" in lines
    assert "MISSED speedup at least 5 4.21 ≥ 5" in lines
    assert "MISSED nll at most 1: was not measured – –" in lines
    assert [line.split()[0] for line in lines[3:6]] == ["MISSED", "MISSED", "reached"]


def test_notes_go_to_standard_error(capsys):
    Renderer().result(RESULT)
    captured = capsys.readouterr()
    assert captured.err == "train_teacher: 12 images are in train and in test\n"
    assert "12 images" not in captured.out


def test_json_is_one_object_and_everything_else_goes_to_standard_error(capsys):
    Renderer(json=True).result(RESULT, VERDICTS)
    captured = capsys.readouterr()
    assert captured.out == RESULT.to_json() + "\n"
    assert json.loads(captured.out)["stages"][2]["artifact"] == SHIPPED
    assert "MISSED" in captured.err


def test_quiet_prints_each_artefact_and_nothing_else(capsys):
    Renderer(quiet=True).result(RESULT, VERDICTS)
    captured = capsys.readouterr()
    teacher = "runs/fashion-mnist/train_teacher/model.safetensors"
    assert (captured.out, captured.err) == (f"{teacher}\n{SHIPPED}\n", "")


def test_quiet_prints_nothing_without_artefact(capsys):
    Renderer(quiet=True).result(RunResult(run_dir="runs/a", stages=[RESULT.stages[1]]))
    assert capsys.readouterr().out == ""


def test_verbose_prints_every_measurement(capsys):
    Renderer(verbose=True).result(RESULT)
    text = capsys.readouterr().out
    assert "speedup vs float" in text
    assert text.count("macs") == 2


def test_a_long_path_is_never_wrapped(capsys):
    artifact = "runs/" + "a" * 120 + "/model.onnx"
    stage = StageResult(
        name="export", status="done", seconds=1, artifact=artifact, measurements=SHIPPED_FACTS
    )
    Renderer().result(RunResult(run_dir="runs/" + "a" * 120, stages=[stage]))
    assert artifact in capsys.readouterr().out


def test_verdicts_as_json(capsys):
    Renderer(json=True).verdicts(VERDICTS)
    payload = json.loads(capsys.readouterr().out)
    assert list(payload) == ["version", "limits"]
    first = payload["limits"][0]
    assert (first["limit"], first["reached"], first["actual"]) == (KEPT, True, 0.0078)
    assert set(first) == set(Verdict.model_fields)


SUMMARY = RunSummary("digits", ["train_teacher", "export"], top1(0.9, "test"), 123_456, 1.7e9)


def test_runs_as_table_json_and_names(capsys):
    Renderer().runs([SUMMARY])
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "123 kB" in text
    Renderer(json=True).runs([SUMMARY])
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert list(run) == ["name", "stages", "problem", "top1", "size_bytes", "modified"]
    Renderer(quiet=True).runs([SUMMARY])
    assert capsys.readouterr().out == "digits\n"


def test_no_runs_say_what_to_do(capsys):
    Renderer().runs([])
    assert "start one with: augcompress run" in capsys.readouterr().err


def test_any_table(capsys):
    Renderer().table("Recipes", ("Name", "Images"), [("digits [small]", 1797), ("cifar", None)])
    assert rows(capsys.readouterr().out)["digits"] == "digits [small] 1797"
    Renderer(json=True).table("Recipes", ("Name", "Images"), [("digits", 1797)])
    payload = json.loads(capsys.readouterr().out)
    assert payload == {
        "version": 1,
        "title": "Recipes",
        "rows": [{"Name": "digits", "Images": 1797}],
    }


def test_error_is_one_line_on_standard_error_in_every_mode(capsys):
    for settings in ({}, {"json": True}, {"quiet": True}):
        Renderer(**settings).error(AugcompressError("data[0]: is\nwrong; " + "mend it " * 20))
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: data[0]: is wrong; mend it")
        assert captured.err.count("\n") == 1


def test_error_is_red_on_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard")
    Renderer(err=console).error("a: b; c")
    assert "\x1b[1;31merror:" in console.file.getvalue()


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves: `clock[0]` seconds."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_plain_progress_has_a_line_an_epoch_and_one_every_ten_seconds(capsys, clock):
    progress = ConsoleProgress()
    progress.start("distill", 100, "batch", epochs=2)
    for step in range(1, 101):
        clock[0] += 0.3
        progress.advance(1)
        if step % 50 == 0:
            progress.advance(0, loss=1 / step, labels=0.3, validation=0.972)
    progress.message("a sentence")
    progress.finish()
    captured = capsys.readouterr()
    assert captured.out == ""
    rest = "loss 0.02, validation 97.2 %, 3.33 batches/s"
    assert captured.err.splitlines() == [
        "distill: epoch 1/2, 34/100 batches, 3.33 batches/s, 20 s left",
        f"distill: epoch 1/2, 50/100 batches, {rest}, 15 s left",
        f"distill: epoch 2/2, 84/100 batches, {rest}, 4.8 s left",
        "a sentence",
        "distill: 100 batches in 30 s, loss 0.01, validation 97.2 %",
    ]


def test_the_time_left_is_told_by_what_was_done_lately(capsys, clock):
    """The first images came from a cold disk."""
    progress = ConsoleProgress()
    progress.start("distill", 10_000, "batch")
    for seconds in (*[10.0] * 10, *[0.1] * 1000):
        clock[0] += seconds
        progress.advance(1)
    assert capsys.readouterr().err.splitlines()[-1].endswith(", 10 batches/s, 15 min left")


def test_plain_progress_of_unknown_length(capsys, clock):
    progress = ConsoleProgress()
    progress.start("hash", None, "image")
    clock[0] += 11
    progress.advance(12)
    clock[0] += 1
    progress.advance(12)
    progress.finish()
    assert capsys.readouterr().err.splitlines()[-1] == "hash: 24 images in 12 s"


def test_resumed_work_does_not_count_towards_the_speed(capsys, clock):
    progress = ConsoleProgress()
    progress.start("distill", 1000, "batch")
    progress.advance(900)
    clock[0] += 10
    progress.advance(10)
    assert "910/1000 batches, 1 batches/s, 90 s left" in capsys.readouterr().err


def test_verbose_progress_shows_every_score(capsys, clock):
    progress = ConsoleProgress(verbose=True)
    progress.start("distill", 10, "batch")
    clock[0] += 10
    progress.advance(1, labels=0.25, loss=0.5, validation=0.9)
    assert "labels 0.25, loss 0.5, validation 90.0 %" in capsys.readouterr().err


def terminal(width: int = 80, colours: str | None = None, **variables: str) -> Console:
    told = {"file": io.StringIO(), "width": width, "_environ": {"TERM": "xterm", **variables}}
    return Console(force_terminal=True, color_system=colours, **told)


CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
"""What moves a terminal's cursor or colours its text."""
WORDS = (
    "train_teacher train_teacher: epoch batches loss soft_targets validation batches/s % s min left"
    " in a long sentence about what is to be known"
)


@pytest.mark.parametrize(
    ("width", "variables"),
    [(24, {}), (40, {}), (80, {}), (500, {}), (80, {"NO_COLOR": "1"}), (80, {"TERM": "dumb"})],
)
def test_no_word_of_progress_is_broken_on_any_terminal(clock, width, variables):
    console = terminal(width, "auto", **variables)
    progress = ConsoleProgress(console, verbose=width > 80)
    progress.start("train_teacher", 12_000, "batch", epochs=30)
    for _ in range(25):
        clock[0] += 1
        progress.advance(80)
        progress.advance(0, loss=0.0123, soft_targets=1.5)
    progress.advance(0, loss=0.0123, validation=0.972)
    if isinstance(progress._shown, _Bar):
        progress._shown.progress.refresh()
    progress.message("a long sentence about what is to be known " * 5)
    progress.finish()
    written = console.file.getvalue()
    lines = [line.rstrip() for line in CONTROLS.sub("\n", written).split("\n")]
    assert max(map(len, lines)) <= min(width, 220)
    words = {word.strip("━╸╺,") for line in lines for word in line.split()}
    broken = words - {*WORDS.split(), ""}
    assert not {word for word in broken if not re.fullmatch(r"[\d.]+(/30|/12000)?", word)}
    assert ("\x1b[" in written) == (variables != {"TERM": "dumb"})
    assert bool(re.search(r"\x1b\[[\d;]+m", written)) == (not variables and width >= 80)
    shown = [set(re.split(r"[\s,]+", line)) for line in lines]
    if width >= 40:
        assert any("5/30" in line for line in shown)
    if width >= 80 and "TERM" not in variables:
        assert any({"epoch", "loss", "validation", "left"} <= line for line in shown)


def test_progress_on_a_terminal_is_a_bar_that_goes_away():
    console = terminal()
    progress = ConsoleProgress(console)
    progress.start("distill", 100, "batch")
    progress.advance(1, validation=0.972)
    progress.advance(49)
    progress.message("a [red] sentence")
    progress.finish()
    text = console.file.getvalue()
    assert "━" in text
    assert "validation 97.2 %" in text
    assert "a [red] sentence\n" in text
    assert text.rstrip().endswith("validation 97.2 %")
    assert "50/100 batches in" in text.splitlines()[-1]


def test_an_error_takes_the_bar_away_and_shows_the_cursor():
    console = terminal()
    renderer = Renderer(err=console)
    renderer.reporter().start("distill", 100, "batch")
    renderer.error("a: b; c")
    text = console.file.getvalue()
    assert "\x1b[?25h" in text
    assert text.endswith("error: a: b; c\n")


def test_progress_that_was_not_started_says_nothing(capsys):
    progress = ConsoleProgress()
    progress.advance(1)
    progress.finish()
    assert capsys.readouterr().err == ""


def test_quiet_reports_nothing(capsys):
    reporter = Renderer(quiet=True).reporter()
    reporter.start("distill", 1, "batch")
    reporter.advance(1)
    reporter.finish()
    assert isinstance(reporter, NullProgress)
    assert isinstance(reporter, SilentReporter)
    assert capsys.readouterr().err == ""


def test_agreement_is_that_on_test_or_says_its_images():
    agreed = {"unit": "fraction", "baseline": "float", "low": 0.9, "high": 1.0}
    before = fact("agreement", 1.0, role="shipped", n=144, split="validation", **agreed)
    stage = RESULT.stages[0].model_copy(update={"measurements": [before, *SHIPPED_FACTS]})
    rows = dict(shipped_rows([stage]))
    assert rows["Agreement with float"] == "99.1 % (98.0–99.5, n=500)"
    only = stage.model_copy(update={"measurements": [before, SHIPPED_FACTS[0]]})
    told = dict(shipped_rows([only]))["Agreement with float"]
    assert told == "100 % (90.0–100, n=144) on validation"
