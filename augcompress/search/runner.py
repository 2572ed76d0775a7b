"""Trials carried out one after the other, with one store; what is done is written down at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from augcompress.errors import AugcompressError
from augcompress.raw import read_raw
from augcompress.search.analysis import analysed
from augcompress.search.strategies import proposed, strategy_of
from augcompress.search.study import STUDY_FILE, FactorLevels, Study, Trial, read_study
from augcompress.search.trial import TrialRunner
from augcompress.search.variants import Template, Variant, check_sections
from augcompress.spec import GridSearch
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
        trials = TrialRunner(opened.run, recipe, device, reporter, smoke, teacher)
        trials.check_data(opened.variants.values())
        study = _remembered(opened, trials)
        opened.run.write_text("recipe.yaml", opened.text)
        return _perform(opened, trials, study)


@dataclass(frozen=True)
class _Opened:
    """A study's recipe, read and validated."""

    study: Study
    template: Template
    variants: dict[str, Variant]
    """By trial: those that the strategy proposes before anything has run."""
    run: RunDir
    text: str


def _opened(recipe: str, overrides: Sequence[str], run_dir: Path | None, smoke: bool) -> _Opened:
    raw, text, base = read_raw(recipe, overrides)
    section = check_sections(raw, base)
    template = Template({k: v for k, v in raw.items() if k != "search"}, base, section, smoke)
    proposals = proposed(strategy_of(section))
    variants = {one.name: template.variant(one) for one in proposals}
    name = variants[proposals[0].name].spec.name
    study = _waiting(name, section, [one.waiting() for one in proposals])
    return _Opened(study, template, variants, RunDir(run_dir or Path("runs") / name), text)


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


def _remembered(opened: _Opened, trials: TrialRunner) -> Study:
    """The study, with what `search.json` knows of trials that are the same as then."""
    known = dict[str, Trial]()
    if (opened.run.path / STUDY_FILE).exists():
        try:
            known = {trial.name: trial for trial in read_study(opened.run.path).trials}
        except AugcompressError as error:
            trials.reporter.message(f"note: {error}; starting a new one")
    found = []
    for planned in opened.study.trials:
        digest = trials.digest(opened.variants[planned.name], opened.template.section)
        trial = planned.model_copy(update={"digest": digest})
        before = known.get(trial.name, trial)
        found.append(before if before.unrun() == trial else trial)
    return opened.study.model_copy(update={"trials": found})


def _perform(opened: _Opened, trials: TrialRunner, study: Study) -> Study:
    """Every trial that the strategy proposes, those that are remembered too: from the store, what
    was done costs nothing.  `search.json` is written after each."""
    section = opened.template.section
    strategy, began = strategy_of(section), 0
    while (proposal := strategy.ask()) is not None:
        variant = opened.variants.get(proposal.name) or opened.template.variant(proposal)
        digest = trials.digest(variant, section)
        trial = proposal.waiting().model_copy(update={"digest": digest})
        study, began = study.with_trial(trial), began + 1
        trials.reporter.message(f"trial {began} of {len(study.trials)}: {trial.name}")
        trial = trials.attempt(trial, variant, section)
        strategy.tell(trial)
        study = study.with_trial(trial)
        study = analysed(study.model_copy(update={"done_now": trials.done_now}))
        opened.run.write_text(STUDY_FILE, study.to_json() + "\n")
    return study
