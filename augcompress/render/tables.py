"""Tables of runs, stages, measurements and verdicts, for terminals of 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from augcompress.errors import visible_text
from augcompress.evidence import (
    Measurement,
    StageResult,
    Verdict,
    bytes_text,
    cell_text,
    count_text,
    duration_text,
    headline,
    own_measurements,
    score_text,
    value_text,
)
from augcompress.storage import RunSummary

_NUMBER = re.compile(r"[-+−]?\d[\d.,]*( ?[A-Za-z%]{1,3})?")


def plain_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, header: bool = True
) -> Table:
    """A table with one space between columns, so that it fits into 80; numbers to the right."""
    listed = [[cell_text(cell) for cell in row] for row in rows]
    title, columns = visible_text(title), [visible_text(column) for column in columns]
    table = Table(
        title=Text(title, style="bold") if title else None,
        title_justify="left",
        box=SIMPLE_HEAD,
        show_header=header,
        show_edge=False,
        pad_edge=False,
        padding=0,
    )
    for position, column in enumerate(columns):
        numbers = [_NUMBER.fullmatch(row[position]) for row in listed if row[position] != "–"]
        right = bool(numbers) and all(numbers)
        table.add_column(Text(column), justify="right" if right else "left", overflow="fold")
    for row in listed:
        table.add_row(*(Text(cell) for cell in row))
    return table


def stages_table(stages: Sequence[StageResult]) -> Table:
    """One row a stage."""
    columns = ("Stage", "Status", "Score", "Size", "Params/MACs")
    rows = [
        (stage.name, _status(stage), _stage_score(stage), _stage_size(stage), _stage_costs(stage))
        for stage in stages
    ]
    return plain_table("", columns, rows)


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """One row a promise, what was missed first, in the recipe's own units."""
    rows = [
        (
            "reached" if verdict.reached else "MISSED",
            f"{verdict.limit}: {verdict.note}" if verdict.note else verdict.limit,
            verdict.found or None,
            verdict.asked or None,
        )
        for verdict in sorted(verdicts, key=lambda verdict: verdict.reached)
    ]
    return plain_table("Limits", ("Verdict", "Limit", "Found", "Wanted"), rows)


def runs_table(summaries: Sequence[RunSummary]) -> Table:
    """One row a run."""
    rows = [
        (
            summary.name,
            summary.problem or ", ".join(summary.stages) or "–",
            score_text(summary.top1),
            bytes_text(summary.size_bytes),
            datetime.fromtimestamp(summary.modified).strftime("%Y-%m-%d %H:%M"),
        )
        for summary in summaries
    ]
    return plain_table("", ("Run", "Stages done", "Top-1", "Size", "Modified"), rows)


def measurements_table(stages: Sequence[StageResult]) -> Table:
    """Every measurement: one row each."""
    rows = [
        (stage.name, _measure_name(one), value_text(one), one.split or "–", one.subject or "–")
        for stage in stages
        for one in stage.measurements
    ]
    return plain_table("Measurements", ("Stage", "Measure", "Value", "Split", "Subject"), rows)


def _measure_name(one: Measurement) -> str:
    """With what it was compared with, and the disturbance that it was measured under."""
    under = one.conditions.get("under")
    name = one.name + (f" vs {one.baseline}" if one.baseline else "")
    return f"{name} under {under}" if under else name


def _status(stage: StageResult) -> str:
    return "cached" if stage.status == "cached" else f"done {duration_text(stage.seconds)}"


def _stage_score(stage: StageResult) -> str:
    return score_text(headline(stage.measurements, ("validation", "test")))


def _stage_size(stage: StageResult) -> str:
    size = own_measurements(stage.measurements, "size_bytes")
    return bytes_text(size[0].value) if size else "–"


def _stage_costs(stage: StageResult) -> str:
    found = [own_measurements(stage.measurements, name) for name in ("parameters", "macs")]
    if not any(found):
        return "–"
    return "/".join(count_text(one[0].value) if one else "–" for one in found)
