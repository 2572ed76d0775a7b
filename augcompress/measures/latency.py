"""How long a file takes for a batch, in ONNX Runtime on this machine's CPU."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from augcompress.errors import AugcompressError
from augcompress.measures.intervals import LEVEL, bootstrap_median, bootstrap_ratio
from augcompress.records import Measurement

WINDOW = 10  # rounds between two looks at whether warming up is over
STABLE = 0.05  # relative change of the median between windows that counts as stable
MOST_WINDOWS = 30


class Session(Protocol):
    """What is needed of an `onnxruntime.InferenceSession`."""

    def run(self, output_names: Any, input_feed: dict[str, np.ndarray]) -> Any: ...
    def get_inputs(self) -> Any: ...
    def get_session_options(self) -> Any: ...


def feed_of(session: Session, image: np.ndarray, batch: int = 1) -> dict[str, np.ndarray]:
    """`batch` copies of one image `(C,H,W)`, uint8 or in [0,1], in the session's input type."""
    first = session.get_inputs()[0]
    if first.type == "tensor(uint8)" and image.dtype != np.uint8:
        image = np.rint(image * 255).astype(np.uint8)
    elif first.type != "tensor(uint8)":
        scale = 255 if image.dtype == np.uint8 else 1
        image = image.astype(np.float32) / np.float32(scale)
    return {first.name: np.repeat(image[None], batch, axis=0)}


def interleaved_ms(
    sessions: Sequence[Session], feeds: Sequence[dict[str, np.ndarray]], repeats: int
) -> np.ndarray:
    """`(sessions, repeats)` milliseconds per call, taken in turns; every other turn is reversed, so
    that no session always runs first."""
    times = np.empty((len(sessions), repeats))
    turns = list(range(len(sessions)))
    for repeat in range(repeats):
        for which in turns if repeat % 2 == 0 else reversed(turns):
            start = time.perf_counter_ns()
            sessions[which].run(None, feeds[which])
            times[which, repeat] = (time.perf_counter_ns() - start) / 1e6
    return times


def warm_up(sessions: Sequence[Session], feeds: Sequence[dict[str, np.ndarray]]) -> int:
    """Call until the medians of two windows differ by less than 5 %; returns the calls of each."""
    before = np.median(interleaved_ms(sessions, feeds, WINDOW), axis=1)
    for window in range(1, MOST_WINDOWS):
        now = np.median(interleaved_ms(sessions, feeds, WINDOW), axis=1)
        if np.all(np.abs(now / before - 1) < STABLE):
            return WINDOW * (window + 1)
        before = now
    return WINDOW * MOST_WINDOWS


def latency(
    session: Session,
    image: np.ndarray,
    *,
    repeats: int = 100,
    threads: int = 1,
    batch: int = 1,
    subject: str | None = None,
) -> Measurement:
    """Median milliseconds per call for one batch, with its bootstrap interval; p95 in conditions.

    Raises AugcompressError when the session was opened with another number of threads.
    """
    _require_threads([session], threads)
    feed = feed_of(session, np.asarray(image), batch)
    warm = warm_up([session], [feed])
    times = interleaved_ms([session], [feed], repeats)[0]
    return _latency(times, _conditions(threads, batch, warm), subject)


def speedup(
    baseline_session: Session,
    session: Session,
    image: np.ndarray,
    *,
    repeats: int = 100,
    threads: int = 1,
    batch: int = 1,
    subject: str | None = None,
    baseline: str | None = None,
) -> list[Measurement]:
    """How many times faster `session` is than the baseline: the ratio of the median latencies,
    taken in turns, with a paired bootstrap interval; then the latencies of both, session first.

    Raises AugcompressError when a session was opened with another number of threads.
    """
    sessions = [baseline_session, session]
    _require_threads(sessions, threads)
    feeds = [feed_of(one, np.asarray(image), batch) for one in sessions]
    conditions = _conditions(threads, batch, warm_up(sessions, feeds))
    slow, fast = interleaved_ms(sessions, feeds, repeats)
    low, high = bootstrap_ratio(slow, fast)
    ratio = Measurement(
        name="speedup",
        value=float(np.median(slow) / np.median(fast)),
        unit="ratio",
        better="higher",
        n=repeats,
        low=low,
        high=high,
        level=LEVEL,
        method="bootstrap",
        subject=subject,
        baseline=baseline,
        conditions=conditions,
    )
    return [ratio, _latency(fast, conditions, subject), _latency(slow, conditions, baseline)]


def _latency(times: np.ndarray, conditions: dict[str, Any], subject: str | None) -> Measurement:
    low, high = bootstrap_median(times)
    p50, p95 = np.quantile(times, [0.5, 0.95])
    return Measurement(
        name="latency_ms",
        value=float(p50),
        unit="ms",
        better="lower",
        n=len(times),
        low=min(low, float(p50)),
        high=max(high, float(p50)),
        level=LEVEL,
        method="bootstrap",
        subject=subject,
        conditions={**conditions, "p95_ms": float(p95)},
    )


def _require_threads(sessions: Sequence[Session], threads: int) -> None:
    for session in sessions:
        opened = session.get_session_options().intra_op_num_threads
        if opened != threads:
            raise AugcompressError(
                f"latency: a session has {opened} threads, not {threads}; open it with {threads}"
            )


def _conditions(threads: int, batch: int, warm: int) -> dict[str, Any]:
    return {
        "threads": threads,
        "batch": batch,
        "warm_up": warm,
        "interleaved": True,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
    }


def cpu_name(cpuinfo: str | Path = "/proc/cpuinfo") -> str:
    """The CPU's model name."""
    try:
        lines = Path(cpuinfo).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
