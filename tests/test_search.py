"""Studies: what is varied, what is shared, what the tables say, and how a study goes on."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from end_to_end import done, entries, files, invoke, write_recipe
from rich.console import Console
from scipy import stats

import augcompress
from augcompress.datasets.base import DatasetSettings
from augcompress.errors import AugcompressError, UsageError
from augcompress.evidence import MeasureName, statistics
from augcompress.evidence.predictions import Predictions
from augcompress.evidence.records import Measurement
from augcompress.render import plain_table
from augcompress.search import (
    plan_search,
    read_study,
    run_search,
    runner,
    study_notes,
    study_tables,
    trials_table,
)
from augcompress.search.analysis import analysed
from augcompress.search.measured import final_stage
from augcompress.search.strategies import Proposal
from augcompress.search.study import FactorLevels, Study, Trial
from augcompress.search.trial import TrialRunner
from augcompress.spec import GridSearch, load
from augcompress.storage.digests import digest_json
from augcompress.storage.run_directory import RunDir
from augcompress.system.reporter import SilentReporter

MIXUP = {"off": {}, "on": {"distill.augment": [{"kind": "mixup"}]}}
TEACHER = {"on": {}, "off": {"distill.objectives": [{"kind": "labels"}]}}
SEEDS = [0, 3]


def short(epochs):
    return {"epochs": epochs, "batch_size": 20, "optimizer": {"kind": "sgd", "lr": 0.1}}


def recipe(folder, **search) -> str:
    """The tiny recipe up to distill, with a study, in `folder`."""

    def change(raw):
        raw["data"]["subset"] = 200
        del raw["prune"], raw["quantize"]
        raw["train_teacher"]["training"] = raw["distill"]["training"] = short(2)
        raw["distill"]["student"]["widths"] = [4, 8]
        raw["search"] = {"until": "distill", **search}

    return str(write_recipe(folder, change))


def grid(folder, **search) -> str:
    """The study of mixup and a teacher."""
    return recipe(folder, **{"vary": {"mixup": MIXUP, "teacher": TEACHER}, "seeds": SEEDS} | search)


def searched(path, *overrides, reporter=None, **options) -> Study:
    """The study, run."""
    cpu = torch.device("cpu")
    return run_search(path, overrides, reporter=reporter or SilentReporter(), device=cpu, **options)


def timeless(folder) -> dict:
    """A `search.json` without its seconds."""

    def bare(value):
        if isinstance(value, dict):
            return {name: bare(each) for name, each in value.items() if name != "seconds"}
        return [bare(each) for each in value] if isinstance(value, list) else value

    return bare(json.loads((Path(folder) / "search.json").read_text()))


@pytest.fixture(scope="module")
def finished_study(tmp_path_factory):
    """A folder with the finished study of mixup and a teacher, and the study."""
    folder = tmp_path_factory.mktemp("study")
    with contextlib.chdir(folder):
        return folder, searched(grid(folder))


def on_disk(folder, name) -> float:
    """Validation top-1 of a trial, as its stage wrote it."""
    path = folder / "runs/tiny/trials" / name / "distill/measurements.json"
    rows = json.loads(path.read_text())["measurements"]
    return next(row["value"] for row in rows if row["name"] == "top1")


@pytest.fixture
def accuracies(finished_study):
    """`(seeds,)` of each cell, read from the trials' own files."""
    folder, _ = finished_study
    return {
        (mixup, teacher): np.array(
            [on_disk(folder, f"mixup-{mixup}.teacher-{teacher}.seed-{s}") for s in SEEDS]
        )
        for mixup in ("off", "on")
        for teacher in ("on", "off")
    }


def t_interval(values, level=0.95):
    """Student's t interval of the mean."""
    return stats.t.interval(level, len(values) - 1, np.mean(values), stats.sem(values))


def assert_is_t(change, values, among=1):
    """A change is the mean of these paired differences with Student's t interval, adjusted for so
    many changes, and p."""
    assert change.value == pytest.approx(values.mean())
    assert change.n == len(values)
    if np.ptp(values) < 1e-12:
        assert (change.low, change.high, change.p) == (None, None, None)
        return
    assert (change.low, change.high) == pytest.approx(t_interval(values, 1 - 0.05 / among))
    assert change.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_cells_are_means_over_seeds(finished_study, accuracies):
    _, study = finished_study
    assert [tuple(cell.levels.values()) for cell in study.cells] == list(accuracies)
    for cell in study.cells:
        found, values = cell.measurement, accuracies[tuple(cell.levels.values())]
        assert (found.name, found.split, found.n, cell.trials) == ("top1", "validation", 2, 2)
        assert found.value == pytest.approx(values.mean())
        if np.ptp(values) > 1e-12:
            assert (found.low, found.high) == pytest.approx(np.clip(t_interval(values), 0, 1))


