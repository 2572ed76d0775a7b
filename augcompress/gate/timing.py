"""Timings from the target device: what `bench.py` wrote there, of the file that ships."""

from __future__ import annotations

from pathlib import Path

from augcompress.errors import AugcompressError
from augcompress.evidence import Measurement, read_measurements
from augcompress.storage import digest_file

ROLE_NAMES = ("teacher", "float")
"""Baselines that a file is known by when it is called like them: `teacher.onnx`."""
AGAIN = "write it with: python bench.py model.onnx --json FILE"


def read_timing(path: Path, shipped: Path, reference: Path | None = None) -> list[Measurement]:
    """The measurements of a timing file, marked as the shipped file's, or as its baseline's.

    A baseline called `teacher.onnx` or `float.onnx` is that baseline, and one with the content of
    `reference`, another run's shipped file, is the baseline `reference`.

    Raises AugcompressError when the file cannot be read, or another file than `shipped` was timed.
    """
    rows = read_measurements(path, AGAIN)
    if not rows:
        raise AugcompressError(f"{path}: holds no measurement; {AGAIN}")
    digest = digest_file(shipped)
    baselines = {_told(row, "baseline_sha256") for row in rows} - {None}
    last = digest_file(reference) if reference is not None else None
    found = []
    for row in rows:
        role = _baseline_name(row.subject, _told(row, "file_sha256"), last)
        is_baselines = row.baseline is None and _told(row, "file_sha256") in baselines - {digest}
        if not is_baselines:
            _check_file(path, row, shipped, digest)
        found.append(_marked(row, role if is_baselines else "shipped", last))
    return found


def _marked(row: Measurement, role: str | None, reference: str | None) -> Measurement:
    """With the role of what was timed, and the baseline by its name."""
    conditions = {**row.conditions, "role": role}
    baseline = _baseline_name(row.baseline, _told(row, "baseline_sha256"), reference)
    return row.model_copy(update={"conditions": conditions, "baseline": baseline})


def _baseline_name(given: str | None, digest: str | None, reference: str | None) -> str | None:
    """teacher, float or reference where it is known as such, else the file's name."""
    if reference is not None and digest == reference:
        return "reference"
    stem = Path(given).stem if given else ""
    return stem if stem in ROLE_NAMES else given


def _check_file(path: Path, row: Measurement, shipped: Path, digest: str) -> None:
    told = _told(row, "file_sha256")
    if told is None:
        raise AugcompressError(f"{path}: does not say which file was timed; {AGAIN}")
    if told != digest:
        raise AugcompressError(
            f"{path}: was taken of another file than {shipped} (sha256 {told[:12]}…, not"
            f" {digest[:12]}…); time the shipped one again"
        )


def _told(row: Measurement, name: str) -> str | None:
    found = row.conditions.get(name)
    return found if isinstance(found, str) else None
