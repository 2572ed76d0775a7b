"""Progress on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from augcompress.errors import visible_text
from augcompress.evidence import decimal_text, duration_text, percent, three_digits

PLAIN_EVERY_S = 5.0
"""Seconds between two lines of progress where standard error is no terminal."""


def stderr_console() -> Console:
    """Where progress and errors go."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


class ConsoleProgress:
    """A Reporter that draws a bar on a terminal, and plain lines every few seconds elsewhere."""

    def __init__(self, console: Console | None = None, *, verbose: bool = False) -> None:
        self.console = console or stderr_console()
        self.verbose = verbose
        self._shown: _Bar | _Lines | None = None

    def start(self, title: str, total: int | None, unit: str) -> None:
        """Begin a piece of work; one that was not finished ends."""
        self.close()
        kind = _Bar if self.console.is_terminal else _Lines
        self._shown = kind(self.console, title, total, unit, self.verbose)

    def advance(self, n: int = 1, **scores: float) -> None:
        """Show `n` units more, and the newest scores."""
        if self._shown is not None:
            self._shown.advance(n, scores)

    def message(self, text: str) -> None:
        """Print one sentence above the bar."""
        self.console.print(Text(visible_text(text)), soft_wrap=True)

    def finish(self) -> None:
        """Take the bar away and leave one line that says what was done."""
        if self._shown is not None:
            self._shown.close()
            self.message(self._shown.summary())
        self._shown = None

    def close(self) -> None:
        """Take the bar away, as after an error."""
        if self._shown is not None:
            self._shown.close()
        self._shown = None


class _Work:
    """Counts a piece of work."""

    def __init__(
        self, console: Console, title: str, total: int | None, unit: str, verbose: bool
    ) -> None:
        self.console, self.title, self.total, self.unit = console, title, total, unit
        self.verbose = verbose
        self.done, self.scores = 0, dict[str, float]()
        self.skipped = 0  # done before this process began: a resumed run's first units
        self.began: float = time.monotonic()

    def count(self, n: int, scores: dict[str, float]) -> None:
        if self.done == 0 and n > 1:
            self.skipped = n
        self.done += n
        self.scores.update(scores)

    def rate(self) -> float | None:
        """Units a second; None: too early to tell."""
        spent = time.monotonic() - self.began
        fresh = self.done - self.skipped
        return fresh / spent if fresh > 0 and spent > 0 else None

    def summary(self) -> str:
        spent = duration_text(time.monotonic() - self.began)
        return ", ".join([f"{self.title}: {self.amount()} in {spent}", *self.score_texts()])

    def amount(self) -> str:
        units = self.unit if (self.total or self.done) == 1 else _plural(self.unit)
        of = f"/{self.total}" if self.total is not None and self.total != self.done else ""
        return f"{self.done}{of} {units}"

    def score_texts(self) -> list[str]:
        names = [name for name in self.scores if self.verbose or name == "validation"]
        return [_progress_score(name, self.scores[name]) for name in names or self.scores]


class _Lines(_Work):
    """Plain lines, at most one every few seconds."""

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self.printed: float = self.began

    def advance(self, n: int, scores: dict[str, float]) -> None:
        self.count(n, scores)
        now = time.monotonic()
        if now - self.printed >= PLAIN_EVERY_S:
            self.printed = now
            self.console.print(Text(self.line()), soft_wrap=True)

    def line(self) -> str:
        rate = self.rate()
        parts = [f"{self.title}: {self.amount()}"]
        if rate is not None:
            parts.append(f"{three_digits(rate)} {_plural(self.unit)}/s")
        if rate is not None and self.total is not None:
            parts.append(f"{duration_text((self.total - self.done) / rate)} left")
        return ", ".join(parts + self.score_texts())

    def close(self) -> None:
        pass


class _Bar(_Work):
    """A bar with throughput, time left and the newest score."""

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %"),
            _RateColumn(self),
            TimeRemainingColumn(compact=True),
            _ScoreColumn(self),
            console=self.console,
            transient=True,
            expand=True,
        )
        self.task = self.progress.add_task(self.title, total=self.total)
        self.progress.start()

    def advance(self, n: int, scores: dict[str, float]) -> None:
        self.count(n, scores)
        self.progress.update(self.task, advance=n)

    def close(self) -> None:
        self.progress.stop()


class _RateColumn(ProgressColumn):
    def __init__(self, work: _Work) -> None:
        self.work = work
        super().__init__()

    def render(self, task: Task) -> Text:
        rate = self.work.rate()
        return Text("" if rate is None else f"{three_digits(rate)} {_plural(self.work.unit)}/s")


class _ScoreColumn(ProgressColumn):
    def __init__(self, work: _Work) -> None:
        self.work = work
        super().__init__()

    def render(self, task: Task) -> Text:
        return Text(", ".join(self.work.score_texts()))


def _progress_score(name: str, value: float) -> str:
    return f"{name} {percent(value)} %" if name == "validation" else f"{name} {decimal_text(value)}"


def _plural(unit: str) -> str:
    return f"{unit}es" if unit.endswith(("s", "ch", "x")) else f"{unit}s"
