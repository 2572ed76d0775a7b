"""The object that prints: one method for each kind of result."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from augcompress.errors import visible_text
from augcompress.evidence import (
    FORMAT_VERSION,
    Comparison,
    Differing,
    RunResult,
    TitledTable,
    Verdict,
)
from augcompress.output import results
from augcompress.render.comparing import comparison_sentences, comparison_tables
from augcompress.render.shipped import shipped_artifact, shipped_rows
from augcompress.render.tables import (
    measurements_table,
    plain_table,
    runs_table,
    stages_table,
    verdict_table,
)
from augcompress.storage import RunSummary
from augcompress.system import (
    ConsoleProgress,
    Reporter,
    SilentReporter,
    print_sentence,
    stderr_console,
)

LEGEND = (
    "Score: top-1 accuracy with its 95 % interval on n images (val: validation). "
    "Size: of the file. MACs: multiply-adds for one image."
)


LEAST_WIDTH = 20
"""Columns that a terminal has at least, whatever it says of itself."""


def _stdout() -> Console:
    console = Console(file=results(), highlight=False, markup=False, emoji=False)
    if console.width < LEAST_WIDTH:
        console.width = LEAST_WIDTH
    return console


@dataclass
class Renderer:
    """Prints what the commands return."""

    json: bool = False
    """One JSON object on standard output instead of tables."""
    quiet: bool = False
    """Nothing but the path of each stage's artefact, one a line; no progress, no notes."""
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

    def result(
        self, result: RunResult, verdicts: Sequence[Verdict] = (), said: Container[str] = ()
    ) -> None:
        """What a run or a stage has done, whether its limits were reached, and each note that has
        not been `said`, once."""
        self._stop_progress()
        if self.json:
            self._write(result.to_json())
        elif self.quiet:
            self._write("\n".join(one.artifact for one in result.stages if one.artifact))
        else:
            self._result_tables(result)
        stages = dict[str, list[str]]()
        for stage in result.stages:
            for note in stage.notes:
                stages.setdefault(note, []).append(stage.name)
        for note, names in stages.items():
            if note not in said:
                self.message(f"{', '.join(dict.fromkeys(names))}: {note}")
        if verdicts and not self.quiet:
            console = self.err if self.json else self.out
            console.print()
            console.print(verdict_table(verdicts))

    def next_steps(self, commands: Sequence[str]) -> None:
        """What to do next, one line each, for whoever reads along."""
        if not self.json and not self.quiet:
            for start, command in zip(["next:", *[""] * len(commands)], commands, strict=False):
                self.err.print(Text(visible_text(f"{start:5} {command}")), soft_wrap=True)

    def verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """What `augcompress check` found."""
        if self.json:
            rows = [verdict.model_dump(mode="json") for verdict in verdicts]
            self.payload({"limits": rows})
        elif not self.quiet:
            self.out.print(verdict_table(verdicts))

    def comparison(
        self, found: Comparison, apart: Sequence[Differing], images: Path | None
    ) -> None:
        """What `augcompress compare` found."""
        self._stop_progress()
        if self.json:
            told = [one.model_dump(mode="json") for one in apart]
            self.payload({**found.model_dump(mode="json"), "differing": told})
            return
        for title, columns, rows in comparison_tables(found):
            self._title(title)
            self.out.print(plain_table("", columns, rows))
            self.out.print()
        for line in comparison_sentences(found, apart, images):
            self.paragraph(line)

    def study(self, content: str, tables: Sequence[TitledTable], notes: Sequence[str]) -> None:
        """What `augcompress search` found; `content` is its JSON."""
        self._stop_progress()
        if self.json:
            self._write(content)
        elif not self.quiet:
            for title, columns, rows in tables:
                self._title(title)
                self.out.print(plain_table("", columns, rows))
                self.out.print()
            for note in notes:
                self.paragraph(note)

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
            if title:
                self._title(title)  # a table's own title is as narrow as it
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
            print_sentence(self.err, text)

    def error(self, error: BaseException | str) -> None:
        """One line on standard error, whatever the mode."""
        self._stop_progress()
        said = visible_text(" ".join(str(error).split()))
        line = Text.assemble(("error:", "bold red"), " ", said)
        self.err.print(line, soft_wrap=True)

    def _result_tables(self, result: RunResult) -> None:
        self._title(result.run_dir)
        self.out.print(stages_table(result.stages))
        self.out.print(Text(LEGEND, style="dim"))
        rows = shipped_rows(result.stages)
        if rows:
            title = f"\nThe shipped file: {shipped_artifact(result.stages) or '–'}"
            self._title(title)
            self.out.print(plain_table("", ("", ""), rows, header=False))
        if self.verbose:
            self.out.print()
            self.out.print(measurements_table(result.stages))

    def _title(self, text: str) -> None:
        self.out.print(Text(visible_text(text), style="bold"), soft_wrap=True)

    def paragraph(self, text: str) -> None:
        """Text on standard output, wrapped, without blanks at line ends; further lines are indented
        like the first."""
        text = visible_text(text)
        indent = text[: len(text) - len(text.lstrip())]
        lines = textwrap.wrap(
            text,
            self.out.width,
            subsequent_indent=indent,
            break_on_hyphens=False,
            break_long_words=False,  # a path stays whole
        )
        self.out.file.write("\n".join(lines) + "\n")

    def _write(self, text: str) -> None:
        if text:
            self.out.file.write(visible_text(text) + "\n")

    def _stop_progress(self) -> None:
        if self._progress is not None:
            self._progress.close()


def _summary_json(summary: RunSummary) -> dict[str, Any]:
    return {
        "name": summary.name,
        "stages": summary.stages,
        "problem": summary.problem or None,
        "top1": None if summary.top1 is None else summary.top1.model_dump(mode="json"),
        "size_bytes": summary.size_bytes,
        "modified": datetime.fromtimestamp(summary.modified).astimezone().isoformat(),
    }


NullProgress = SilentReporter
"""A Reporter that shows nothing, for --quiet."""
