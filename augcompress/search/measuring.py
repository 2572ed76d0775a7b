"""`augment --measure`: what each augmentation does to the student, by leaving it out or adding it.

A study with one factor: the pipeline as it is, without each of its augmentations, and with each
candidate, every variant with every seed, briefly, on labels alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from augcompress.errors import UsageError
from augcompress.evidence import percent
from augcompress.running import Context
from augcompress.search.runner import plan_search, run_search
from augcompress.search.study import Change, Study
from augcompress.search.tables import Table, change_text
from augcompress.spec import Spec, load
from augcompress.storage import RunDir
from augcompress.system import Reporter
from augcompress.training import Training, of_another_length

FACTOR, AS_IT_IS = "augmentation", "as it is"
WITHOUT, WITH = "without ", "with "
SUFFIX = "-measure"
CANDIDATES = (
    "random_crop",
    "horizontal_flip",
    "affine",
    "elastic",
    "gaussian_blur",
    "gaussian_noise",
    "color_jitter",
    "random_erasing",
    "mixup",
    "cutmix",
    "rand_augment",
    "trivial_augment",
)
"""What is tried where the recipe names no candidates: some of each family, as their papers set
them."""
CROPPED = 8
"""The random crop is padded by the image's side divided by this, as 4 pixels are at 32."""


@dataclass(frozen=True)
class Effect:
    """What one augmentation does for the student."""

    augmentation: str
    in_recipe: bool
    change: Change
    """With it against without it: above 0 it helps."""


def plan_measure(
    recipe: str, overrides: Sequence[str] = (), *, run_dir: Path | None = None, smoke: bool = False
) -> Study:
    """The study with all its trials waiting; every variant is validated, nothing is run."""
    spec, _ = load(recipe, overrides, smoke=smoke)
    settings = [*overrides, *study_settings(spec)]
    return plan_search(recipe, settings, run_dir=_folder(spec, run_dir), smoke=smoke)


def run_measure(
    recipe: str,
    overrides: Sequence[str] = (),
    *,
    run_dir: Path | None = None,
    reporter: Reporter,
    device: torch.device,
    smoke: bool = False,
) -> Study:
    """Train every variant, in a study's directory beside the run; the same call goes on after an
    interruption.

    Raises UsageError when the recipe trains no network, or a candidate is not valid.
    """
    spec, _ = load(recipe, overrides, smoke=smoke)
    folder = _folder(spec, run_dir)
    data = Context(spec, RunDir(folder), recipe, reporter=reporter).data
    return run_search(
        recipe,
        [*overrides, *study_settings(spec, len(data.train), max(data.size))],
        run_dir=folder,
        reporter=reporter,
        device=device,
        smoke=smoke,
    )


def study_settings(spec: Spec, images: int | None = None, side: int | None = None) -> list[str]:
    """The overrides that turn a recipe into the study, for so many training images of such a side;
    None: not known yet."""
    stage, measure = trained_stage(spec), spec.augment.measure
    labels = [{"kind": "labels"}]
    changes = {
        "pipeline": [stage],
        f"{stage}.objectives": labels,
        **shortened(f"{stage}.training", getattr(spec, stage).training, measure.epochs),
        "limits": [],
        "search": {
            "vary": {FACTOR: levels(spec, stage, side)},
            "seeds": list(measure.seeds),
            "until": stage,
        },
    }
    if images is not None and images > measure.subset:
        place = "data.options.subset" if spec.data.kind == "plugin" else "data.subset"
        changes[place] = measure.subset
    return [f"{path}={json.dumps(value)}" for path, value in changes.items()]


def shortened(place: str, training: Training, epochs: int) -> dict[str, Any]:
    """The overrides that make a training at `place` so many epochs long."""
    own = training.model_dump(mode="json")
    changed = of_another_length(own, epochs)
    differing = {k: value for k, value in changed.items() if value != own[k]} | {"epochs": epochs}
    return {f"{place}.{key}": value for key, value in differing.items()}


def trained_stage(spec: Spec) -> str:
    """The stage whose network is trained: the student's, else the teacher's.

    Raises UsageError when there is neither.
    """
    if spec.distill is not None and spec.distill.student is not None:
        return "distill"
    if spec.train_teacher is not None and spec.train_teacher.training is not None:
        return "train_teacher"
    raise UsageError(
        "augment --measure: the recipe trains no network from its start; give it distill.student,"
        " or train_teacher with training"
    )


