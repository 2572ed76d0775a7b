"""What a command says beside its result: how it begins, what is to be known, what comes next."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from end_to_end import done, invoke, training, write_recipe

RUN = Path("runs/tiny")


def next_commands(answer) -> list[list[str]]:
    """The lines to paste, the last that were said."""
    lines = answer.err.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("next: "))
    assert all(line.startswith("      augcompress ") for line in lines[at + 1 :])
    return [shlex.split(line[6:])[1:] for line in lines[at:]]


@pytest.mark.parametrize(
    ("options", "judged"), [((), "tiny.yaml"), (("--set", "augment.columns=4"), RUN / "spec.json")]
)
def test_a_finished_run_ends_with_what_can_be_done_with_it(mine, options, judged):
    answer = done("run", "-r", "tiny.yaml", *options)
    assert answer.err.splitlines()[0] in {f"tiny: cpu, 1 thread, {p}" for p in ("fp32", "bf16")}
    report, label, check = next_commands(answer)
    assert label == ["predict", str(RUN / "export/model.onnx"), "IMAGE"]
    assert check == ["check", str(RUN), "--recipe", str(judged)]
    done(*check)
    done(*report)


def test_an_unfinished_one_with_how_to_go_on(place):
    (place / "my recipes").mkdir()
    recipe = write_recipe(place / "my recipes", lambda r: r["distill"].update(training=training(1)))
    options = ("--set", "train_teacher.training={epochs: 1}", "--seed", "3", "--run-dir", "a b")
    answer = done("train-teacher", "-r", recipe, *options)
    go_on, report = next_commands(answer)
    assert report == ["report", "a b"]
    assert go_on[:3] == ["run", "--recipe", str(recipe)]
    planned = done(*go_on, "--dry-run").out
    assert "train_teacher cached" in " ".join(planned.split())


@pytest.mark.parametrize("pipeline", ["[augment]", "[train_teacher]"])
def test_pipelines_that_ship_no_graph(place, pipeline):
    options = ("--set", f"pipeline={pipeline}", "--set", "train_teacher.training={epochs: 1}")
    commands = next_commands(done("run", "-r", write_recipe(place), *options))
    assert [words[0] for words in commands] == ["report", "check"]


def test_who_wants_results_alone_is_told_nothing(mine):
    assert done("run", "-r", "tiny.yaml", "-q").err == ""
    assert "next:" not in done("run", "-r", "tiny.yaml", "--json").err


def test_a_note_comes_once_a_run(place):
    def change(recipe):
        recipe["pipeline"] = ["augment", "train_teacher", "export"]
        recipe["train_teacher"]["training"] = training(1)

    sizes, classes = "data: 300 train, ", "data: training images by class: 0 ("
    first = done("augment", "-r", write_recipe(place, change)).err
    assert (first.count(sizes), first.count(classes)) == (1, 1)
    second = done("train-teacher", "-r", "tiny.yaml").err
    assert (second.count(sizes), second.count(classes)) == (1, 0)
    third = done("export", "-r", "tiny.yaml").err
    assert (third.count(sizes), third.count(classes)) == (1, 0)
    whole = done("run", "-r", "tiny.yaml", "--run-dir", "runs/new", "--force").err.splitlines()
    assert sorted(whole) == sorted(set(whole))
    assert sum(sizes in line for line in whole) == sum(classes in line for line in whole) == 1
    assert invoke("runs", "show", "runs/new").err.count(classes) == 1


def test_what_is_said_of_several_stages_names_them_all(mine):
    for record in RUN.glob("*/stage.json"):
        record.chmod(0o644)
        text = record.read_text().replace('"torch": "', '"torch": "9')
        for linked in (record, *Path("runs/.store").glob(f"{record.parent.name}-*/stage.json")):
            linked.unlink()
            linked.write_text(text)
    lines = [one for one in done("run", "-r", "tiny.yaml").err.splitlines() if "torch 9" in one]
    assert len(lines) == 1
    assert lines[0].startswith("augment, train_teacher, distill, prune, quantize, export: ")
