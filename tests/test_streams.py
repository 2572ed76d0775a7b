"""Standard output and error as people have them: full, closed, ASCII, read by nobody; and text that
would steer a terminal."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from end_to_end import invoke, write_recipe

from augcompress.cli import report_error
from augcompress.datasets import printable
from augcompress.errors import visible_text
from augcompress.evidence import Measurement, RunResult, StageResult, markdown_text
from augcompress.render import Renderer

COMMAND = f"{sys.executable} -m augcompress --help"
STREAMS = {
    "> /dev/full": (1, "error: standard output: No space left on device"),
    "2> /dev/full": (0, ""),
    "> /dev/full 2> /dev/full": (1, ""),
    ">&-": (0, ""),
    "2>&-": (0, ""),
    "<&- >&- 2>&-": (0, ""),
    "| true": (0, ""),
}
STEERING = "\x1b]0;own\x07 \x9b31m a\rb \u202etac \ud800"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_no_stream_ends_in_a_traceback(tmp_path):
    scripts = [f"{COMMAND} {stream}; echo $? >> codes" for stream in STREAMS]
    ascii_only = f"PYTHONIOENCODING=ascii {COMMAND}; echo $? >> codes"
    ignoring = f"(trap '' INT; {COMMAND}); echo $? >> codes"
    script = " & ".join([*scripts, ascii_only, ignoring]).replace(" & ", "\n")
    got = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    wanted = [code for code, _ in STREAMS.values()] + [0, 0]
    assert [int(line) for line in (tmp_path / "codes").read_text().split()] == wanted
    assert got.stderr.splitlines() == [
        f"{told}; make it accessible" for _, told in STREAMS.values() if told
    ]


def test_what_would_steer_a_terminal_is_written_as_codes():
    told = visible_text(STEERING)
    assert told == r"\x1b]0;own\x07 \x9b31m a\rb \u202etac \ud800"
    assert visible_text("line\n\tÄ 日本 e\u0301 \u2060") == "line\n\tÄ 日本 e\u0301 \u2060"
    assert markdown_text(STEERING).isprintable()


def test_labels_reach_no_terminal_raw(capsys):
    one = Measurement(name="recall", value=0.5, subject=STEERING, conditions={"under": STEERING})
    stage = StageResult(
        name="export", status="done", seconds=1, measurements=[one], notes=[STEERING]
    )
    for renderer in (Renderer(verbose=True), Renderer(quiet=True), Renderer(json=True)):
        renderer.result(RunResult(run_dir=STEERING, stages=[stage]))
        renderer.table(STEERING, [STEERING], [[STEERING]])
        renderer.text(STEERING)
        renderer.message(STEERING)
        renderer.reporter().message(STEERING)
    told = "".join(capsys.readouterr())
    assert not {c for c in told if not c.isprintable()} - {"\n"}


def test_a_label_is_one_line(capsys):
    Renderer().table("t", ["label"], [["a\nb"], ["c\td"]])
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines[-2:]] == [r"a\nb", r"c\td"]
    assert printable("a\nb \udce9 \x1b") == r"a\nb ? \x1b"  # as in the notes on data


@pytest.mark.parametrize("name", ["a" * 5000, "x/" * 3000])
def test_a_path_that_is_too_long_is_one_line(place, name):
    write_recipe(place)
    for command in (("run", "-r", name), ("run", "-r", "tiny.yaml", "--run-dir", name)):
        answer = invoke(*command)
        assert answer.code in (1, 2)
        assert "Traceback" not in answer.err
    assert answer.error


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate")]
)
def test_little_memory_is_no_bug(error, capsys):
    assert report_error(error) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: out of memory: ")
    assert line.endswith("; make batches or networks smaller")
