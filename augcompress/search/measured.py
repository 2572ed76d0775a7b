"""What a study compares: is there such a measure, where does a variant end for it, and which of the
stages' measurements is it."""

from __future__ import annotations

from collections.abc import Sequence

from augcompress.errors import UsageError
from augcompress.evidence import (
    OF_SHIPPED_FILES,
    Measurement,
    StageName,
    StageResult,
    own_measurements,
    unknown_measure,
)
from augcompress.search.study import Trial
from augcompress.spec import GridSearch, Spec
from augcompress.stages import STAGES

Found = tuple[str, Measurement]

OF_PAIRS = {"speedup": "latency_ms", "top1_difference": "top1"}
"""Measures that compare two models, and what to compare variants on instead."""
OF_FILES = ("size_bytes", "agreement", "max_abs_difference")


def check_measure(section: GridSearch, spec: Spec) -> None:
    """Raises UsageError for a measure that a variant cannot have: one that nothing is known of, and
    no plug-in among its steps may bring it; or one that compares two models."""
    name = section.measure
    if name in OF_PAIRS:
        raise UsageError(
            f"search.measure: {name} compares two models; take {OF_PAIRS[name]}, a study compares"
            " the variants itself"
        )
    if name.endswith("_scaled") and section.measured_split == "validation":
        raise UsageError(
            f"search.measure: {name} is fitted on validation and measured on test; take"
            f" {name.removesuffix('_scaled')}, or cross-validate with folds"
        )
    if (wrong := unknown_measure(name)) and not spec.has_plugin_steps():
        raise UsageError(f"search.measure: {wrong}")


def final_stage(section: GridSearch, stages: Sequence[StageName]) -> StageName:
    """The stage at which a variant ends, of those of its pipeline; see `GridSearch.until`."""
    if section.until is not None:
        return section.until
    before = stages[: stages.index("export")] if "export" in stages else stages
    if all(STAGES[name].makes is None for name in before):
        return stages[-1]
    return stages[-1] if _needs_export(section, stages, before) else before[-1]


def compared_measurement(
    stages: Sequence[StageResult], section: GridSearch, only: str | None = None
) -> Found | None:
    """The measurement that is compared, and its stage: the last that has it, or `only` that."""
    for stage in reversed([stage for stage in stages if only in (None, stage.name)]):
        for one in own_measurements(stage.measurements, section.measure):
            fits = one.split in (section.measured_split, None)
            if fits and section.label in (None, one.conditions.get("class")):
                return stage.name, one
    return None


def to_evaluate(stages: Sequence[StageResult], section: GridSearch) -> str | None:
    """The stage whose network or graph is evaluated."""
    if section.stage not in (None, "evaluate"):
        return section.stage if STAGES[section.stage].makes is not None else None
    makers = [stage.name for stage in stages if STAGES[stage.name].makes is not None]
    return makers[-1] if makers else None


def nothing_measured(stages: Sequence[StageResult], section: GridSearch, trial: Trial) -> str:
    """That no stage of a trial has the measure, and what there is."""
    rows = [one for s in stages for one in s.measurements if own_measurements([one], one.name)]
    known = sorted({one.name for one in rows if one.split in (section.measured_split, None)})
    label = f" of class {section.label}" if section.label else ""
    stage = f"stage {section.stage}" if section.stage else "no stage"
    verb = "does not measure" if section.stage else "measures"
    return (
        f"search.measure: {stage} {verb} {section.measure}{label} on {section.measured_split} in"
        f" {trial.name}; there are: {', '.join(known) or 'none'}"
    )


def _needs_export(
    section: GridSearch, stages: Sequence[StageName], before: Sequence[StageName]
) -> bool:
    """Does what is compared come from `export` or a stage after it?"""
    later = section.stage in stages and section.stage not in before
    on_test = section.measured_split == "test" and section.folds is None
    packed = any(STAGES[name].makes == "graph" for name in before)
    of_file = section.measure in OF_FILES and not packed
    return later or on_test or of_file or section.measure in OF_SHIPPED_FILES
