"""One self-contained HTML page of one or several runs: no script, no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from augcompress.errors import UsageError
from augcompress.evidence import Verdict
from augcompress.report.content import read
from augcompress.report.page import SECTIONS, render
from augcompress.storage import storage_errors, write_aside

Verdicts = Mapping[Path, Sequence[Verdict]]


def build(run_dirs: Sequence[Path], verdicts: Verdicts | None = None) -> str:
    """The page as text: the same runs give the same bytes.

    `verdicts` tells by run directory whether its limits were reached; without one, the page lists
    the limits as not judged.

    Raises AugcompressError when a directory is no run.
    """
    if not run_dirs:
        raise UsageError("report: names no run; see: augcompress runs list")
    judged = verdicts or {}
    return render([read(Path(folder), judged.get(Path(folder))) for folder in run_dirs])


def write(run_dirs: Sequence[Path], path: Path, verdicts: Verdicts | None = None) -> Path:
    """Write the page to `path`, all or nothing, and return it.

    Raises AugcompressError when a directory is no run, or the disk is full or not writable.
    """
    page = build(run_dirs, verdicts)
    with storage_errors(Path(path).parent), write_aside(path) as aside:
        aside.write_text(page, encoding="utf-8")
    return Path(path)
