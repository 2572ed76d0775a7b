"""What a study found: its trials, its cells, its effects; `search.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from augcompress.component import Section
from augcompress.errors import AugcompressError
from augcompress.evidence import Measurement

STUDY_FILE = "search.json"
STUDY_VERSION = 1
Status = Literal["waiting", "done", "failed"]


class StageUse(Section):
    """A stage that a trial consists of."""

    name: str
    key: str
    """Of its entry in the store: equal keys are one and the same piece of work."""
    seconds: float
    """Wall-clock time when it was done, be it by this trial or another."""


class Trial(Section):
    """One variant with one seed, and one fold where there are folds."""

    name: str
    levels: dict[str, str]
    """Level by factor."""
    seed: int
    fold: int | None = None
    """The part held out; None: no cross-validation."""
    run_dir: str
    """Relative to the study's directory."""
    digest: str | None = None
    """Of what decides its result: recipe, data, what is measured; None: only planned."""
    status: Status = "waiting"
    stage: str | None = None
    """Whose measurement it is."""
    measurement: Measurement | None = None
    """What the study compares."""
    seconds: float | None = None
    """All stages together, as if none were shared."""
    stages: list[StageUse] = Field(default_factory=list)
    error: str | None = None
    """Why it failed; None: it did not."""

    def unrun(self) -> Trial:
        """The trial as it was before it was run."""
        given = ("name", "levels", "seed", "fold", "run_dir", "digest")
        return Trial(**{name: getattr(self, name) for name in given})


class Cell(Section):
    """One variant over all its replicates."""

    levels: dict[str, str]
    trials: int
    """Trials that are done."""
    measurement: Measurement | None
    """The mean with its interval, n replicates; None: nothing is there yet."""


class Change(Section):
    """A mean paired difference, with its interval."""

    of: dict[str, str]
    """Levels of the cell, of the factor, or of the two factors."""
    against: dict[str, str]
    """The control's levels of the same factors."""
    value: float | None
    """In the measure's unit; None: nothing is there yet."""
    low: float | None
    high: float | None
    n: int
    """Replicates in which both sides are there."""
    level: float
    """Of all intervals of the same list together, after Bonferroni."""
    method: str
    """student_t, or corrected_t with folds."""
    p: float | None
    """Two-sided, of no difference, for this test alone; None: fewer than two replicates, or no
    spread among them."""
    p_adjusted: float | None
    """Adjusted after Holm for all tests of the same list."""


class FactorLevels(Section):
    """What was varied."""

    name: str
    levels: list[str]


class Study(Section):
    """A study, finished or not."""

    version: Literal[1] = 1
    name: str
    strategy: str = "grid"
    measure: str
    label: str | None = None
    """The class whose number it is; None: the measure has one number."""
    stage: str | None = None
    """The stage asked for; None: the last of each trial that has the measure."""
    split: str
    """validation or test; with folds, test is the part held out."""
    level: float
    """Confidence level."""
    factors: list[FactorLevels]
    control: dict[str, str]
    """Level by factor of the variant that all others are compared with."""
    seeds: list[int]
    folds: int | None = None
    trials: list[Trial]
    cells: list[Cell] = Field(default_factory=list)
    against_control: list[Change] = Field(default_factory=list)
    main_effects: list[Change] = Field(default_factory=list)
    interactions: list[Change] = Field(default_factory=list)
    done_now: int = Field(0, exclude=True)
    """Stages carried out by this call; not kept."""

    @property
    def variants(self) -> list[dict[str, str]]:
        """The cells' levels, in order."""
        names = [factor.name for factor in self.factors]
        every = product(*(factor.levels for factor in self.factors))
        return [dict(zip(names, labels, strict=True)) for labels in every]

    @property
    def failures(self) -> list[Trial]:
        """Trials that ended with an error."""
        return [trial for trial in self.trials if trial.status == "failed"]

    @property
    def complete(self) -> bool:
        """Whether every trial is done."""
        return all(trial.status == "done" for trial in self.trials)

    @property
    def stages(self) -> dict[tuple[str, str], float]:
        """Seconds of each distinct piece of work, by stage and key."""
        used = [stage for trial in self.trials for stage in trial.stages]
        return {(stage.name, stage.key): stage.seconds for stage in used}

    def with_trial(self, trial: Trial) -> Study:
        """The study with a trial in the place of the one of its name, else at the end."""
        trials = {one.name: one for one in self.trials} | {trial.name: trial}
        return self.model_copy(update={"trials": list(trials.values())})

    def to_json(self) -> str:
        """The content of `search.json`: equal studies are equal but for seconds."""
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False)


def cell_name(levels: Mapping[str, str]) -> str:
    """A cell in words: `mixup on, teacher off`."""
    return ", ".join(f"{factor} {label}" for factor, label in levels.items())


def read_study(folder: str | Path) -> Study:
    """The study that a directory holds, finished or not.

    Raises AugcompressError when there is none or it cannot be read.
    """
    path = Path(folder) / STUDY_FILE
    try:
        return Study.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AugcompressError(f"{path}: {error.strerror}; run: augcompress search") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise AugcompressError(
            f"{path}: is no study of version {STUDY_VERSION}; run augcompress search again"
        ) from error
