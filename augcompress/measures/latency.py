"""How long files take and what they need, in ONNX Runtime on this machine's CPU.

The timing is that of `bench.py`, the script that travels with a shipped file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from augcompress.errors import AugcompressError
from augcompress.evidence import Measurement

BENCH_SCRIPT = Path(__file__).with_name("bench.py")
"""The script, to be copied beside a shipped file."""
Opener = dict[str, Any]
"""How a new process opens a file: see `bench.Opener`."""


def time_file(
    file: str | Path,
    *,
    baseline: str | Path | None = None,
    threads: int = 1,
    batch: int | None = None,
    subject: str | None = None,
    baseline_name: str | None = None,
    rounds: int | None = None,
    repeats: int | None = None,
    opener: Opener | None = None,
) -> list[Measurement]:
    """`latency_ms`, `latency_p95_ms` and `throughput` of a file.  Against a baseline first
    `speedup`, how many times faster the file is, and last the three of the baseline.

    `batch` None: 1, or what the file fixes.  `rounds`: at least so many new processes (None: 10),
    up to three times as many while times are noisy; the intervals stand on them.  `repeats`: calls
    of each file in a round; None: as many as fit into 50 ms.  `subject` is what the file is called,
    `baseline_name` what `speedup` is said to be against; None: the files' names.  `opener`: how a
    new process opens the file; None: as an ONNX file.

    Raises AugcompressError when a file is missing, is no ONNX or takes anything but one batch of
    images of a fixed size.
    """
    from augcompress.measures import bench

    with _one_error():
        settings = bench.Settings(threads, batch, rounds or bench.ROUNDS, repeats)
        files = [bench.candidate(file, settings, subject, opener)]
        if baseline is not None:
            files.append(bench.candidate(baseline, settings))
        found = _measurements(bench.timing_rows(files, settings))
    if baseline is not None and baseline_name is not None:
        found[0] = found[0].model_copy(update={"baseline": baseline_name})
    return found


def footprint(
    file: str | Path,
    subject: str | None = None,
    *,
    threads: int = 1,
    batch: int | None = None,
    opener: Opener | None = None,
) -> list[Measurement]:
    """`load_ms`, `peak_memory_bytes` (left out where the system does not say) and
    `compressed_bytes` of a file.

    Raises AugcompressError as `time_file` does.
    """
    from augcompress.measures import bench

    with _one_error():
        settings = bench.Settings(threads, batch)
        fresh = bench.fresh_rows(bench.candidate(file, settings, subject, opener), settings)
        packed = [one for one in bench.size_rows(file, subject) if one["name"] != "size_bytes"]
    return _measurements([*fresh, *packed])


def _measurements(rows: Iterable[Mapping[str, Any]]) -> list[Measurement]:
    return [Measurement.model_validate(row) for row in rows]


@contextmanager
def _one_error() -> Iterator[None]:
    from augcompress.measures import bench

    try:
        yield
    except bench.BenchError as error:
        raise AugcompressError(str(error)) from error
