"""Progress on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import textwrap
import time
from collections import deque
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from augcompress.errors import visible_text
from augcompress.evidence import duration_text, percent, three_digits

PLAIN_EVERY_S = 10.0
"""Seconds between two lines of progress where there is no bar, but for those of epochs."""
RECENT_S = 30.0
"""Seconds by whose speed the time left is told."""
NARROW, WIDEST_BAR = 60, 40
"""Columns of a terminal without room for a bar, and of a bar."""


def stderr_console() -> Console:
    """Where progress and errors go."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def print_sentence(console: Console, text: str) -> None:
    """A sentence; a terminal's lines end between words, and paths stay whole."""
    text = visible_text(text)
    if console.is_terminal:
        wrap = textwrap.TextWrapper(console.width, break_long_words=False, break_on_hyphens=False)
        text = "\n".join(line for part in text.split("\n") for line in wrap.wrap(part) or [""])
    console.print(Text(text), soft_wrap=True)


class ConsoleProgress:
    """A Reporter that draws a bar on a terminal, and plain lines now and then elsewhere."""

    def __init__(self, console: Console | None = None, *, verbose: bool = False) -> None:
        self.console = console or stderr_console()
        self.verbose = verbose
        self._shown: _Bar | _Lines | None = None

    def start(self, title: str, total: int | None, unit: str, epochs: int = 0) -> None:
        """Begin a piece of work; one that was not finished ends."""
        self.close()
        kind = _Bar if self.console.is_terminal and not self.console.is_dumb_terminal else _Lines
        self._shown = kind(self.console, title, total, unit, epochs, self.verbose)

    def advance(self, n: int = 1, **scores: float) -> None:
        """Show `n` units more, and the newest scores."""
        if self._shown is not None:
            self._shown.advance(n, scores)

    def message(self, text: str) -> None:
        """Print one sentence above the bar."""
        print_sentence(self.console, text)

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
        self, console: Console, title: str, total: int | None, unit: str, epochs: int, verbose: bool
    ) -> None:
        self.console, self.title, self.total, self.unit = console, title, total, unit
        self.epochs, self.verbose = epochs, verbose
        self.done, self.scores = 0, dict[str, float]()
        self.began: float = time.monotonic()
        self.recent = deque([(self.began, 0)])  # when how much was done, a second apart

    def count(self, n: int, scores: dict[str, float]) -> None:
        self.scores.update(scores)
        now = time.monotonic()
        if self.done == 0 and n > 1:  # done before this process began: a resumed run's first units
            self.recent[0] = (now, n)
        self.done += n
        if now - self.recent[-1][0] >= 1:
            self.recent.append((now, self.done))
        while len(self.recent) > 2 and now - self.recent[1][0] >= RECENT_S:
            self.recent.popleft()

    def rate(self) -> float | None:
        """Units a second, lately; None: too early to tell."""
        since, before = self.recent[0]
        spent, fresh = time.monotonic() - since, self.done - before
        return fresh / spent if fresh > 0 and spent > 0 else None

    def summary(self) -> str:
        spent = duration_text(time.monotonic() - self.began)
        return ", ".join([f"{self.title}: {self.amount()} in {spent}", *self.score_texts()])

    def amount(self) -> str:
        units = self.unit if (self.total or self.done) == 1 else _plural(self.unit)
        of = f"/{self.total}" if self.total is not None and self.total != self.done else ""
        return f"{self.done}{of} {units}"

    def epoch_text(self) -> list[str]:
        if not self.epochs or not self.total:
            return []
        return [f"epoch {max(1, -(-self.done * self.epochs // self.total))}/{self.epochs}"]

    def speed_text(self) -> list[str]:
        rate = self.rate()
        return [] if rate is None else [f"{three_digits(rate)} {_plural(self.unit)}/s"]

    def left_text(self) -> list[str]:
        rate = self.rate()
        if rate is None or self.total is None:
            return []
        return [f"{duration_text((self.total - self.done) / rate)} left"]

    def score_texts(self) -> list[str]:
        main = [n for n in self.scores if n == "loss" or n.startswith("validation")]
        names = main if main and not self.verbose else [*self.scores]
        return [_progress_score(name, self.scores[name]) for name in names]


class _Lines(_Work):
    """Plain lines: one at the end of each epoch, and between them at most one every few seconds."""

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self.printed: float = self.began

    def advance(self, n: int, scores: dict[str, float]) -> None:
        self.count(n, scores)
        now, ended = time.monotonic(), any(name.startswith("validation") for name in scores)
        if (ended and n == 0 and self.done != self.total) or now - self.printed >= PLAIN_EVERY_S:
            self.printed = now
            print_sentence(self.console, self.line())

    def line(self) -> str:
        parts = [*self.epoch_text(), self.amount(), *self.score_texts()]
        return f"{self.title}: {', '.join([*parts, *self.speed_text(), *self.left_text()])}"

    def close(self) -> None:
        pass


class _Bar(_Work):
    """A bar with what fits beside it: epoch, time left, the newest scores, throughput."""

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        width = self.console.width
        bar = [BarColumn(bar_width=min(WIDEST_BAR, width // 16))] if width >= NARROW else []
        title = TextColumn("{task.description}", markup=False)
        self.progress = Progress(
            title, *bar, _StateColumn(self), console=self.console, transient=True
        )
        self.task = self.progress.add_task(self.title, total=self.total)
        self.progress.start()

    def advance(self, n: int, scores: dict[str, float]) -> None:
        self.count(n, scores)
        self.progress.update(self.task, advance=n)

    def close(self) -> None:
        self.progress.stop()

    def state(self) -> str:
        """As much as has room, on one line."""
        width = self.console.width
        room = width - len(self.title) - (min(WIDEST_BAR, width // 16) + 1) * (width >= NARROW) - 1
        share = [f"{100 * self.done / self.total:.0f} %"] if self.total else [self.amount()]
        parts = [share, self.epoch_text(), self.score_texts(), self.speed_text(), self.left_text()]
        shown: dict[int, str] = {}
        for place in (0, 1, 4, 2, 3):  # what matters most comes first
            for text in parts[place]:
                if sum(len(one) + 2 for one in shown.values()) + len(text) <= room:
                    shown[place] = ", ".join(filter(None, [shown.get(place), text]))
        return ", ".join(shown[place] for place in sorted(shown))


class _StateColumn(ProgressColumn):
    def __init__(self, work: _Bar) -> None:
        self.work = work
        super().__init__()

    def render(self, task: Task) -> Text:
        return Text(self.work.state(), no_wrap=True)


def _progress_score(name: str, value: float) -> str:
    return f"{name} {percent(value)} %" if name == "validation" else f"{name} {three_digits(value)}"


def _plural(unit: str) -> str:
    return f"{unit}es" if unit.endswith(("s", "ch", "x")) else f"{unit}s"
