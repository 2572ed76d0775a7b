"""Trials carried out one after the other, with one store; what is done is written down at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from augcompress.errors import AugcompressError
from augcompress.search.analysis import analysed
from augcompress.search.bench import Bench
from augcompress.search.strategies import Grid
from augcompress.search.study import STUDY_FILE, FactorLevels, Study, Trial, read_study
from augcompress.search.variants import Template, Variant, build_all, check_sections
from augcompress.spec import GridSearch, read_raw
from augcompress.storage import RunDir, digest_json
from augcompress.system import Reporter


def plan_search(
    recipe: str, overrides: Sequence[str] = (), *, run_dir: Path | None = None, smoke: bool = False
) -> Study:
    """The study with all its trials waiting; every variant is validated, nothing is run.

    Raises UsageError naming the factor, the level and the field.
    """
    return _opened(recipe, overrides, run_dir, smoke).study


def run_search(
    recipe: str,
    overrides: Sequence[str] = (),
    *,
    run_dir: Path | None = None,
    reporter: Reporter,
    device: torch.device,
    smoke: bool = False,
    teacher: str | None = None,
) -> Study:
    """Every trial of the recipe's study, in the study's directory; the same call goes on after an
    interruption.  A trial that fails is written down with its error, and the next one begins.
    What an earlier call wrote down of the same trials stays until each is run again.

    Raises UsageError before anything trains when a variant is not valid, and AugcompressError when
    the data cannot be found or another process runs this study.
    """
    opened = _opened(recipe, overrides, run_dir, smoke)
    busy = f"{opened.run.path}: another process is running this study; wait for it"
    name = f"study-{digest_json(str(opened.run.path.resolve()))[:16]}"
    with opened.run.store.lock(name, busy=busy):
        bench = Bench(opened.run, recipe, device, reporter, smoke, teacher)
        bench.check_data(opened.variants)
        study = _remembered(opened, bench)
        opened.run.write_text("recipe.yaml", opened.text)
        return _perform(opened, bench, study)


@dataclass(frozen=True)
class _Opened:
    """A study's recipe, read and validated."""

    study: Study
    strategy: Grid
    variants: list[Variant]
    run: RunDir
    text: str


def _opened(recipe: str, overrides: Sequence[str], run_dir: Path | None, smoke: bool) -> _Opened:
    raw, text, base = read_raw(recipe, overrides)
    section = check_sections(raw, base)
    template = Template({k: v for k, v in raw.items() if k != "search"}, base, section, smoke)
    strategy = Grid(section)
    variants = build_all(template, strategy.proposals())
    name = variants[0].spec.name
    study = _waiting(name, section, [variant.proposal.waiting() for variant in variants])
    return _Opened(study, strategy, variants, RunDir(run_dir or Path("runs") / name), text)


def _waiting(name: str, section: GridSearch, trials: list[Trial]) -> Study:
    factors = [FactorLevels(name=f.name, levels=[e.label for e in f.levels]) for f in section.vary]
    return Study(
        name=name,
        strategy=section.strategy,
        measure=section.measure,
        label=section.label,
        stage=section.stage,
        split=section.measured_split,
        level=section.level,
        factors=factors,
        control=section.control_levels(),
        seeds=list(section.seeds),
        folds=section.folds,
        trials=trials,
    )


def _remembered(opened: _Opened, bench: Bench) -> Study:
    """The study, with what `search.json` knows of trials that are the same as then."""
    section, known = opened.strategy.section, dict[str, Trial]()
    if (opened.run.path / STUDY_FILE).exists():
        try:
            known = {trial.name: trial for trial in read_study(opened.run.path).trials}
        except AugcompressError as error:
            bench.reporter.message(f"note: {error}; starting a new one")
    trials = []
    for planned, variant in zip(opened.study.trials, opened.variants, strict=True):
        trial = planned.model_copy(update={"digest": bench.digest(variant, section)})
        before = known.get(trial.name, trial)
        trials.append(before if before.unrun() == trial else trial)
    return opened.study.model_copy(update={"trials": trials})


def _perform(opened: _Opened, bench: Bench, study: Study) -> Study:
    """All trials in order, those that are remembered too: from the store, what was done costs
    nothing.  `search.json` is written after each."""
    section = opened.strategy.section
    for place, variant in enumerate(opened.variants):
        trial = study.trials[place].unrun()
        bench.reporter.message(f"trial {place + 1} of {len(study.trials)}: {trial.name}")
        trial = bench.attempt(trial, variant, section)
        opened.strategy.tell(trial)
        trials = [*study.trials[:place], trial, *study.trials[place + 1 :]]
        study = study.model_copy(update={"trials": trials, "done_now": bench.done_now})
        study = analysed(study)
        opened.run.write_text(STUDY_FILE, study.to_json() + "\n")
    return study
