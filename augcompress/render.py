"""A result, a table or an error as text for people or as JSON; and progress on standard error.

Standard output carries results only; everything else goes to standard error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from augcompress.figures import (
    bytes_text,
    count_text,
    duration_text,
    score_text,
    value_text,
)
from augcompress.progress import ConsoleProgress, stderr_console
from augcompress.records import (
    FORMAT_VERSION,
    Measurement,
    Reporter,
    RunResult,
    SilentReporter,
    StageResult,
    Verdict,
    headline,
    own,
)
from augcompress.runs import RunSummary

LEGEND = (
    "Score: top-1 accuracy with its 95 % interval on n images (val: validation). "
    "Size: of the file. MACs: multiply-adds for one image."
)
_NUMBER = re.compile(r"[-+−]?\d[\d.,]*( ?[A-Za-z%]{1,3})?")
_PARITY = ("agreement", "parity", "max_")


def _stdout() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


@dataclass
class Renderer:
    """Prints what the commands return."""

    json: bool = False
    """One JSON object on standard output instead of tables."""
    quiet: bool = False
    """Nothing but the last stage's artefact path; no progress, no notes."""
    verbose: bool = False
    """Also every measurement; and in progress, every score."""
    out: Console = field(default_factory=_stdout)
    err: Console = field(default_factory=stderr_console)
    _progress: ConsoleProgress | None = field(default=None, init=False, repr=False)

    def reporter(self) -> Reporter:
        """The progress callback for stages and the loop."""
        if self.quiet:
            return NullProgress()
        self._progress = self._progress or ConsoleProgress(self.err, verbose=self.verbose)
        return self._progress

    def result(self, result: RunResult, verdicts: Sequence[Verdict] = ()) -> None:
        """What a run or a stage has done, and whether its limits were reached."""
        self._stop_progress()
        if self.json:
            self._write(result.to_json())
        elif self.quiet:
            artifact = result.stages[-1].artifact if result.stages else None
            self._write(artifact or "")
        else:
            self._result_tables(result)
        for stage in result.stages:
            for note in stage.notes:
                self.message(f"{stage.name}: {note}")
        if verdicts and not self.quiet:
            console = self.err if self.json else self.out
            console.print()
            console.print(verdict_table(verdicts))

    def verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """What `augcompress check` found."""
        if self.json:
            rows = [verdict.model_dump(mode="json") for verdict in verdicts]
            self.payload({"limits": rows})
        elif not self.quiet:
            self.out.print(verdict_table(verdicts))

    def runs(self, summaries: Sequence[RunSummary]) -> None:
        """What `augcompress runs list` found."""
        if self.json:
            self.payload({"runs": [_summary_json(summary) for summary in summaries]})
        elif self.quiet:
            self._write("\n".join(summary.name for summary in summaries))
        elif summaries:
            self.out.print(runs_table(summaries))
        else:
            self.message("no runs here; start one with: augcompress run --recipe RECIPE")

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Any table; with --json `{"version": 1, "title", "rows": [{column: cell}]}`."""
        listed = [list(row) for row in rows]
        if self.json:
            objects = [dict(zip(columns, row, strict=True)) for row in listed]
            self.payload({"title": title, "rows": objects})
        elif not self.quiet:
            self.out.print(Text(title, style="bold"))  # a table's own title is as narrow as it
            self.out.print(plain_table("", columns, listed))

    def payload(self, content: dict[str, Any]) -> None:
        """One JSON object on standard output, with the format's version."""
        self._write(json.dumps({"version": FORMAT_VERSION, **content}, indent=2, allow_nan=False))

    def text(self, text: str) -> None:
        """Lines on standard output as they are, never wrapped."""
        self._write(text)

    def message(self, text: str) -> None:
        """One sentence for people, on standard error."""
        if not self.quiet:
            self.err.print(Text(text), soft_wrap=True)

    def error(self, error: BaseException | str) -> None:
        """One line on standard error, whatever the mode."""
        self._stop_progress()
        line = Text.assemble(("error:", "bold red"), " ", " ".join(str(error).split()))
        self.err.print(line, soft_wrap=True)

    def _result_tables(self, result: RunResult) -> None:
        self.out.print(Text(result.run_dir, style="bold"), soft_wrap=True)
        self.out.print(stages_table(result.stages))
        self.out.print(Text(LEGEND, style="dim"))
        rows = shipped_rows(result.stages)
        if rows:
            title = f"\nThe shipped file: {_shipped_file(result.stages) or '–'}"
            self.out.print(Text(title, style="bold"), soft_wrap=True)
            self.out.print(plain_table("", ("", ""), rows, header=False))
        if self.verbose:
            self.out.print()
            self.out.print(measurements_table(result.stages))

    def _write(self, text: str) -> None:
        if text:
            self.out.file.write(text + "\n")

    def _stop_progress(self) -> None:
        if self._progress is not None:
            self._progress.close()