def test_differences_are_paired_by_seed_with_the_control(finished_study, accuracies):
    _, study = finished_study
    control = accuracies["off", "on"]
    others = [name for name in accuracies if name != ("off", "on")]
    for name, change in zip(others, study.against_control, strict=True):
        assert tuple(change.of.values()) == name
        assert change.against == {"mixup": "off", "teacher": "on"}
        assert_is_t(change, accuracies[name] - control, among=3)


def test_main_effects_and_interaction_by_hand(finished_study, accuracies):
    _, study = finished_study
    a = accuracies
    mixup = (a["on", "on"] + a["on", "off"] - a["off", "on"] - a["off", "off"]) / 2
    teacher = (a["off", "off"] + a["on", "off"] - a["off", "on"] - a["on", "on"]) / 2
    assert [change.of for change in study.main_effects] == [{"mixup": "on"}, {"teacher": "off"}]
    assert_is_t(study.main_effects[0], mixup, among=2)
    assert_is_t(study.main_effects[1], teacher, among=2)
    (interaction,) = study.interactions
    assert interaction.of == {"mixup": "on", "teacher": "off"}
    both = (a["on", "off"] - a["off", "off"]) - (a["on", "on"] - a["off", "on"])
    assert_is_t(interaction, both)


def test_each_distinct_stage_is_done_once(finished_study):
    folder, study = finished_study
    counts = {
        stage: len(entries(folder / "runs/.store", stage))
        for stage in ("augment", "train_teacher", "distill")
    }
    assert counts == {"augment": 2, "train_teacher": 2, "distill": 8}
    assert study.done_now == len(study.stages) == sum(counts.values()) == 12
    assert len(entries(folder / "runs/.store")) == 12
    notes = study_notes(study)
    assert any("12 stages done once, 12 taken from the store" in note for note in notes)
    assert any(note.startswith("Main effect: ") for note in notes)


def test_a_trial_is_a_run_directory_and_a_recipe(finished_study):
    folder, study = finished_study
    run = folder / "runs/tiny" / study.trials[3].run_dir
    assert run.name == "mixup-on.teacher-off.seed-0"
    assert {path.name for path in run.iterdir()} == {
        *("recipe.yaml", "spec.json", "augment", "train_teacher", "distill")
    }
    spec, text = load(run / "recipe.yaml")
    assert text.startswith("# mixup-on.teacher-off.seed-0, a variant of ")
    assert [each.kind for each in spec.distill.augment] == ["mixup"]
    assert [each.kind for each in spec.distill.objectives] == ["labels"]
    assert spec.model_dump_json(indent=1) + "\n" == (run / "spec.json").read_text()


def test_second_call_does_nothing_and_says_the_same(finished_study, monkeypatch):
    folder, _ = finished_study
    monkeypatch.chdir(folder)
    before = (folder / "runs/tiny/search.json").read_bytes()

    def refuse(*_, **__):
        raise AssertionError("this was done twice")

    monkeypatch.setattr(DatasetSettings, "build", refuse)
    monkeypatch.setattr(torch.nn.Module, "__call__", refuse)
    assert searched("tiny.yaml").done_now == 0
    assert (folder / "runs/tiny/search.json").read_bytes() == before


def test_study_is_read_back(finished_study):
    folder, study = finished_study
    again = read_study(folder / "runs/tiny")
    assert again == study.model_copy(update={"done_now": 0})
    assert (again.complete, again.failures) == (True, [])
    with pytest.raises(AugcompressError, match=r"search\.json: .*; run: augcompress search"):
        read_study(folder)


def test_damaged_study_is_no_traceback(tmp_path):
    (tmp_path / "search.json").write_text('{"version": 2}')
    with pytest.raises(AugcompressError, match="is no study of version 1"):
        read_study(tmp_path)


def test_tables_fit_into_80_columns(finished_study):
    _, study = finished_study
    for title, columns, rows in [*study_tables(study), trials_table(study)]:
        out = io.StringIO()
        Console(file=out, width=80).print(plain_table("", columns, rows))
        lines = out.getvalue().rstrip().splitlines()
        assert len(lines) == len(rows) + 2, out.getvalue()  # nothing is folded
        assert title


