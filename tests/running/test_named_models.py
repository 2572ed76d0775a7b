"""`--from` and `--teacher` take what `compare` takes: a run, a stage's folder, a file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from end_to_end import done, invoke

from augcompress.errors import AugcompressError
from augcompress.running import Context, Runner
from augcompress.spec import load
from augcompress.stages import STAGES
from augcompress.storage import RunDir, model_file, stand_in
from augcompress.system import SilentReporter

RUN = Path("runs/tiny")
NETWORK, SHIPPED, TEACHER = (
    f"{stage}/model.{suffix}"
    for stage, suffix in (
        ("prune", "safetensors"),
        ("export", "onnx"),
        ("train_teacher", "safetensors"),
    )
)


class Heard(SilentReporter):
    def __init__(self):
        self.messages = []

    def message(self, text):
        self.messages.append(text)


@pytest.mark.parametrize(
    ("stage", "option", "of_a_run"),
    [
        ("prune", "source", NETWORK),
        ("quantize", "source", NETWORK),
        ("distill", "source", NETWORK),
        ("distill", "teacher", NETWORK),
        ("export", "source", SHIPPED),
        ("evaluate", "source", SHIPPED),
    ],
)
def test_what_is_meant(mine, stage, option, of_a_run):
    for given, meant, said in (
        ("runs/tiny", of_a_run, [f"runs/tiny: {of_a_run} stands for the run"]),
        ("runs/tiny/train_teacher", TEACHER, []),
        (f"runs/tiny/{TEACHER}", TEACHER, []),
    ):
        heard = Heard()
        spec = load("tiny.yaml")[0]
        context = Context(spec, RunDir(RUN), reporter=heard, **{option: given})
        sources = Runner(context, STAGES, stage).sources
        for _ in range(2):
            found = sources.teacher() if option == "teacher" else sources.source(stage)
            assert (found.path, found.stage) == (RUN / meant, None)
        assert heard.messages == said


def test_an_unfinished_run_without_graphs(mine):
    for stage in ("quantize", "export"):
        shutil.rmtree(RUN / stage)
    told = f"{RUN}: {NETWORK} stands for the run; unfinished: quantize, export not done"
    assert stand_in(RUN) == stand_in(RUN, network=True) == told


def test_a_run_of_graphs_alone(mine):
    for stage in ("train_teacher", "distill", "prune"):
        shutil.rmtree(RUN / stage)
    assert model_file(RUN, network=True) == model_file(RUN) == RUN / SHIPPED


def test_no_model(mine):
    (mine / "empty").mkdir()
    for given, wrong in (
        ("absent", "absent: is no run, stage or model file; give runs/NAME, runs/NAME/STAGE or"),
        ("absent.pt", "absent.pt: no such file; check the path"),
        ("tiny.yaml", "tiny.yaml: is no run, stage or model file"),
        ("empty", "empty: no stage has finished here"),
        ("runs/tiny/augment", "runs/tiny/augment: this stage makes no model; name another"),
    ):
        with pytest.raises(AugcompressError, match=f"^{wrong}"):
            model_file(Path(given))
    answer = invoke("evaluate", "-r", "tiny.yaml", "--from", "runs/tiny/augment")
    assert (answer.code, "makes no model" in answer.error) == (1, True)


def test_on_the_command_line(mine):
    answer = done("evaluate", "-r", "tiny.yaml", "--from", RUN, "--json")
    assert f"{RUN}: {SHIPPED} stands for the run" in answer.err
    options = ("--set", "name=other", "--teacher", RUN / "train_teacher", "--json")
    done("distill", "-r", "tiny.yaml", *options)
    options = ("--set", "name=other", "--teacher", RUN / TEACHER, "--json")
    assert done("distill", "-r", "tiny.yaml", *options).stages == {"distill": "cached"}