def plain_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, header: bool = True
) -> Table:
    """A table with one space between columns, so that it fits into 80; numbers to the right."""
    listed = [[_cell(cell) for cell in row] for row in rows]
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


def shipped_rows(stages: Sequence[StageResult]) -> list[tuple[str, str]]:
    """The deliverable against its teacher, in words; nothing where no file was shipped."""
    every = [one for stage in reversed(stages) for one in stage.measurements]
    shipped = [one for one in every if one.role == "shipped"]
    if not shipped:
        return []
    teacher = [one for one in every if one.role == "teacher"]
    rows = _accuracy_rows(shipped, teacher) + _size_rows(shipped, teacher)
    rows += _latency_rows(shipped, teacher)
    rows += _speed_rows(every) + _parity_rows(every)
    return rows


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """One row a limit, in the recipe's own units."""
    rows = [
        (
            "reached" if verdict.reached else "MISSED",
            verdict.limit if not verdict.note else f"{verdict.limit}: {verdict.note}",
            "–" if verdict.actual is None else f"{verdict.actual:.4g}",
        )
        for verdict in verdicts
    ]
    return plain_table("Limits", ("Verdict", "Limit", "Found"), rows)


def runs_table(summaries: Sequence[RunSummary]) -> Table:
    """One row a run."""
    rows = [
        (
            summary.name,
            ", ".join(summary.stages) or "–",
            "–" if summary.top1 is None else score_text(summary.top1),
            bytes_text(summary.size_bytes),
            datetime.fromtimestamp(summary.modified).strftime("%Y-%m-%d %H:%M"),
        )
        for summary in summaries
    ]
    return plain_table("", ("Run", "Stages done", "Top-1", "Size", "Modified"), rows)


def measurements_table(stages: Sequence[StageResult]) -> Table:
    """Every measurement: one row each."""
    rows = [
        (
            stage.name,
            one.name + (f" vs {one.baseline}" if one.baseline else ""),
            value_text(one),
            one.split or "–",
            one.subject or "–",
        )
        for stage in stages
        for one in stage.measurements
    ]
    return plain_table("Measurements", ("Stage", "Measure", "Value", "Split", "Subject"), rows)


def _cell(cell: Any) -> str:
    if cell is None:
        return "–"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _status(stage: StageResult) -> str:
    return "cached" if stage.status == "cached" else f"done {duration_text(stage.seconds)}"


def _stage_score(stage: StageResult) -> str:
    score = headline(stage.measurements, ("validation", "test"))
    return "–" if score is None else score_text(score)


def _stage_size(stage: StageResult) -> str:
    size = own(stage.measurements, "size_bytes")
    return bytes_text(size[0].value) if size else "–"


def _stage_costs(stage: StageResult) -> str:
    found = [own(stage.measurements, name) for name in ("parameters", "macs")]
    if not any(found):
        return "–"
    return "/".join(count_text(one[0].value) if one else "–" for one in found)