def test_tables_of_a_factorial_study(finished_study):
    _, study = finished_study
    cells, effects, interactions = study_tables(study)
    assert cells[0] == "tiny: top1 on validation after distill"
    assert cells[1] == ["mixup", "teacher", "top1", "against control, points", "p"]
    assert cells[2][0][3:] == ["control", "–"]
    assert cells[2][0][2].endswith("n=2 seeds)")
    assert [row[0] for row in effects[2]] == ["mixup: on against off", "teacher: off against on"]
    assert [row[0] for row in interactions[2]] == ["mixup on × teacher off"]


def test_data_are_opened_once_a_seed(place, monkeypatch):
    opened, build = [], DatasetSettings.build

    def spy(self, facts):
        opened.append(facts.seed)
        return build(self, facts)

    monkeypatch.setattr(DatasetSettings, "build", spy)
    searched(grid(place))
    assert opened == SEEDS


class Interrupting(SilentReporter):
    """Presses Ctrl-C in the second epoch of a trial's distill."""

    def __init__(self, trial) -> None:
        self.trial, self.ahead, self.epochs, self.said = trial, "", 0, []

    def message(self, text):
        self.said.append(text)

    def start(self, title, total, unit, epochs=0):
        self.ahead = title

    def advance(self, n=1, **scores):
        here = any(text.startswith(f"trial {self.trial} of") for text in self.said)
        self.epochs += here and self.ahead == "distill" and bool(scores)
        if self.epochs == 2:
            raise KeyboardInterrupt


def test_killed_and_resumed_is_as_undisturbed(place, finished_study):
    path = grid(place)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        searched(path, reporter=Interrupting(4))
    half = read_study("runs/tiny")
    assert [trial.status for trial in half.trials] == ["done"] * 3 + ["waiting"] * 5
    assert [cell.trials for cell in half.cells] == [1, 1, 1, 0]
    assert half.cells[0].measurement.low is None
    assert half.main_effects[0].value is None
    assert any("5 trials are still to do" in note for note in study_notes(half))
    assert study_tables(half)[0][2][3][2] == "–"
    listener = Interrupting(-1)
    study = searched(path, reporter=listener)
    assert any(text.startswith("resuming distill at epoch 2") for text in listener.said)
    assert study.done_now == 12 - 5  # three distills, the teacher and its contact sheet
    assert timeless("runs/tiny") == timeless(finished_study[0] / "runs/tiny")
    assert len(entries(place / "runs/.store")) == 12


class Doubling:
    """A strategy that learns: it goes on from the seed that it was told of last."""

    def __init__(self, section) -> None:
        self.section, self.seed, self.told = section, 1, []

    def ask(self):
        if self.seed is None or len(self.told) == 3:
            return None
        levels, changes = {"mixup": "off"}, {"mixup": {}}
        name, self.seed = f"seed-{self.seed}", None
        return Proposal(name, levels, changes, int(name.removeprefix("seed-")))

    def tell(self, trial):
        self.told.append(trial.measurement.value)
        self.seed = 2 * trial.seed


def test_strategy_is_asked_told_and_asked_again_also_when_resumed(place, monkeypatch):
    made = []
    monkeypatch.setattr(runner, "strategy_of", lambda s: made.append(Doubling(s)) or made[-1])
    path = recipe(place, vary={"mixup": MIXUP}, seeds=[1, 2, 4])
    assert [trial.name for trial in plan_search(path).trials] == ["seed-1"]
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        searched(path, reporter=Killed(3))
    assert [trial.name for trial in read_study("runs/tiny").trials] == ["seed-1", "seed-2"]
    study = searched(path)
    assert [(trial.seed, trial.status) for trial in study.trials] == [
        *((1, "done"), (2, "done"), (4, "done"))
    ]
    assert made[-1].told == [trial.measurement.value for trial in study.trials]
    assert study.done_now == 3  # the third seed's pictures, teacher and student
    assert study.cells[0].trials == 3


def test_failed_trial_is_written_down_and_the_next_begins(place):
    rates = {"distill.training.optimizer.lr": [0.1, 1e30]}
    path = recipe(place, vary=rates, seeds=[0, 1])
    study = searched(path)
    assert [trial.status for trial in study.trials] == ["done", "failed"] * 2
    assert [trial.name for trial in study.failures] == ["lr-1e+30.seed-0", "lr-1e+30.seed-1"]
    assert "is not finite" in study.failures[0].error
    assert [cell.trials for cell in study.cells] == [2, 0]
    assert study.against_control[0].value is None
    assert not study.complete
    failed = [note for note in study_notes(study) if note.startswith("failed: ")]
    assert [note.partition(" distill: ")[0] for note in failed] == [
        "failed: lr-1e+30.seed-0:",
        "failed: lr-1e+30.seed-1:",
    ]
    assert study_tables(study)[0][2][1][1:] == ["–", "–", "–"]