def levels(spec: Spec, stage: str, side: int | None = None) -> dict[str, dict[str, Any]]:
    """Fields by variant: the pipeline as it is, without each augmentation, with each candidate."""
    present = [each.model_dump(mode="json") for each in spec.augmentations(stage)]
    found: dict[str, list[Any]] = {AS_IT_IS: present}
    for name, place in zip(names_of(present), range(len(present)), strict=True):
        found[WITHOUT + name] = present[:place] + present[place + 1 :]
    tried = candidates(spec, {each["kind"] for each in present}, side)
    for name, setting in zip(names_of(tried), tried, strict=True):
        found[WITH + name] = [*present, setting]
    return {name: {f"{stage}.augment": settings} for name, settings in found.items()}


def candidates(spec: Spec, present: set[str], side: int | None) -> list[dict[str, Any]]:
    """The recipe's candidates, else common ones that the pipeline does not have."""
    given = spec.augment.measure.candidates
    if given is not None:
        return [each.model_dump(mode="json") for each in given]
    fitted = {} if side is None else {"random_crop": {"padding": max(1, round(side / CROPPED))}}
    return [{"kind": kind, **fitted.get(kind, {})} for kind in CANDIDATES if kind not in present]


def names_of(settings: Sequence[dict[str, Any]]) -> list[str]:
    """The kinds, numbered from 1 where a kind stands more than once."""
    kinds = [each["kind"] for each in settings]
    return [
        f"{kind} {kinds[: place + 1].count(kind)}" if kinds.count(kind) > 1 else kind
        for place, kind in enumerate(kinds)
    ]


def effects(study: Study) -> list[Effect]:
    """What each augmentation does, the most helpful first; those without a number last."""
    found = []
    for change in study.against_control:
        label = change.of[FACTOR]
        if label.startswith(WITHOUT):
            found.append(Effect(label.removeprefix(WITHOUT), True, reversed_change(change)))
        else:
            found.append(Effect(label.removeprefix(WITH), False, change))
    return sorted(found, key=lambda one: (one.change.value is None, -(one.change.value or 0.0)))


def reversed_change(change: Change) -> Change:
    """The change of going back."""
    value, low, high = (
        None if number is None else -number for number in (change.value, change.high, change.low)
    )
    return change.model_copy(update={"value": value, "low": low, "high": high})


def measure_table(study: Study) -> Table:
    """One row an augmentation."""
    rows = [
        [
            one.augmentation,
            "in it" if one.in_recipe else "added",
            change_text(one.change, "fraction"),
            _p_text(one.change),
            verdict(one.change),
        ]
        for one in effects(study)
    ]
    columns = ["augmentation", "pipeline", f"effect on {study.measure}, points", "p", "verdict"]
    return f"{study.name}: what each augmentation does, on {study.split}", columns, rows


def verdict(change: Change, alpha: float = 0.05) -> str:
    """In words; by the adjusted p."""
    if change.p_adjusted is None or change.value is None:
        return "not told"
    if change.p_adjusted >= alpha:
        return "not told from chance"
    return "helps" if change.value > 0 else "hurts"


def measure_notes(study: Study, spec: Spec) -> list[str]:
    """What stands below the table."""
    measure, stage = spec.augment.measure, trained_stage(spec)
    controls = [c.measurement for c in study.cells if c.levels[FACTOR] == AS_IT_IS]
    base = f"{percent(controls[0].value)} %" if controls and controls[0] else "–"
    notes = [
        f"The network of {stage}, on labels alone, {measure.epochs} epochs on at most"
        f" {measure.subset} images, {len(study.seeds)} seeds; the pipeline as it is: {base}.",
        "Effect: with the augmentation against without it, above 0 it helps; paired by seed,"
        f" {100 * study.level:g} % Student's t intervals, p adjusted after Holm for all rows. On"
        " validation images, which also chose the epochs: use it to choose, not as a result. What"
        " a short training shows need not hold for a long one.",
    ]
    waiting = sum(trial.status == "waiting" for trial in study.trials)
    if waiting:
        notes.append(f"{waiting} trials are still to do; the same command goes on from here.")
    return notes + [f"failed: {trial.name}: {trial.error}" for trial in study.failures]


def _p_text(change: Change) -> str:
    p = change.p_adjusted
    return "–" if p is None else "<0.001" if p < 0.0005 else f"{p:.3f}"


def _folder(spec: Spec, run_dir: Path | None) -> Path:
    run = run_dir or Path("runs") / spec.name
    return run.with_name(run.name + SUFFIX)
