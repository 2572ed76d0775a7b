"""What training leaves to be read: JSON lines always, TensorBoard's events where asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from augcompress.errors import require
from augcompress.evidence.statistics import wilson
from augcompress.storage import write_aside
from augcompress.training.learner import Score

TIMINGS = ("images_per_s", "seconds")
"""What differs between two runs that are otherwise the same."""


class Log:
    """The lines of one training, one an epoch; both files are made of them."""

    def __init__(self, file: Path | None, events: Path | None) -> None:
        self.file, self.events = file, events
        self.lines: list[dict[str, Any]] = []
        self._writer: Any = None

    def add(self, line: dict[str, Any]) -> None:
        """One more epoch."""
        self.lines.append(line)
        self._write_lines()
        if self._writer is not None:
            self._write_events(line)

    def begin(self, lines: list[dict[str, Any]]) -> None:
        """Start with the lines of the epochs before, if any.

        Raises AugcompressError when TensorBoard's events are wanted and it is not installed.
        """
        self.lines = lines
        if lines:
            self._write_lines()
        if self.events is not None:
            board = require("torch.utils.tensorboard", extra="tensorboard")
            shutil.rmtree(self.events, ignore_errors=True)
            self._writer = board.SummaryWriter(str(self.events))
            for line in lines:
                self._write_events(line)

    def close(self) -> None:
        """No more lines come."""
        if self._writer is not None:
            self._writer.close()

    def _write_lines(self) -> None:
        if self.file is not None:
            with write_aside(self.file) as aside:
                aside.write_text("".join(json.dumps(line) + "\n" for line in self.lines))

    def _write_events(self, line: dict[str, Any]) -> None:
        for name, value in scalars(line):
            self._writer.add_scalar(name, value, line["epoch"])


def scalars(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a line under TensorBoard's names, which group by what stands before a `/`."""
    for name, value in line["losses"].items():
        yield f"loss/{name}", value
    for name, value in line.items():
        kind, _, rest = name.partition("_")
        if kind == "validation":
            yield f"validation/{rest}", value
        elif name in ("lr", *TIMINGS):
            yield f"training/{name}", value


def score_fields(score: Score, averaged: Score | None) -> dict[str, float]:
    """A validation score in a line of the log, with its 95 % interval where it is a share."""
    found: dict[str, float] = {f"validation_{score.name}": score.value}
    if score.n is not None:
        low, high = wilson(score.value * score.n, score.n)
        found |= {"validation_low": low, "validation_high": high, "validation_n": score.n}
    if averaged is not None:
        found[f"validation_{averaged.name}_ema"] = averaged.value
    return found