class Killed(SilentReporter):
    """Presses Ctrl-C when a trial begins."""

    def __init__(self, trial) -> None:
        self.trial = trial

    def message(self, text):
        if text.startswith(f"trial {self.trial} of"):
            raise KeyboardInterrupt


def test_a_study_that_grows_and_is_killed_forgets_nothing(place):
    path = recipe(place, vary={"mixup": MIXUP}, seeds=[0])
    first = searched(path)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        searched(path, "search.seeds=[3, 0]", reporter=Killed(2))
    half = read_study("runs/tiny")
    assert [trial.seed for trial in half.trials] == [3, 3, 0, 0]
    assert [trial.status for trial in half.trials] == ["done", "waiting", "done", "done"]
    assert half.trials[2:] == first.trials
    assert [cell.trials for cell in half.cells] == [2, 1]


@pytest.mark.parametrize("change", ["distill.training.epochs=1", "search.measure=nll"])
def test_results_of_other_settings_are_not_taken_for_these(place, change):
    path = recipe(place, vary={"mixup": MIXUP})
    searched(path)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        searched(path, change, reporter=Killed(2))
    assert [trial.status for trial in read_study("runs/tiny").trials] == ["done", "waiting"]


def test_what_is_remembered_is_run_again(place, monkeypatch):
    path = recipe(place, vary={"mixup": MIXUP})
    searched(path)
    file = Path("runs/tiny/search.json")
    written = json.loads(file.read_text())
    told = written["trials"][1]["measurement"]
    file.write_text(json.dumps(written).replace(str(told["value"]), "0.123"))
    assert searched(path).trials[1].measurement.value == told["value"]
    assert read_study("runs/tiny").trials[1].measurement.value == told["value"]


def test_damaged_study_is_said_and_begun_anew(place):
    path = recipe(place, vary={"mixup": MIXUP})
    Path("runs/tiny").mkdir(parents=True)
    Path("runs/tiny/search.json").write_text("{}")
    listener = Interrupting(-1)
    assert searched(path, reporter=listener).complete
    assert any("is no study of version 1" in text for text in listener.said)


NO_BYTES = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory.\nTried 2 GiB"),
        RuntimeError(NO_BYTES),
    ],
)
def test_trial_without_memory_fails_and_the_next_begins(place, monkeypatch, error):
    carry_out = TrialRunner.carry_out

    def large(self, trial, variant, section):
        if trial.levels == {"mixup": "off"}:
            raise error
        return carry_out(self, trial, variant, section)

    monkeypatch.setattr(TrialRunner, "carry_out", large)
    study = searched(recipe(place, vary={"mixup": MIXUP}))
    assert [trial.status for trial in study.trials] == ["failed", "done"]
    assert study.failures[0].error.startswith("out of memory: ")
    assert "\n" not in study.failures[0].error


def test_bug_is_no_failed_trial(place, monkeypatch):
    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(TrialRunner, "carry_out", broken)
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        searched(recipe(place, vary={"mixup": MIXUP}))


def test_a_full_disk_ends_the_study_and_it_goes_on(place, monkeypatch):
    path = recipe(place, vary={"mixup": MIXUP})

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("augcompress.running.runner.write_measurements", full)
        with pytest.raises(AugcompressError, match=r"\.work-augment-\w+: disk full; free some"):
            searched(path)
    assert [trial.status for trial in searched(path).trials] == ["done"] * 2


