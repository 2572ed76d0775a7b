"""The command line beside the stages: help, plan, recipes, prediction, runs."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from end_to_end import STAGES, artifacts, done, files, invoke, write_recipe
from PIL import Image

from augcompress import __version__
from augcompress.datasets import DataFacts, Digits
from augcompress.evidence.predictions import Predictions

RUN = Path("runs/tiny")
GONE = "No such file or directory"
HELP = """
import contextlib, io, sys
import typer
from augcompress.cli import app

def walk(command, path):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = command.main([*path, "--help"], prog_name="augcompress", standalone_mode=False)
    heavy = sorted({"torch", "numpy", "onnxruntime", "onnx"} & set(sys.modules))
    print("|".join([" ".join(path), str(status or 0), str(len(out.getvalue())), ",".join(heavy)]))

def names(group, path=()):
    yield path
    for name, child in getattr(group, "commands", {}).items():
        yield from names(child, (*path, name))

root = typer.main.get_command(app)
for path in names(root):
    walk(root, path)
"""


def test_help_of_every_command_loads_nothing_heavy():
    found = subprocess.run(
        [sys.executable, "-c", HELP], capture_output=True, text=True, timeout=300
    )
    assert found.returncode == 0, found.stderr
    rows = list(csv.reader(found.stdout.splitlines(), delimiter="|"))
    known = {row[0] for row in rows}
    stages = {stage.replace("_", "-") for stage in STAGES}
    assert known >= {"", "run", "evaluate", "predict", "recipes", "init", "explain", *stages}
    assert known >= {"schema", "doctor", "runs", "runs list", "runs show", "runs clean"}
    for path, status, length, heavy in rows:
        assert (status, heavy) == ("0", ""), path
        assert int(length) > 100, path


def test_no_arguments_shows_the_help():
    answer = invoke()
    assert (
        "From labelled images to a small, fast, verified ONNX classifier" in answer.out + answer.err
    )


def test_shell_completion_is_there():
    assert "--install-completion" in invoke("--help").out


def test_unknown_option_is_a_usage_error():
    answer = invoke("run", "--recipee", "digits.yaml")
    assert answer.code == 2
    assert "there is no option" in answer.err


def test_dry_run_plans_and_does_nothing(place):
    write_recipe(place)
    answer = done("run", "-r", "tiny.yaml", "--dry-run", "--json")
    assert answer.stages == dict.fromkeys(STAGES, "to do")
    assert not (place / "runs").exists()
    assert "the recipe is valid" in done("run", "-r", "tiny.yaml", "--dry-run").out


def test_dry_run_knows_what_is_done(mine):
    answer = done("run", "-r", "tiny.yaml", "--dry-run", "--json", "--set", "prune.training=null")
    assert answer.stages == dict.fromkeys(STAGES[:3], "cached") | dict.fromkeys(STAGES[3:], "to do")


def test_recipes_are_listed_with_their_summaries():
    told = done("recipes").out
    assert "digits.yaml" in told
    assert "Handwritten digits" in told


def test_init_copies_a_recipe_once(place):
    assert done("init").out == "digits.yaml\n"
    done("run", "-r", "digits.yaml", "--dry-run")
    answer = invoke("init", "digits")
    assert (answer.code, "digits.yaml: is already there" in answer.error) == (1, True)
    assert done("init", "digits", "--to", "my.yaml").out == "my.yaml\n"
    assert (place / "my.yaml").read_bytes() == (place / "digits.yaml").read_bytes()
    answer = invoke("init", "digit.yaml")
    assert (answer.code, "did you mean digits.yaml?" in answer.error) == (2, True)


def test_schema_is_json_schema():
    told = json.loads(done("schema").out)
    assert told["properties"].keys() >= {"data", "train_teacher", "limits"}
    assert told["additionalProperties"] is False


def test_doctor_tells_versions():
    told = json.loads(done("doctor", "--json").out)["machine"]
    assert {"torch", "onnxruntime", "augcompress", "threads", "precision_auto"} <= set(told)
    assert "torch" in done("doctor").out


def test_runs_are_listed_shown_and_cleaned(mine):
    done("prune", "-r", "tiny.yaml", "--set", "prune.training=null", "--run-dir", "runs/second")
    listed = done("runs", "list").out
    assert "tiny" in listed
    assert "second" in listed
    shown = json.loads(done("runs", "show", "runs/tiny", "--json").out)
    assert [stage["name"] for stage in shown["stages"]] == list(STAGES)
    assert "Top-1 on test" in done("runs", "show", "runs/tiny").out
    before = artifacts(mine / RUN)
    assert "would free" in done("runs", "clean", "second", "--dry-run").out
    assert (mine / "runs" / "second").exists()
    assert done("runs", "clean", "second").out.startswith("freed")
    assert not (mine / "runs" / "second").exists()
    assert artifacts(mine / RUN) == before
    assert set(done("run", "-r", "tiny.yaml", "--json").stages.values()) == {"cached"}
    answer = invoke("runs", "clean", "third")
    assert (answer.code, "is no run; choose among: tiny" in answer.error) == (1, True)
    answer = invoke("runs", "show", "runs/third")
    assert (answer.code, "no stage has finished here" in answer.error) == (1, True)


@pytest.fixture
def pictures(tmp_path):
    """The first test images of the digits, as PNG files."""
    return saved_pictures("test", tmp_path)


def saved_pictures(split, folder):
    """The first images of a part of the digits, as PNG files."""
    part = getattr(Digits(validation=0.1, subset=300).build(DataFacts(seed=0)), split)
    paths = [folder / f"{number}.png" for number in range(12)]
    for path, pixels in zip(paths, part.fetch(np.arange(12)).numpy(), strict=True):
        Image.fromarray(pixels[0]).save(path)
    return paths


def test_a_users_file_stays_through_run_and_clean(mine):
    notes = [mine / RUN / stage / "notes.txt" for stage in ("export", "prune")]
    for path in notes:
        path.write_text("mine")
    assert set(done("run", "-r", "tiny.yaml", "--json").stages.values()) == {"cached"}
    change = ("--set", "distill.training.epochs=5")
    refused = invoke("run", "-r", "tiny.yaml", *change)
    assert refused.code == 1
    assert "runs/tiny/prune: holds files that augcompress did not write: notes.txt" in refused.error
    assert all(path.read_text() == "mine" for path in notes)
    kept = done("runs", "clean", "tiny").err
    assert "kept: " in kept
    found = sorted(path for path in (mine / RUN).rglob("*") if path.is_file())
    assert found == sorted(notes)
    assert all(path.relative_to(mine / RUN).as_posix() in kept for path in notes)


def test_changed_files_are_noticed(mine):
    path = mine / RUN / "export" / "measurements.json"
    written = path.read_bytes()
    path.unlink()  # so that the store's own stays
    path.write_bytes(written.replace(b'"top1"', b'"topA"'))
    checked = invoke("check", RUN, "-r", "tiny.yaml")
    assert checked.code == 3
    assert "export/measurements.json has changed since it was written" in checked.error
    assert "export/measurements.json has changed" in page_of(done("report", RUN).out)
    again = done("run", "-r", "tiny.yaml", "--json")
    assert set(again.stages.values()) == {"cached"}
    assert "export: measurements.json had been changed since export wrote it" in again.err
    assert path.read_bytes() == written
    assert done("check", RUN, "-r", "tiny.yaml").code == 0


def test_a_stage_is_not_judged_by_changed_files_of_another(mine):
    path = mine / RUN / "train_teacher" / "measurements.json"
    written = path.read_bytes()
    path.unlink()
    path.write_bytes(written.replace(b'"top1"', b'"topA"'))
    limit = ("--set", "limits=[{measure: top1, baseline: teacher, at_most_worse: 1}]")
    refused = invoke("export", "-r", "tiny.yaml", *limit)
    assert refused.code == 1
    assert "train_teacher/measurements.json: has changed since it was written" in refused.error


def test_a_recipe_of_the_users_own_is_not_overwritten(place):
    write_recipe(place)
    (place / "project").mkdir()
    (place / "project/recipe.yaml").write_text("mine")
    refused = invoke("train-teacher", "-r", "tiny.yaml", "--run-dir", "project")
    assert (refused.code, files(place / "project")) == (1, {"recipe.yaml"})
    assert "in a folder that is no run; use another --run-dir" in refused.error


def page_of(path: str) -> str:
    return " ".join(Path(path.strip()).read_text().split())


@pytest.mark.parametrize(
    ("given", "file"),
    [
        (RUN, "export/model.onnx"),
        (RUN / "export", "export/model.onnx"),
        (RUN / "quantize", "quantize/model.onnx"),
        (RUN / "distill", "distill/model.safetensors"),
        (RUN / "prune/model.safetensors", "prune/model.safetensors"),
    ],
)
def test_whatever_compare_takes_labels_as_it_did_in_the_run(mine, tmp_path, given, file):
    own = Predictions.load((mine / RUN / file).with_name("predictions.npz"))
    pictures = saved_pictures(own.split, tmp_path)
    answer = done("predict", given, *pictures, "--json", "--top", "3")
    said = f"predict: {RUN}: export/model.onnx stands for the run\n"
    assert answer.err == (said if given == RUN else "")
    told = json.loads(answer.out)
    assert told["model"] == str(RUN / file)
    rows, best = told["predictions"], own.probabilities[:12].max(1)
    assert [row["image"] for row in rows] == [str(path) for path in pictures]
    assert [row["labels"][0]["label"] for row in rows] == [str(each) for each in own.chosen[:12]]
    firsts = [row["labels"][0]["probability"] for row in rows]
    assert firsts == pytest.approx(best.tolist(), abs=1e-5)
    assert all(len(row["labels"]) == 3 for row in rows)


def test_one_bad_image_costs_one_line(mine, tmp_path, pictures):
    """Among several files, and folders at any depth, whose other files are not looked at."""
    (tmp_path / "more/inside").mkdir(parents=True)
    for path in pictures[1:3]:
        path.rename(tmp_path / "more/inside" / path.name)
    (tmp_path / "more/bad.png").write_bytes(b"no image")
    (tmp_path / "more/notes.txt").write_text("no image, and not called one")
    given, inside = (pictures[0], tmp_path / "more", "absent.png"), tmp_path / "more/inside"
    good = [pictures[0], inside / "1.png", inside / "2.png"]
    bad = f"error: {tmp_path}/more/bad.png: not a readable image ("
    for form in ("", "--csv", "--json"):
        answer = invoke("predict", RUN / "export", *given, *filter(None, [form]))
        assert answer.code == 1
        said = answer.err.splitlines()
        assert said[0].startswith(bad)
        if form == "--json":
            told = json.loads(answer.out)
            rows = told["predictions"]
            assert (told["status"], f"error: {told['error']}", len(said)) == ("failed", said[0], 1)
            assert [row["image"] for row in rows if "error" not in row] == [*map(str, good)]
            assert [row["labels"] for row in rows if "error" in row] == [[], []]
            continue
        assert said[1:] == [f"error: absent.png: not a readable image ({GONE}); give another file"]
        if form == "--csv":
            table = list(csv.DictReader(answer.out.splitlines()))
            assert [row["image"] for row in table] == [*map(str, good)]
            assert all(0.1 < float(row["probability"]) <= 1 for row in table)
        else:
            assert [line.split()[0] for line in answer.out.splitlines()[3:]] == [*map(str, good)]


def test_a_row_of_the_table_is_a_label(mine, pictures):
    answer = done("predict", RUN / "export", *pictures[:2], "--csv", "--top", "99")
    table = list(csv.DictReader(answer.out.splitlines()))
    assert [row["image"] for row in table] == [str(p) for p in pictures[:2] for _ in range(10)]
    assert {row["label"] for row in table[:10]} == {str(digit) for digit in range(10)}
    shares = [float(row["probability"]) for row in table[:10]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("runs/tiny/export", "bad.png"), 1, "bad.png: not a readable image"),
        (("runs/tiny/export", "runs/tiny/distill"), 1, "runs/tiny/distill: has no image in it"),
        (("bad.png", "good.png"), 1, "bad.png: is no ONNX file"),
        (("absent.onnx", "good.png"), 1, "absent.onnx: no such file"),
        (("runs/tiny/augment", "good.png"), 1, "augment: this stage makes no model"),
        (("bad.pt", "good.png"), 1, "bad.pt: is no checkpoint of augcompress"),
        (("runs/tiny", "good.png", "--csv", "--json"), 2, "leave one out"),
    ],
)
def test_prediction_of_what_is_no_image_or_no_model(mine, arguments, code, words):
    (mine / "bad.png").write_bytes(b"no image")
    (mine / "bad.pt").write_bytes(b"no weights")
    Image.new("L", (8, 8)).save("good.png")
    answer = invoke("predict", *arguments)
    assert (answer.code, words in answer.error) == (code, True)
    assert "labels" not in answer.out


def test_cuda_where_there_is_none(mine):
    answer = invoke("run", "-r", "tiny.yaml", "--device", "cuda")
    assert (answer.code, "torch finds no CUDA device here" in answer.error) == (2, True)


def test_options_that_are_short_for_settings(place):
    write_recipe(place)
    short = ("--seed", "3", "--epochs", "3", "--name", "other")
    done("train-teacher", "-r", "tiny.yaml", *short, "--set", "seed=4")
    told = json.loads(Path("runs/other/spec.json").read_text())
    assert told["seed"] == 4
    lengths = [told[name]["training"]["epochs"] for name in ("train_teacher", "distill", "prune")]
    assert lengths == [3, 3, 1]
    refused = invoke("search", "-r", "digits-study.yaml", "--epochs", "3")
    assert (refused.code, "search: there is no option --epochs" in refused.error) == (2, True)


def test_the_version_is_shown():
    answer = invoke("--version")
    assert (answer.code, answer.out) == (0, f"{__version__}\n")