def _shipped_file(stages: Sequence[StageResult]) -> str | None:
    """The artefact of the last stage that measured what it ships."""
    for stage in reversed(stages):
        if stage.artifact and any(one.role == "shipped" for one in stage.measurements):
            return stage.artifact
    return None


def _first(found: Sequence[Measurement], name: str, split: str | None = None) -> Measurement | None:
    fits = (one for one in found if one.name == name and one.baseline is None)
    return next((one for one in fits if split is None or one.split == split), None)


def _accuracy_rows(
    shipped: Sequence[Measurement], teacher: Sequence[Measurement]
) -> list[tuple[str, str]]:
    ours = _first(shipped, "top1", "test") or _first(shipped, "top1")
    if ours is None:
        return []
    rows = [(f"Top-1 on {ours.split}", value_text(ours))]
    theirs = _first(teacher, "top1", ours.split)
    if theirs is not None:
        rows.append(("Against the teacher", f"{_points(ours, theirs)}: {value_text(theirs)}"))
    return rows


def _points(ours: Measurement, theirs: Measurement) -> str:
    points = round(100 * (ours.value - theirs.value), 1)
    if points == 0:
        return "as accurate"
    return f"{abs(points):.1f} points {'above' if points > 0 else 'below'} it"


def _size_rows(
    shipped: Sequence[Measurement], teacher: Sequence[Measurement]
) -> list[tuple[str, str]]:
    ours, theirs = _first(shipped, "size_bytes"), _first(teacher, "size_bytes")
    if ours is None:
        return []
    text = bytes_text(ours.value)
    if theirs is not None and ours.value > 0:
        ratio = theirs.value / ours.value
        text += f"; the teacher's {bytes_text(theirs.value)} is {ratio:.3g} times that"
    return [("Size", text)]


def _latency_rows(
    shipped: Sequence[Measurement], teacher: Sequence[Measurement]
) -> list[tuple[str, str]]:
    ours, theirs = _first(shipped, "latency_ms"), _first(teacher, "latency_ms")
    if ours is None:
        return []
    text = value_text(ours)
    if theirs is not None:
        text += f"; the teacher {value_text(theirs)}"
    return [("Latency", text)]


def _speed_rows(every: Sequence[Measurement]) -> list[tuple[str, str]]:
    words = {"teacher": "Speed against the teacher", "float": "Speed against float"}
    rows: dict[str, str] = {}
    for one in every:
        against = _role_of(one.baseline, every)
        if one.name == "speedup" and against in words and one.role in (None, "shipped"):
            rows.setdefault(words[against], value_text(one).replace("times", "times as fast"))
    return list(rows.items())


def _parity_rows(every: Sequence[Measurement]) -> list[tuple[str, str]]:
    rows: dict[str, str] = {}
    for one in every:
        if one.name.startswith(_PARITY) and one.role in (None, "shipped"):
            against = f" with {one.baseline}" if one.baseline else ""
            rows.setdefault(one.name.replace("_", " ").capitalize() + against, value_text(one))
    return list(rows.items())


def _role_of(baseline: str | None, every: Sequence[Measurement]) -> str | None:
    """teacher or float, where the baseline is named by that word or by its file."""
    if baseline in (None, "teacher", "float"):
        return baseline
    return next((one.role for one in every if one.subject == baseline and one.role), None)


def _summary_json(summary: RunSummary) -> dict[str, Any]:
    return {
        "name": summary.name,
        "stages": summary.stages,
        "top1": None if summary.top1 is None else summary.top1.model_dump(mode="json"),
        "size_bytes": summary.size_bytes,
        "modified": datetime.fromtimestamp(summary.modified).astimezone().isoformat(),
    }


NullProgress = SilentReporter
"""A Reporter that shows nothing, for --quiet."""