@pytest.mark.parametrize(
    "search, message",
    [
        (
            {"vary": {"distill.trainin.epochs": [1, 2]}},
            r"^search\.vary\.distill\.trainin\.epochs: 1: distill\.trainin: unknown key; did you",
        ),
        (
            {"vary": {"mixup": {"off": {}, "on": {"distill.augment": [{"kind": "mixupp"}]}}}},
            r"^search\.vary\.mixup: on: distill\.augment\.0\.kind: unknown 'mixupp'; did you mean",
        ),
        (
            {"vary": {"mixup": MIXUP, "flip": {"no": {}, "yes": {"augment.pipeline.7.p": 1}}}},
            r"search\.vary\.flip: yes: augment\.pipeline\.7: the list has no such item",
        ),
        (
            {"vary": {"distill.training.epochs": [1, "many"]}},
            r"^search\.vary\.distill\.training\.epochs: many: .*epochs: .many. is no whole",
        ),
        (
            {"vary": {"a": {"x": {}, "y": {"distill.student": None}},
                      "b": {"x": {}, "y": {"distill.weights": "w.pt"}}}},
            r"^search: variant a y, b y: distill: weights are given and no student",
        ),
        (
            {"vary": {"distill.training.epochs": [1, 2]}, "until": "prune"},
            r"^search\.until: prune is not in the pipeline of variant distill\.training\.epochs 1",
        ),
        (
            {"vary": {"distill.training.epochs": [1, 2]}, "stage": "export"},
            r"^search\.stage: export is not among the stages run of variant",
        ),
        ({"vary": {"seed": [1, 2]}}, r"^search\.vary\.seed: seed is not for a factor; seeds,"),
        ({"vary": {"data.fold": [1, 2]}}, r"vary\.data\.fold: data\.fold is not for a factor"),
        (
            {"vary": {"one": MIXUP, "two": {"x": {}, "y": {"distill.augment": []}}}},
            r"vary: one and two both set distill\.augment",
        ),
        ({"vary": {"mixup": MIXUP}, "control": {"mixup": "of"}}, r"no such level; .*: off, on"),
        ({"vary": {"mixup": MIXUP}, "control": {"mix": "of"}}, r"no such factor; .*: mixup"),
        ({"vary": {"mixup": MIXUP}, "seeds": [1, 1]}, "seeds: one stands twice or is negative"),
        ({"vary": {"mixup": MIXUP}, "measure": "recall"}, "recall has a number for each class"),
        (
            {"vary": {"mixup": MIXUP}, "measure": "topp1"},
            r"^search\.measure: unknown measure 'topp1'; did you mean top1\?$",
        ),
        (
            {"vary": {"mixup": MIXUP}, "measure": "speedup"},
            r"^search\.measure: speedup compares two models; take latency_ms, a study compares",
        ),
        (
            {"vary": {"mixup": MIXUP}, "measure": "ece_scaled"},
            r"^search\.measure: ece_scaled is fitted on validation and measured on test; take ece,",
        ),
        ({"vary": {"data.subset": [100, 100]}}, "two levels are called alike"),
        ({"vary": {"data.subset": 100}}, "give a list of values, or levels by name"),
    ],
)  # fmt: skip
def test_wrong_study_stops_before_anything_is_done(place, search, message):
    path = recipe(place, **search)
    with pytest.raises(UsageError, match=message):
        searched(path)
    assert files(place) == {"tiny.yaml"}


def test_plugin_among_the_steps_may_bring_measures_of_its_own(place):
    plugin = {"steps": [{"kind": "plugin", "target": "own.steps:Mine"}]}
    levels = {"no": {}, "yes": {"prune": plugin}}
    with pytest.raises(UsageError, match=r"unknown measure 'holes'; known: top1, .*sparsity"):
        plan_search(recipe(place, vary={"own": levels}, measure="holes"))
    levels = {"a": {"prune": plugin}, "b": {"prune": plugin, "distill.augment": []}}
    assert plan_search(recipe(place, vary={"own": levels}, measure="holes")).measure == "holes"


def test_every_measurement_of_the_package_may_be_asked_for():
    package = Path(augcompress.__file__).parent
    rooms = ("compressions", "exporters", "graphs")
    files = [path for room in rooms for path in package.glob(f"{room}/*.py")]
    text = "".join(path.read_text() for path in files)
    written = set(re.findall(r"Measurement\(\s*name=\"(\w+)\"", text))
    assert {"macs_kept", "sparsity", "int8_kernels"} <= written
    assert written <= set(MeasureName)


WHOLE = ("augment", "train_teacher", "distill", "prune", "quantize", "export")


@pytest.mark.parametrize(
    "search, stages, last",
    [
        ({}, WHOLE, "quantize"),
        ({}, WHOLE[:4] + WHOLE[5:], "prune"),
        ({}, WHOLE[:3], "distill"),
        ({}, (*WHOLE, "evaluate"), "quantize"),
        ({"until": "distill"}, WHOLE, "distill"),
        ({"until": "export"}, WHOLE, "export"),
        ({"stage": "distill"}, WHOLE, "quantize"),
        ({"stage": "evaluate"}, WHOLE, "quantize"),
        ({"stage": "export"}, WHOLE, "export"),
        ({"stage": "evaluate"}, (*WHOLE, "evaluate"), "evaluate"),
        ({"split": "test"}, WHOLE, "export"),
        ({"split": "test", "folds": 3}, WHOLE, "quantize"),
        ({"folds": 3}, WHOLE, "quantize"),
        ({"measure": "latency_ms"}, WHOLE, "export"),
        ({"measure": "size_bytes"}, WHOLE, "quantize"),
        ({"measure": "size_bytes"}, WHOLE[:4] + WHOLE[5:], "export"),
        ({}, ("augment", "export"), "export"),
    ],
)
def test_variants_end_before_test_images_are_looked_at(search, stages, last):
    assert final_stage(GridSearch(vary={"data.subset": [1, 2]}, **search), stages) == last


