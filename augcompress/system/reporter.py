"""To whom a stage or the loop reports its progress."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """What a stage or the loop tells of its progress; `render.ConsoleProgress` shows it."""

    def start(self, title: str, total: int | None, unit: str, epochs: int = 0) -> None:
        """A piece of work of `total` units, in so many epochs, begins; None: of unknown length."""

    def advance(self, n: int = 1, **scores: float) -> None:
        """`n` units more are done; `scores` are the newest values by name."""

    def message(self, text: str) -> None:
        """One sentence for people."""

    def finish(self) -> None:
        """The piece of work has ended."""


class SilentReporter:
    """A Reporter that says nothing."""

    def start(self, title: str, total: int | None, unit: str, epochs: int = 0) -> None:
        pass

    def advance(self, n: int = 1, **scores: float) -> None:
        pass

    def message(self, text: str) -> None:
        pass

    def finish(self) -> None:
        pass
