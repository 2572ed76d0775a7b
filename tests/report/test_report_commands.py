"""The page made from the command line, and the commands that stand on it."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from end_to_end import TINY, done, invoke, write_recipe
from PIL import Image

from augcompress.spec import load

RUN = Path("runs/tiny")
LIMITS = [
    {"measure": "top1", "at_least": 0.001},
    {"measure": "size_bytes", "baseline": "teacher", "times_better": 1.5},
]


def set_limits(run: Path) -> None:
    """As if the recipe had had them."""
    told = json.loads((run / "spec.json").read_text())
    (run / "spec.json").write_text(json.dumps(told | {"limits": LIMITS}))


def without_stages(run: Path, *names: str) -> None:
    for name in names:
        shutil.rmtree(run / name)


def summary_of(page: str) -> str:
    """The words of the opening."""
    text = re.search(r'<section id="summary".*?</section>', page, re.DOTALL)[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def commands_of(page: str) -> list[str]:
    """Every command on the page that starts with ours."""
    found = re.findall(r"<(?:code|pre)[^>]*>(augcompress [^<]+)</", page)
    return [html.unescape(one) for one in found]


def report(run: Path = RUN) -> str:
    done("report", run)
    return (run / "report.html").read_text(encoding="utf-8")


def test_a_run_that_was_interrupted_in_its_first_stage_gives_a_page(mine):
    without_stages(RUN, *(path.name for path in RUN.iterdir() if path.is_dir()))
    set_limits(RUN)
    opening = summary_of(report())
    assert "tiny: 0 of 6 stages done" in opening
    assert "not judged top1 at least 0.1 %" in opening
    assert "not judged size_bytes at least 1.5 times better than teacher" in opening


def test_a_half_finished_runs_limits_are_not_judged_by_its_teacher(mine):
    without_stages(RUN, "export", "quantize", "prune", "distill")
    set_limits(RUN)
    opening = summary_of(report())
    assert "not judged top1 at least 0.1 %" in opening
    assert "reached every file is as it was written found unchanged" in opening


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: "{", "spec.json: cannot be read"),
        (lambda told: "[]", "spec.json: holds no settings; give --recipe"),
        (
            lambda told: json.dumps({**told, "limits": [{"measure": "top1", "at_lest": 1}]}),
            "spec.json: limits.0.at_lest: unknown key; did you mean at_least?",
        ),
    ],
)
def test_limits_that_cannot_be_read_are_said_and_not_judged(mine, change, said):
    path = RUN / "spec.json"
    path.write_text(change(json.loads(path.read_text())))
    told = " ".join(done("report", RUN).err.split())
    assert f"note: {RUN}/{said}" in told


def test_a_finished_runs_limits_are_judged(mine):
    set_limits(RUN)
    opening = summary_of(report())
    assert "reached top1 on test at least 0.1 % found" in opening
    assert "missed size_bytes at least 1.5 times better than teacher found" in opening
    assert "reached export/model.onnx is the file that was measured found unchanged" in opening


def test_a_file_that_was_changed_shows_as_missed(mine):
    path = RUN / "export/model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)
    opening = summary_of(report())
    assert "missed export/model.onnx is the file that was measured found changed" in opening


def write_pictures(folder: Path) -> None:
    """Two classes of eight-pixel images."""
    generator = np.random.default_rng(0)
    for kind in ("train", "test"):
        for name in ("dark", "light"):
            (folder / kind / name).mkdir(parents=True)
            for number in range(20):
                pixels = generator.integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / kind / name / f"{number}.png")


def test_commands_on_the_page_mean_the_run_wherever_its_recipe_lay(place):
    recipes = place / "recipes"
    write_pictures(recipes / "pictures")
    data = {"kind": "image_folder", "root": "pictures", "size": [8, 8]}
    recipe = write_recipe(recipes, lambda r: r.update(data=data))
    done("augment", "-r", recipe, "--set", "seed=3", "--set", "augment.columns=2")
    with pytest.MonkeyPatch.context() as patch:
        page = report()
        patch.chdir(place / "runs")
        (again,) = [one for one in commands_of(page) if "tiny-again" in one]
        onward = next(one for one in commands_of(page) if one.endswith("--run-dir tiny"))
        for command in (again, onward):
            answer = done(*command.split()[1:], "--dry-run", "--json")
            status = {row["name"]: row["status"] for row in json.loads(answer.out)["stages"]}
            assert status["augment"] == "cached"
            assert status["train_teacher"] == "to do"


def test_a_finished_run_goes_on_from_its_own_settings(mine):
    before = json.loads((RUN / "spec.json").read_text())
    answer = done("run", "--recipe", RUN / "spec.json", "--run-dir", RUN, "--json")
    assert set(answer.stages.values()) == {"cached"}
    assert json.loads((RUN / "spec.json").read_text()) == before


def test_settings_that_a_run_keeps_are_a_recipe(place):
    vary = {
        "distill.training.optimizer.lr": [1e-5, 1e-7],
        "teacher": {"off": {"distill.objectives": [{"kind": "labels"}]}, "on": {}},
    }
    changes = {
        "search": {"vary": vary, "seeds": [0, 1], "control": {"teacher": "on"}},
        "limits": [{"measure": "recall", "label": "Ärmel 😀", "at_least": 1e-7}],
        "data": {"kind": "image_folder", "root": "pictures", "size": [8, 8]},
    }
    spec, _ = load(write_recipe(place, lambda r: r.update(changes)))
    (place / "runs" / "x").mkdir(parents=True)
    kept = place / "runs" / "x" / "spec.json"
    kept.write_text(spec.model_dump_json(indent=1) + "\n", encoding="utf-8")
    again, _ = load(kept)
    assert again == spec
    assert again.data.root == str(place / "pictures")
    assert TINY["name"] == again.name


def test_a_run_that_is_none_is_refused(place):
    Path("empty").mkdir()
    answer = invoke("report", "empty")
    assert answer.code == 1
    assert "empty: is no run of augcompress" in answer.error