def test_study_touches_no_test_images(place):
    study = searched(recipe(place, vary={"mixup": MIXUP}, until=None))
    assert study.complete
    assert entries(place / "runs/.store", "export") == []
    assert [use.name for use in study.trials[0].stages] == ["augment", "train_teacher", "distill"]


def test_recipe_without_a_study(place):
    with pytest.raises(UsageError, match=r"^search: the recipe has no such section; add one"):
        searched(str(write_recipe(place)))


def test_missing_data_stop_a_study_before_anything_is_done(place):
    path = grid(place)
    with pytest.raises(AugcompressError, match=r"absent\.npz: No such file"):
        searched(path, "data={kind: arrays, path: absent.npz}")
    assert not (place / "runs/tiny").exists()


def test_measure_that_no_stage_takes_names_those_there_are(place):
    path = recipe(place, vary={"mixup": MIXUP}, measure="sparsity")
    with pytest.raises(UsageError, match=r"in mixup-off\.seed-0; there are: .*macs.*top1") as error:
        searched(path)
    assert str(error.value).startswith("search.measure: no stage measures sparsity on validation")


def test_plan_validates_and_does_nothing(place):
    study = plan_search(grid(place))
    assert {trial.status for trial in study.trials} == {"waiting"}
    assert [trial.seed for trial in study.trials] == [0] * 4 + [3] * 4
    assert files(place) == {"tiny.yaml"}
    title, columns, rows = trials_table(study)
    assert title == "tiny: 8 trials"
    assert columns == ["mixup", "teacher", "seed", "status", "top1"]
    assert rows[0] == ["off", "on", 0, "waiting", "–"]


def test_smoke_shrinks_every_variant(place):
    study = searched(grid(place, seeds=[0]), smoke=True)
    assert study.name == "tiny-smoke"
    assert read_study("runs/tiny-smoke").complete
    spec = json.loads(Path("runs/tiny-smoke", study.trials[0].run_dir, "spec.json").read_text())
    assert spec["distill"]["training"]["epochs"] == 1


def test_second_process_is_told_that_the_study_is_being_run(place):
    path = grid(place)
    run = RunDir(Path("runs/tiny"))
    name = f"study-{digest_json(str(run.path.resolve()))[:16]}"
    with (
        run.store.lock(name, busy=""),
        pytest.raises(AugcompressError, match="another process is running this study; wait"),
    ):
        searched(path)


def test_levels_of_a_path_are_named_by_their_values(place):
    vary = {"augment.pipeline": [[], [{"kind": "affine"}]], "data.subset": [100, None, 0.5]}
    study = plan_search(recipe(place, vary=vary, control={"data.subset": None}))
    assert study.factors[1].levels == ["100", "null", "0.5"]
    assert study.control == {"augment.pipeline": "[]", "data.subset": "null"}
    names = [trial.name for trial in study.trials]
    assert names[:3] == [f"pipeline-_.subset-{each}.seed-0" for each in ("100", "null", "0.5")]
    assert len({name.lower() for name in names}) == 6


def test_folders_of_variants_differ_where_labels_look_alike(place):
    levels = {"a/b": {}, "a:b": {"data.subset": 100}, "A b": {"data.subset": 150}}
    study = plan_search(recipe(place, vary={"what": levels}))
    names = [trial.name for trial in study.trials]
    assert names == ["0-what-a_b.seed-0", "1-what-a_b.seed-0", "2-what-A_b.seed-0"]


def test_command_prints_the_table_and_json(finished_study, monkeypatch):
    monkeypatch.chdir(finished_study[0])
    told = json.loads(done("search", "-r", "tiny.yaml", "--json").out)
    assert told == json.loads(Path("runs/tiny/search.json").read_text())
    answer = done("search", "-r", "tiny.yaml")
    assert "tiny: top1 on validation after distill" in answer.out
    notes = answer.out[answer.out.index("Intervals: ") :].splitlines()
    assert len(notes) > 3
    assert [line for line in notes if line != line.rstrip()] == []
    assert "mixup on × teacher off" in answer.out
    assert "tiny: 8 trials" in done("search", "-r", "tiny.yaml", "--dry-run").out


