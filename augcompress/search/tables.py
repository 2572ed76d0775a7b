"""A study in tables and sentences, for people: differences of shares are in percentage points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from augcompress.evidence import (
    Measurement,
    TitledTable,
    duration_text,
    p_text,
    signed_text,
    value_text,
)
from augcompress.search.strategies import short_names
from augcompress.search.study import Change, Study, Trial


def study_tables(study: Study) -> list[TitledTable]:
    """Title, columns and rows of the cells and, with several factors, of main effects and
    interactions: of the trials that are done."""
    tables = [_cells_table(study)]
    if len(study.factors) > 1:
        tables.append(_changes_table(study, "Main effects", study.main_effects))
        tables.append(_changes_table(study, "Interactions", study.interactions))
    return tables


def trials_table(study: Study) -> TitledTable:
    """One row a trial."""
    short = _short(study)
    columns = [*short.values(), "seed", *(["fold"] if study.folds else []), "status", _what(study)]
    rows = [
        [
            *(trial.levels[factor] for factor in short),
            trial.seed,
            *([trial.fold] if study.folds else []),
            trial.status,
            value_text(trial.measurement),
        ]
        for trial in study.trials
    ]
    return f"{study.name}: {len(rows)} trials", columns, rows


def study_notes(study: Study) -> list[str]:
    """What stands below the tables: what the numbers mean, what was done, what failed."""
    notes = [_intervals_note(study)]
    if len(study.factors) > 1:
        notes.append(
            "Main effect: what a level changes against the control's level, averaged over the other"
            " factors. Interaction: by how much the first effect changes when the second factor"
            " leaves its control level too."
        )
    notes.append(_work_note(study))
    waiting = [trial.name for trial in study.trials if trial.status == "waiting"]
    if waiting:
        notes.append(f"{len(waiting)} trials are still to do; the same command goes on from here.")
    return notes + [f"failed: {trial.name}: {trial.error}" for trial in study.failures]


def change_text(change: Change, unit: str) -> str:
    """`+0.52 (-0.21 to +1.25)`: shares in percentage points, all else in its own unit."""
    if change.value is None:
        return "–"
    ends = [_signed(end, unit) for end in (change.low, change.high) if end is not None]
    inside = f" ({' to '.join(ends)})" if ends else ""
    return _signed(change.value, unit) + inside


def _cells_table(study: Study) -> TitledTable:
    short = _short(study)
    changes = {_key(change.of): change for change in study.against_control}
    rows = []
    for cell in study.cells:
        change = changes.get(_key(cell.levels))
        against = "control" if change is None else change_text(change, _unit(study))
        levels = [cell.levels[factor] for factor in short]
        p = p_text(None if change is None else change.p_adjusted)
        rows.append([*levels, value_text(cell.measurement), against, p])
    columns = [*short.values(), _what(study), f"against control{_in_points(study)}", "p"]
    return f"{study.name}: {_where(study)}", columns, rows


def _changes_table(study: Study, title: str, changes: Sequence[Change]) -> TitledTable:
    unit, short = _unit(study), _short(study)
    rows = [
        [_effect_name(one, short), change_text(one, unit), one.n, p_text(one.p_adjusted)]
        for one in changes
    ]
    return title, ["", f"change{_in_points(study)}", "n", "p"], rows


def _effect_name(change: Change, short: Mapping[str, str]) -> str:
    """`mixup: on against off`; `mixup on × teacher on`."""
    if len(change.of) == 1:
        (factor, label), (against,) = next(iter(change.of.items())), change.against.values()
        return f"{short[factor]}: {label} against {against}"
    return " × ".join(f"{short[factor]} {label}" for factor, label in change.of.items())


def _intervals_note(study: Study) -> str:
    over = "seeds" if study.folds is None else "folds"
    method = "Student's t" if study.folds is None else "t corrected after Nadeau and Bengio"
    seeds = f", each averaged over {len(study.seeds)} seeds" if study.folds else ""
    if study.folds is None and len(study.seeds) == 1:
        return "One seed: no intervals, and no difference can be told from chance; add seeds."
    points = "; differences of shares are in percentage points" if _in_points(study) else ""
    return (
        f"Intervals: {100 * study.level:g} %, {method} over n {over}{seeds}. Differences are paired"
        f" by {'seed' if study.folds is None else 'fold and seed'}{points}. Those of one table are"
        " adjusted for their number: the intervals after Bonferroni, so that all hold together,"
        " and p after Holm."
    )


def _work_note(study: Study) -> str:
    used = sum(len(trial.stages) for trial in study.trials)
    distinct = study.stages
    done = sum(trial.status == "done" for trial in study.trials)
    return (
        f"{done} of {len(study.trials)} trials, {len(distinct)} stages done once,"
        f" {used - len(distinct)} taken from the store; {study.done_now} done in this call;"
        f" {duration_text(sum(distinct.values()))} of work."
    )


def _where(study: Study) -> str:
    stages = dict.fromkeys(_measured_stage(study, t) for t in study.trials if t.stage)
    held = "the parts held out" if study.folds and study.split == "test" else study.split
    after = f" after {' or '.join(stages)}" if stages else ""
    return f"{_what(study)} on {held}{after}"


def _measured_stage(study: Study, trial: Trial) -> str:
    """The stage whose network or graph was measured, be it by `evaluate`."""
    if trial.stage != "evaluate" and trial.stage is not None:
        return trial.stage
    asked = study.stage if study.stage != "evaluate" else None
    return asked or trial.stages[-2].name


def _what(study: Study) -> str:
    return f"{study.measure} of {study.label}" if study.label else study.measure


def _unit(study: Study) -> str:
    return next((t.measurement.unit for t in study.trials if t.measurement), "fraction")


def _in_points(study: Study) -> str:
    return ", points" if _unit(study) == "fraction" else ""


def _short(study: Study) -> dict[str, str]:
    return short_names([factor.name for factor in study.factors])


def _key(levels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(levels.items())


def _signed(value: float, unit: str) -> str:
    if unit == "fraction":
        return signed_text(100 * value)
    sign = "-" if value < 0 else "+"
    return sign + value_text(Measurement(name="change", value=abs(value), unit=unit))