def test_command_ends_with_1_when_a_trial_failed_and_2_when_a_variant_is_wrong(place):
    rates = {"distill.training.optimizer.lr": [0.1, 1e30]}
    recipe(place, vary=rates)
    answer = invoke("search", "-r", "tiny.yaml")
    assert answer.code == 1
    assert "lr-1e+30.seed-0" in answer.error
    assert "failed: lr-1e+30.seed-0: distill: loss" in answer.out
    answer = invoke("search", "-r", "tiny.yaml", "--set", "search.until=trim")
    assert (answer.code, answer.error[:20]) == (2, "error: search.until:")


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    """A finished cross-validation of a student's gain, and its folder."""
    folder = tmp_path_factory.mktemp("folded")
    with contextlib.chdir(folder):
        path = recipe(folder, vary={"teacher": TEACHER}, seeds=[0, 1], folds=3)
        return folder, searched(path, "distill.training.epochs=4")


def test_every_training_image_is_held_out_once_a_variant_and_seed(folded):
    folder, study = folded
    assert len(study.trials) == 2 * 2 * 3
    assert (study.split, study.complete) == ("test", True)
    for teacher, seed in (("on", 0), ("off", 1)):
        runs = [
            folder / f"runs/tiny/trials/teacher-{teacher}.seed-{seed}.fold-{k}" for k in range(3)
        ]
        held = [Predictions.load(run / "evaluate/predictions.npz") for run in runs]
        assert sum(len(each.labels) for each in held) == 1438
    for trial in study.trials:
        assert trial.stage == "evaluate"
        assert trial.measurement.split == "test"


def test_fold_intervals_are_corrected_for_shared_training_images(folded):
    _, study = folded
    values = {"on": np.zeros((2, 3)), "off": np.zeros((2, 3))}
    for trial in study.trials:
        values[trial.levels["teacher"]][trial.seed, trial.fold] = trial.measurement.value
    gain = (values["off"] - values["on"]).mean(axis=0)
    (change,) = study.against_control
    assert (change.method, change.n) == ("corrected_t", 3)
    assert change.value == pytest.approx(gain.mean())
    assert (change.low, change.high) == pytest.approx(statistics.corrected_t(gain))
    error = np.sqrt((1 / 3 + 1 / 2) * gain.var(ddof=1))
    assert change.p == pytest.approx(2 * stats.t.sf(abs(gain.mean() / error), 2))
    cell = study.cells[0].measurement
    assert (cell.low, cell.high) == pytest.approx(statistics.corrected_t(values["on"].mean(axis=0)))
    assert study_tables(study)[0][0] == "tiny: top1 on the parts held out after distill"
    assert len(study_tables(study)) == 1
    assert "paired by fold and seed" in study_notes(study)[0]
    assert not any(note.startswith("Main effect: ") for note in study_notes(study))


def test_stage_on_test_images_is_evaluated(place):
    path = recipe(place, vary={"mixup": MIXUP}, stage="train_teacher", split="test", measure="macs")
    study = searched(path, "search.measure=top1")
    assert {trial.stage for trial in study.trials} == {"evaluate"}
    assert study.trials[0].measurement == study.trials[1].measurement  # one teacher
    assert study.trials[0].measurement.split == "test"
    assert study.against_control[0].value == 0
    assert len(entries(place / "runs/.store", "evaluate")) == 1


def made(values, folds=None, **changes) -> Study:
    """A study of factors a and b, each off and on, from `(4, seeds, folds)` values."""
    values = np.asarray(values, float)
    values = values if folds else values[..., None]
    labels = [(a, b) for a in ("off", "on") for b in ("off", "on")]
    trials = [
        Trial(
            name=f"{a}{b}{seed}{fold}",
            levels={"a": a, "b": b},
            seed=seed,
            fold=fold if folds else None,
            run_dir="x",
            status="waiting" if np.isnan(value) else "done",
            stage="distill",
            measurement=None if np.isnan(value) else Measurement(name="top1", value=value),
        )
        for (a, b), rows in zip(labels, values, strict=True)
        for seed, row in enumerate(rows)
        for fold, value in enumerate(row)
    ]
    factors = [FactorLevels(name=name, levels=["off", "on"]) for name in "ab"]
    settings = {
        "name": "made",
        "measure": "top1",
        "split": "validation",
        "level": 0.9,
        "factors": factors,
        "control": {"a": "off", "b": "off"},
        "seeds": list(range(values.shape[1])),
        "folds": folds,
        "trials": trials,
    }
    return analysed(Study(**(settings | changes)))


FULL = [[0.70, 0.72, 0.74], [0.75, 0.78, 0.78], [0.71, 0.72, 0.77], [0.80, 0.84, 0.83]]


def test_missing_trial_leaves_its_seed_out_where_it_is_needed():
    values = np.array(FULL)
    values[3, 1] = np.nan
    study = made(values)
    assert [cell.trials for cell in study.cells] == [3, 3, 3, 2]
    assert [change.n for change in study.against_control] == [3, 3, 2]
    assert [change.n for change in (*study.main_effects, *study.interactions)] == [2, 2, 2]
    kept = values[:, [0, 2]]
    assert study.main_effects[0].value == pytest.approx((kept[2:] - kept[:2]).mean())
    assert study.against_control[2].value == pytest.approx((kept[3] - kept[0]).mean())


def test_control_changes_the_signs():
    study = made(FULL, control={"a": "on", "b": "off"})
    effect = study.main_effects[0]
    assert (effect.of, effect.against) == ({"a": "off"}, {"a": "on"})
    assert effect.value == pytest.approx(-made(FULL).main_effects[0].value)
    assert [tuple(change.of.values()) for change in study.against_control] == [
        *(("off", "off"), ("off", "on"), ("on", "on"))
    ]
    assert study_tables(study)[0][2][2][3] == "control"


def test_p_values_are_adjusted_within_a_table():
    study = made(FULL)
    p = [change.p for change in study.against_control]
    assert [c.p_adjusted for c in study.against_control] == pytest.approx(
        statistics.holm(p).tolist()
    )
    p = [change.p for change in study.main_effects]
    assert [c.p_adjusted for c in study.main_effects] == pytest.approx(statistics.holm(p).tolist())
    assert max(p) > min(p) > 0
    assert study.interactions[0].p_adjusted == study.interactions[0].p


def test_level_of_the_intervals():
    study = made(FULL)
    gain = np.subtract(FULL[1], FULL[0])
    change = study.against_control[0]
    assert change.level == 0.9
    assert (change.low, change.high) == pytest.approx(t_interval(gain, 1 - 0.1 / 3))


def test_replicates_without_spread_have_no_interval():
    study = made(np.array([[0.7] * 3, [0.8] * 3, [0.7] * 3, [0.8] * 3]))
    change = study.against_control[0]
    assert change.value == pytest.approx(0.1)
    assert (change.low, change.p, change.p_adjusted) == (None, None, None)
    assert study.cells[0].measurement.low is None
    assert study_tables(study)[0][2][1][2:] == ["80.0 % (n=3 seeds)", "+10.00", "–"]


def test_folds_are_averaged_over_the_seeds_that_are_there():
    values = np.random.default_rng(0).normal(0.8, 0.05, (4, 2, 3))
    values[1, 0, 2] = np.nan
    study = made(values, folds=3)
    gain = values[1] - values[0]
    by_fold = np.array([gain[:, 0].mean(), gain[:, 1].mean(), gain[1, 2]])
    assert study.against_control[0].value == pytest.approx(by_fold.mean())
    whole = ~np.isnan(values).any(axis=0)  # (seeds, folds) where every cell is there
    assert whole.sum() == 5
    effect = values[2:].mean(axis=0) - values[:2].mean(axis=0)
    by_fold = [effect[whole[:, fold], fold].mean() for fold in range(3)]
    assert study.main_effects[0].value == pytest.approx(np.mean(by_fold))
    low, high = statistics.corrected_t(np.array(by_fold), level=1 - 0.1 / 2)
    assert (study.main_effects[0].low, study.main_effects[0].high) == pytest.approx((low, high))


def test_one_seed_has_no_intervals_and_says_so():
    study = made(np.array(FULL)[:, :1])
    assert study_notes(study)[0].startswith("One seed: no intervals")
    assert study_tables(study)[1][2][0] == ["a: on against off", "+3.00", 1, "–"]


def test_other_units_keep_their_own():
    study = made(FULL)
    trials = [
        trial.model_copy(
            update={
                "measurement": Measurement(
                    name="size_bytes", value=trial.measurement.value * 1e5, unit="bytes"
                )
            }
        )
        for trial in study.trials
    ]
    study = analysed(study.model_copy(update={"trials": trials, "measure": "size_bytes"}))
    _, columns, rows = study_tables(study)[0]
    assert columns[3] == "against control"
    assert rows[1][3].startswith("+5 kB (+")
