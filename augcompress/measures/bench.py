"""Times an ONNX image classifier on this machine's CPU, alone or against another file.

    python bench.py model.onnx
    python bench.py model.onnx --baseline other.onnx --threads 1,2 --batch 1,8 --json timing.json

Needs Python 3.9, NumPy and ONNX Runtime, nothing else.  The file takes one input, images
`(N,C,H,W)` as uint8 or float32; it is fed random images that are the same each time.  One that
takes a whole image of any size, `(H,W,C)`, is fed one as large as its network sees: what resizing
a larger one takes comes on top.

Calls that follow each other share the machine's state, and every session and every process is a
little faster or slower for as long as it lives, by where things lie in memory.  So calls are no
independent repeats; processes are (Kalibera and Jones 2013, doi:10.1145/2464157.2464160).  Each
round is a new process.  It opens the files, warms up until their times are stable, and calls them
in turns, A B B A ...; every other round begins with the other file.  A round gives one number: its
fastest call, or the ratio of two such.  Values are geometric means over the rounds, intervals are
Student's t of the logarithms.

In one thread, ONNX Runtime computes in the thread that calls it, and a call is timed by that
thread's CPU time: what it takes on a core of its own.  On a busy machine wall time says otherwise,
and not for both files alike: a call of milliseconds is nearly always interrupted, a short one
rarely.  CPU time still holds what an interruption leaves behind, cold caches: up to half as much
again for a call of a millisecond.  So only steady calls count, which were not interrupted, nor was
the call before them.  A round goes on until it has enough of these; where it finds too few, the
timing is marked `too_noisy`.  With several threads it is wall time of all calls, and what other
processes took of it is told: see `waited`.

Rounds are added, twice at most, while the interval is wider than
4 % of its value; in simulation that lowers the coverage of 95 % by at most one point.  What ends
wider than 10 % is marked `too_noisy`.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import importlib
import json
import math
import os
import platform
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

LEVEL = 0.95
ROUNDS = 10  # and as many again, twice at most, while the interval is wide
LOOKS = 3
NARROW = 0.04  # width of an interval, as a share of its value, at which no round is added
TOO_WIDE = 0.10  # ... above which it is called too noisy
WAITED = 0.05  # share of wall time spent waiting for a CPU above which wall times are too noisy
STEADY = 10  # steady calls of each file that a round goes on for, or half of its calls if fewer
LONGEST_S = 4.0  # ... at most so long
SHORT_OF = 0.1  # share of rounds without them above which the timing is too noisy
INTERRUPTED = 0.01  # share of calls that are interrupted above which ...
RESIDUE = 0.01  # ... intervals are wider by this share at either end: caches are never quite warm
STABLE = 0.05  # change of the median between two windows of calls that counts as warm
MOST_WINDOWS = 10
ROUND_MS = 50  # what the calls of a round may take, while they are no fewer than 8
FEWEST_CALLS, MOST_CALLS = 8, 200
BLOCK = 10  # calls of a file in succession
LEAD_IN = 2  # ... and before them
WINDOW_MS = 20
FRESH = 5  # processes that load a file anew
FRESH_CALLS = 10
INPUTS = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}

Clock = Callable[[], int]
WALL: Clock = time.perf_counter_ns
CPU_TIME, WALL_TIME = "CPU time of the calling thread", "wall time"
Opener = dict[str, Any]
"""`function`: `module:name` of what opens a file that is not ONNX, called with the file, the
threads and what is `given`; returns an object with the `get_inputs` and `run` of a session."""
Row = dict[str, Any]
"""A measurement as in `measurements.json` of augcompress."""


class BenchError(Exception):
    """What the user can mend, in one line: `where: what is wrong; what to do`."""


@dataclass(frozen=True)
class Settings:
    """How to call the files."""

    threads: int = 1
    """Threads of ONNX Runtime within one operator."""
    batch: int | None = None
    """Images in a call; None: 1, or what the file fixes."""
    rounds: int = ROUNDS
    """Rounds before the first look at the interval; an odd number is raised by one."""
    calls: int | None = None
    """Calls of each file in a round; None: 8 to 200, as many as fit into 50 ms."""

    def __post_init__(self) -> None:
        for name, least in (("threads", 1), ("batch", 1), ("rounds", 2), ("calls", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise BenchError(f"{name}: {value} is too few; give at least {least}")


@dataclass(frozen=True)
class Candidate:
    """A file that can be timed."""

    name: str
    path: str
    batch: int
    """Images in a call."""
    sha256: str = ""
    opener: Opener | None = None
    """None: ONNX Runtime."""


@dataclass(frozen=True)
class Round:
    """What one round of calls took."""

    times: np.ndarray
    """(files, calls) milliseconds."""
    warm_up: int
    """Calls of each file before those that count."""
    waited: float = 0.0
    """Share of the round's time in which this process was ready but another one ran."""
    steady: np.ndarray | None = None
    """(files, calls): was the call not interrupted, nor the one before?  None: all."""
    calls: int = 0
    """Calls of each file that the round began with; 0: those that it has."""

    def of(self, which: int) -> np.ndarray:
        """Milliseconds of a file's steady calls; of all, where too few are steady."""
        times = self.times[which]
        return times if self.steady is None or self.is_short else times[self.steady[which]]

    @property
    def is_short(self) -> bool:
        """Are there too few steady calls?"""
        if self.steady is None:
            return False
        return int(self.steady.sum(axis=1).min()) < min(STEADY, (self.calls or 2) // 2)

    @property
    def interrupted(self) -> float:
        """Share of calls that are not steady."""
        return 0.0 if self.steady is None else 1 - float(self.steady.mean())


def new_session(file: str | Path, threads: int = 1, opener: Opener | None = None) -> Any:
    """A session on the CPU.

    With several threads they stop spinning after each call, so that one file's threads do not slow
    down the other file.  Raises BenchError when there is no such file or it cannot be loaded.
    """
    if not Path(file).is_file():
        raise BenchError(f"{file}: there is no such file; give the path of an ONNX file")
    if opener is not None:
        module, _, name = opener["function"].partition(":")
        opens = getattr(importlib.import_module(module), name)
        return opens(str(file), threads, **opener["given"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if threads > 1:
        options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no base class of their own
        reason = str(error).strip().partition("\n")[0]
        raise BenchError(
            f"{file}: ONNX Runtime cannot load it: {reason}; export it again"
        ) from error


def feed_of(session: Any, file: str | Path, batch: int | None = None) -> dict[str, np.ndarray]:
    """Random images, the same for every file of that shape, in the type that the session takes.

    Raises BenchError when it takes anything but one batch of images of fixed size.
    """
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs) or "none"
        raise BenchError(f"{file}: has {len(inputs)} inputs ({names}); needs one, (N,C,H,W)")
    kind, shape = inputs[0].type, inputs[0].shape
    if kind not in INPUTS:
        raise BenchError(f"{file}: takes {kind}; needs tensor(uint8) or tensor(float)")
    if len(shape) == 3 and kind == "tensor(uint8)":
        _batch_of(1, file, batch)
        return {inputs[0].name: noise((*_own_size(session, file), shape[2]))}
    if len(shape) != 4 or not all(isinstance(size, int) and size > 0 for size in shape[1:]):
        raise BenchError(f"{file}: takes {shape}; needs (N,C,H,W) with fixed C, H and W")
    count = _batch_of(shape[0], file, batch)
    images = noise((count, *shape[1:]))
    scale = 1 if kind == "tensor(uint8)" else np.float32(255)
    return {inputs[0].name: (images / scale).astype(INPUTS[kind])}


def noise(shape: Sequence[int]) -> np.ndarray:
    """Random bytes, the same for every shape."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _own_size(session: Any, file: str | Path) -> list[int]:
    """Height and width that the network in a file sees, which the file itself tells."""
    told = session.get_modelmeta().custom_metadata_map.get("input_size", "[]")
    size = [int(side) for side in json.loads(told)[1:]]
    if len(size) != 2:
        raise BenchError(f"{file}: takes images of any size and names none; export it again")
    return size


def _batch_of(fixed: Any, file: str | Path, batch: int | None) -> int:
    """The batch that was asked for, if the file takes it; else the file's own, else 1."""
    if isinstance(fixed, int) and fixed > 0:
        if batch not in (None, fixed):
            raise BenchError(f"{file}: takes batches of {fixed}, not {batch}; ask for {fixed}")
        return fixed
    return batch or 1


def open_with_images(
    file: str | Path, threads: int = 1, batch: int | None = None, opener: Opener | None = None
) -> tuple[Any, dict[str, np.ndarray]]:
    """A session and what to feed it; raises BenchError as `new_session` and `feed_of` do."""
    session = new_session(file, threads, opener)
    return session, feed_of(session, file, batch)


def candidate(
    file: str | Path, settings: Settings, name: str | None = None, opener: Opener | None = None
) -> Candidate:
    """A file, looked at; raises BenchError as `new_session` and `feed_of` do."""
    _, feed = open_with_images(file, settings.threads, settings.batch, opener)
    images = next(iter(feed.values()))
    batch = len(images) if images.ndim == 4 else 1
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return Candidate(Path(file).name if name is None else name, str(file), batch, digest, opener)


def clock_of(threads: int, openers: Sequence[Opener | None]) -> str:
    """CPU time where the calling thread does all the work and the system counts it finely."""
    alone = threads == 1 and not any(openers)
    return CPU_TIME if alone and sys.platform != "win32" else WALL_TIME


CLOCKS: dict[str, Clock] = {CPU_TIME: time.thread_time_ns, WALL_TIME: time.perf_counter_ns}


def waiting_ns() -> int:
    """Nanoseconds that this process's threads have been ready to run and did not, since they began.

    Linux tells it; elsewhere 0.
    """
    tasks = Path("/proc/self/task").glob("*/schedstat")
    told = [line.split() for task in tasks for line in _lines(task)]
    return sum(int(fields[1]) for fields in told if len(fields) == 3)


def timed(
    session: Any, feed: dict[str, np.ndarray], calls: int, clock: Clock = time.perf_counter_ns
) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds of each of so many calls, one after the other, and whether it was interrupted:
    whether more than 20 us and 1 % of the time on the wall are missing in that of the clock."""
    own, wall = np.empty(calls), np.empty(calls)
    for number in range(calls):
        began, start = WALL(), clock()
        session.run(None, feed)
        own[number] = (clock() - start) / 1e6
        wall[number] = (WALL() - began) / 1e6
    return own, wall - own > np.maximum(0.02, 0.01 * own)


def in_turns(
    sessions: Sequence[Any],
    feeds: Sequence[dict[str, np.ndarray]],
    calls: int,
    first: int = 0,
    clock: Clock = time.perf_counter_ns,
) -> tuple[np.ndarray, np.ndarray]:
    """`(sessions, calls)` milliseconds, and which calls are steady, in blocks A B B A A B B A, from
    session `first` on.

    A block is 10 calls (of few calls: half of them), after two that do not count: they bring back
    to the caches what the other file drove out.  `calls` is rounded up to an even number of blocks.
    """
    block = min(BLOCK, -(-calls // 2))
    blocks = 2 * -(-calls // (2 * block))
    idle = LEAD_IN if len(sessions) > 1 else 0
    times = np.empty((len(sessions), blocks, block))
    steady = np.empty(times.shape, bool)
    turns = [*range(first, len(sessions)), *range(first)]
    for number in range(blocks):
        for which in turns if number % 2 == 0 else reversed(turns):
            taken, hit = timed(sessions[which], feeds[which], idle + block, clock)
            times[which, number] = taken[idle:]
            steady[which, number] = ~(hit | np.roll(hit, 1))[idle:]
    return times.reshape(len(sessions), -1), steady.reshape(len(sessions), -1)


def warm_up(call: Callable[[int], np.ndarray]) -> tuple[int, float]:
    """Call in windows until the medians of two differ by less than 5 %.

    `call(n)` gives the times of n calls of each file, (files, n).  Returns how many calls of each
    file that were, and the milliseconds that one call of all of them takes.
    """
    total = float(call(1).sum())  # the first call is slow
    window = int(min(10, max(3, WINDOW_MS // max(total, 1e-6))))
    before = np.median(call(window), axis=1)
    windows, stable = 1, False
    while not stable and windows < MOST_WINDOWS:
        now = np.median(call(window), axis=1)
        stable = bool(np.all(np.abs(now - before) <= STABLE * before))
        before, windows = now, windows + 1
    return 1 + window * windows, float(before.sum())


def take_round(
    opens: Sequence[Callable[[], tuple[Any, dict[str, np.ndarray]]]],
    first: int = 0,
    calls: int | None = None,
    clock: Clock = time.perf_counter_ns,
) -> Round:
    """Open the files, file `first` before the others; warm up; call them in turns.

    Garbage is not collected meanwhile.
    """
    order = [*range(first, len(opens)), *range(first)]
    opened = {which: opens[which]() for which in order}
    sessions = [opened[which][0] for which in range(len(opens))]
    feeds = [opened[which][1] for which in range(len(opens))]

    def call(count: int) -> np.ndarray:
        taken = {which: timed(sessions[which], feeds[which], count, clock)[0] for which in order}
        return np.array([taken[which] for which in range(len(opens))])

    with _no_garbage():
        warm, took = warm_up(call)
        fitting = int(min(MOST_CALLS, max(FEWEST_CALLS, ROUND_MS // max(took, 1e-6))))
        started, waited = WALL(), waiting_ns()
        pieces = [in_turns(sessions, feeds, calls or fitting, first, clock)]
        found = joined(pieces, warm)
        while found.is_short and WALL() - started < 1e9 * LONGEST_S:
            pieces.append(in_turns(sessions, feeds, calls or fitting, first, clock))
            found = joined(pieces, warm)
        return replace(found, waited=(waiting_ns() - waited) / (WALL() - started))


def joined(pieces: Sequence[tuple[np.ndarray, np.ndarray]], warm: int) -> Round:
    """Calls in turns that follow each other, as one round."""
    times, steady = (np.concatenate(one, axis=1) for one in zip(*pieces))  # noqa: B905
    return Round(times, warm, steady=steady, calls=pieces[0][0].shape[1])


@contextlib.contextmanager
def _no_garbage() -> Iterator[None]:
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def take_rounds(
    take: Callable[[int, int | None], Round], files: int, settings: Settings
) -> list[Round]:
    """Rounds of one file, or of a file and its baseline, until the interval is narrow or three
    times the rounds are done.  `take(first, calls)` takes one."""
    rounds: list[Round] = []
    calls = settings.calls
    for _ in range(LOOKS):
        for number in range(settings.rounds + settings.rounds % 2):
            rounds.append(take(number % files, calls))
            calls = calls or rounds[0].calls or rounds[0].times.shape[1]
        values = ratios(rounds) if files == 2 else fastest(rounds, 0)
        if width(*with_interval(rounds, values)) <= NARROW or is_lost(rounds, settings):
            break
    return rounds


def is_lost(rounds: Sequence[Round], settings: Settings) -> bool:
    """Are so many rounds short of steady calls that those to come cannot make up for it?"""
    return sum(one.is_short for one in rounds) > SHORT_OF * LOOKS * (settings.rounds + 1)


def in_new_process(order: dict[str, Any]) -> dict[str, Any]:
    """What `obey` answers in a new process.

    Raises BenchError when that ends with an error.
    """
    command = [sys.executable, __file__, "--child", json.dumps(order)]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}  # files beside this one are no modules
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise BenchError(f"{order['files'][0]}: a new process could not run it: {reason}")
    return json.loads(done.stdout.splitlines()[-1])


def obey(order: dict[str, Any]) -> dict[str, Any]:
    """Do in this process what another one ordered: a round of calls, or loading a file."""
    threads, batch = order["threads"], order["batch"]
    files = list(zip(order["files"], order["openers"], strict=True))
    if "first" not in order:
        return load(files[0][0], threads, batch, files[0][1])
    opens = [partial(open_with_images, file, threads, batch, opener) for file, opener in files]
    clock = CLOCKS[clock_of(threads, order["openers"])]
    taken = take_round(opens, order["first"], order["calls"], clock)
    steady = None if taken.steady is None else taken.steady.tolist()
    return {
        "times": taken.times.tolist(),
        "warm_up": taken.warm_up,
        "waited": taken.waited,
        "steady": steady,
        "calls": taken.calls,
    }


def fastest(rounds: Sequence[Round], which: int) -> np.ndarray:
    """(rounds,) one file's fastest call in each round: what is added to it is disturbance."""
    return np.array([one.of(which).min() for one in rounds])


def ratios(rounds: Sequence[Round]) -> np.ndarray:
    """(rounds,) the baseline's fastest call (file 1) over that of the file (file 0)."""
    return fastest(rounds, 1) / fastest(rounds, 0)


def interrupted(rounds: Sequence[Round]) -> float:
    """Share of calls that were interrupted, or were next to one that was."""
    return float(np.mean([one.interrupted for one in rounds]))


def with_interval(rounds: Sequence[Round], values: np.ndarray) -> tuple[float, float, float]:
    """The mean of a number of each round, with its interval: wider where calls were interrupted."""
    value, low, high = over_rounds(values)
    residue = 1 + RESIDUE if interrupted(rounds) > INTERRUPTED else 1.0
    return value, low / residue, high * residue


def over_rounds(values: np.ndarray, level: float = LEVEL) -> tuple[float, float, float]:
    """Geometric mean of positive values with its Student t interval: `(value, low, high)`."""
    logs = np.log(values)
    half = student_t(level, len(logs) - 1) * float(logs.std(ddof=1)) / math.sqrt(len(logs))
    centre = float(logs.mean())
    return math.exp(centre), math.exp(centre - half), math.exp(centre + half)


def width(value: float, low: float, high: float) -> float:
    """Of an interval, as a share of its value."""
    return (high - low) / value


def student_t(level: float, freedom: int) -> float:
    """Where a Student t variable stays within plus and minus, with that probability."""
    low, high = 0.0, 1e4
    while high - low > 1e-9 * (1 + low):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_within(middle, freedom) < level else (low, middle)
    return high


def _t_within(bound: float, freedom: int) -> float:
    """P(|t| < bound), by the finite series of Abramowitz and Stegun 1964, 26.7.3 and 26.7.4."""
    angle = math.atan(bound / math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = term if freedom > 1 else 0.0
    for step in range(2 + odd, freedom - 1, 2):
        term *= square * (step - 1) / step
        total += term
    return (angle + sine * total) * 2 / math.pi if odd else sine * total


def row(
    name: str,
    unit: str,
    better: str,
    estimate: tuple[float, float, float],
    n: int | None,
    subject: str,
    conditions: dict[str, Any],
    baseline: str | None = None,
) -> Row:
    """One measurement; `n` None: exact, without an interval."""
    value, low, high = estimate
    noisy = n is not None and (width(value, low, high) > TOO_WIDE or is_disturbed(conditions))
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "better": better,
        "n": n,
        "low": None if n is None else min(low, value),
        "high": None if n is None else max(high, value),
        "level": LEVEL,
        "method": None if n is None else "student_t",
        "split": None,
        "subject": subject,
        "baseline": baseline,
        "conditions": {**conditions, **({"too_noisy": True} if noisy else {})},
    }


def is_disturbed(conditions: Row) -> bool:
    """Did other processes take a part of wall times, or leave too few steady calls?"""
    on_the_wall = conditions.get("clock") == WALL_TIME and conditions.get("waited", 0) > WAITED
    return on_the_wall or conditions.get("short_rounds", 0) > SHORT_OF * conditions.get("rounds", 0)


def latency_rows(rounds: Sequence[Round], which: int, file: Candidate, conditions: Row) -> list:
    """The fastest call of a round and the 95th percentile in ms, and images per second, of one
    file."""
    told = {**conditions, "file_sha256": file.sha256}
    calls = [one.of(which) for one in rounds]
    tail = np.array([np.quantile(one, 0.95, method="weibull") for one in calls])
    rate = 1000 * file.batch / np.array([one.mean() for one in calls])
    return [
        row(name, unit, better, with_interval(rounds, values), len(rounds), file.name, told)
        for name, unit, better, values in (
            ("latency_ms", "ms", "lower", fastest(rounds, which)),
            ("latency_p95_ms", "ms", "lower", tail),
            ("throughput", "images/s", "higher", rate),
        )
    ]


def opened_by(files: Sequence[Candidate]) -> dict[str, Any]:
    """The files, and how to open them, for a new process."""
    return {"files": [one.path for one in files], "openers": [one.opener for one in files]}


def rounds_of(files: Sequence[Candidate], settings: Settings) -> list[Round]:
    """Rounds of a file, or of a file and its baseline, each in a new process."""
    order = {**opened_by(files), "threads": settings.threads}

    def take(first: int, calls: int | None) -> Round:
        found = in_new_process({**order, "batch": settings.batch, "first": first, "calls": calls})
        steady = None if found["steady"] is None else np.array(found["steady"])
        told = {"waited": found["waited"], "steady": steady, "calls": found["calls"]}
        return Round(np.array(found["times"]), found["warm_up"], **told)

    return take_rounds(take, len(files), settings)


def timing_rows(
    files: Sequence[Candidate],
    settings: Settings,
    taking: Callable[[Sequence[Candidate], Settings], list[Round]] = rounds_of,
) -> list[Row]:
    """Of a file alone its latencies; of a file and its baseline first `speedup`, how many times
    faster the file is (ratio of the latencies), then the latencies of both.

    Raises BenchError when they take batches of different size.
    """
    if len({file.batch for file in files}) > 1:
        told = ", ".join(f"{file.name} {file.batch}" for file in files)
        raise BenchError(f"batch: the files take different sizes ({told}); export them alike")
    rounds = taking(files, settings)
    conditions = {
        **machine(settings.threads, files[0].batch),
        "clock": clock_of(settings.threads, [one.opener for one in files]),
        "waited": round(float(np.mean([one.waited for one in rounds])), 4),
        "interrupted": round(interrupted(rounds), 4),
        "rounds": len(rounds),
        "short_rounds": sum(one.is_short for one in rounds),
        "calls": rounds[0].calls or rounds[0].times.shape[1],
        "warm_up": max(one.warm_up for one in rounds),
        "interleaved": len(files) == 2,
    }
    rows = [_speedup(rounds, files[0], files[1], conditions)] if len(files) == 2 else []
    for which, file in enumerate(files):
        rows += latency_rows(rounds, which, file, conditions)
    return rows


def _speedup(rounds: Sequence[Round], file: Candidate, other: Candidate, conditions: Row) -> Row:
    told = {**conditions, "file_sha256": file.sha256, "baseline_sha256": other.sha256}
    found = with_interval(rounds, ratios(rounds))
    return row(
        "speedup", "ratio", "higher", found, len(rounds), file.name, told, baseline=other.name
    )


def size_rows(file: str | Path, name: str | None = None) -> list[Row]:
    """Bytes of the file as it is, and as zlib packs it at level 9.

    Raises BenchError when it cannot be read.
    """
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise BenchError(f"{file}: {error.strerror}; give the path of an ONNX file") from error
    told = {"file_sha256": hashlib.sha256(content).hexdigest()}
    size, packed = len(content), len(zlib.compress(content, 9))
    subject = Path(file).name if name is None else name
    zlib_told = {**told, "compression": "zlib level 9"}
    return [
        row("size_bytes", "bytes", "lower", (size,) * 3, None, subject, told),
        row("compressed_bytes", "bytes", "lower", (packed,) * 3, None, subject, zlib_told),
    ]


def fresh_rows(file: Candidate, settings: Settings) -> list[Row]:
    """What a process that starts with the file spends: ms to load it, and bytes of memory.

    `load_ms`: a session created in a new process, the file being in the system's cache, by the
    same clock as calls; the first
    call after it is `first_call_ms` in the conditions.  `peak_memory_bytes`: see `load`; left out
    where the system does not say.  Raises BenchError when a new process cannot run it.
    """
    order = {**opened_by([file]), "threads": settings.threads, "batch": settings.batch}
    found = [in_new_process(order) for _ in range(FRESH)]
    clock = clock_of(settings.threads, [file.opener])
    told = {**machine(settings.threads, file.batch), "clock": clock, "process": "new"}
    told["file_sha256"] = file.sha256
    first = float(np.median([one["first_call_ms"] for one in found]))
    spent = over_rounds(np.array([one["load_ms"] for one in found]))
    conditions = {**told, "first_call_ms": first}
    rows = [row("load_ms", "ms", "lower", spent, FRESH, file.name, conditions)]
    peaks = [one["peak_bytes"] for one in found if one["peak_bytes"]]
    if len(peaks) == FRESH:
        conditions = {**told, "calls": FRESH_CALLS, "counts": found[0]["counts"]}
        peak = over_rounds(np.array(peaks))
        rows.append(row("peak_memory_bytes", "bytes", "lower", peak, FRESH, file.name, conditions))
    return rows


def load(
    file: str | Path, threads: int = 1, batch: int | None = None, opener: Opener | None = None
) -> dict[str, Any]:
    """Load and call a file in this process, and measure the time and memory that takes.

    The memory is the largest resident set while loading and calling, less the resident set before:
    weights, arena, input, and what the runtime itself then needs for the first time.
    """
    if opener is not None:
        importlib.import_module(opener["function"].partition(":")[0])  # is no part of loading
    before, counts = _memory_before()
    clock = CLOCKS[clock_of(threads, [opener])]
    start = clock()
    session = new_session(file, threads, opener)
    loaded = clock()
    feed = feed_of(session, file, batch)
    first = float(timed(session, feed, FRESH_CALLS, clock)[0][0])
    peak = _status("VmHWM") if counts.startswith("VmHWM") else _largest_resident()
    return {
        "load_ms": (loaded - start) / 1e6,
        "first_call_ms": first,
        "peak_bytes": None if peak is None or before is None else max(0, peak - before),
        "counts": counts,
    }


def _memory_before() -> tuple[int | None, str]:
    """Bytes now, and what will be compared with them."""
    resident = _status("VmRSS")
    if resident is None or _status("VmHWM") is None:
        return _largest_resident(), "largest resident set (getrusage), less that before"
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return resident, "VmHWM, which could not be reset, less VmRSS before"
    return resident, "VmHWM, less VmRSS before"


def _status(key: str) -> int | None:
    """Bytes from Linux' account of this process; None: there is none."""
    lines = _lines("/proc/self/status")
    found = [line.split()[1] for line in lines if line.startswith(f"{key}:")]
    return 1024 * int(found[0]) if found else None


def _largest_resident() -> int | None:
    """Bytes, largest since the process began; None: the system does not say."""
    if resource is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def machine(threads: int, batch: int) -> dict[str, Any]:
    """What was timed on."""
    return {
        "threads": threads,
        "batch": batch,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "int8_dot_product": has_int8_dot_product(),
        "os": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "onnxruntime": onnxruntime.__version__,
    }


def cpu_name(cpuinfo: str | Path = "/proc/cpuinfo") -> str:
    """The CPU's model name, or the board's where the CPU has none."""
    facts = [line.partition(":") for line in reversed(_lines(cpuinfo))]
    named = {key.strip(): value.strip() for key, _, value in facts}
    known = [named[key] for key in ("model name", "Model", "Hardware") if named.get(key)]
    return known[0] if known else platform.processor() or platform.machine()


def has_int8_dot_product(cpuinfo: str | Path = "/proc/cpuinfo") -> bool | None:
    """Whether an x86 CPU has VNNI, without which int8 gains less; None: not known."""
    flags = [line.split() for line in _lines(cpuinfo) if line.startswith("flags")]
    return bool({"avx512_vnni", "avx_vnni"} & set(flags[0])) if flags else None


def _lines(path: str | Path) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def table(rows: Sequence[Row]) -> str:
    """Rows as text, at most 80 columns wide."""
    lines = [f"{'':<18}{'file':<17}{'value':>16}  {'95 % interval'}"]
    for one in rows:
        scale, unit = (1000, "kB") if one["unit"] == "bytes" else (1, one["unit"])
        value, low, high = (_short(one[key], scale) for key in ("value", "low", "high"))
        ends = f"{low} - {high}" if low else ""
        note = " too noisy" if one["conditions"].get("too_noisy") else ""
        subject = one["subject"] if len(one["subject"]) < 17 else f"{one['subject'][:13]}..."
        shown = f"{one['name']:<18}{subject:<17}{f'{value} {unit}':>16}  {ends:<17}{note}"
        lines.append(shown.rstrip())
    return "\n".join(lines)


def _short(number: float | None, scale: int) -> str:
    """Three significant digits, all of them below a million; nothing for None."""
    if number is None:
        return ""
    number /= scale
    return f"{number:.0f}" if 999.5 <= number < 1e6 else f"{number:.3g}"


def heading(conditions: Row) -> str:
    """What the rows below it were taken with."""
    taken = "{rounds} rounds of {calls} calls, {clock}".format(**conditions)
    return f"\nthreads {conditions['threads']}, batch {conditions['batch']}: {taken}"


def bench(
    file: Path,
    baseline: Path | None,
    settings: Sequence[Settings],
    say: Callable[[str], None],
    only_times: bool = False,
) -> list[Row]:
    """Everything of a file and its baseline: what they spend at the start (not if `only_times`),
    then the times for each of the settings; `say` prints the progress.

    Raises BenchError when a file is none that can be timed.
    """
    paths = [file] if baseline is None else [file, baseline]
    same = baseline is not None and baseline.name == file.name and baseline != file
    names = {path: str(path) if same else path.name for path in paths}
    prepared = [[candidate(path, one, names[path]) for path in paths] for one in settings]
    told = machine(settings[0].threads, prepared[0][0].batch)
    say("{cpu}, {cores} cores, {os}, onnxruntime {onnxruntime}".format(**told)[:80])
    rows: list[Row] = []
    if not only_times:
        for one in prepared[0]:
            rows += size_rows(one.path, one.name) + fresh_rows(one, settings[0])
        say(f"\n{table(rows)}")
    for number, files in enumerate(prepared):
        times = timing_rows(files, settings[number])
        say(f"{heading(times[0]['conditions'])}\n{table(times)}")
        rows += times
    return rows


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """Write `{"version": 1, "measurements": rows}`, aside first, then under its name.

    Raises BenchError when it cannot be written.
    """
    aside = path.with_name(f"{path.name}.part")
    text = json.dumps({"version": 1, "measurements": list(rows)}, indent=2, allow_nan=False)
    try:
        aside.write_text(text + "\n", encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        raise BenchError(f"{path}: {error.strerror}; give another path to --json") from error


def numbers(text: str) -> list[int]:
    """`1,2` as numbers."""
    return [int(one) for one in text.split(",")]


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], allow_abbrev=False
    )
    parser.add_argument("model", type=Path, help="ONNX file")
    parser.add_argument("--baseline", type=Path, help="ONNX file to compare it with")
    parser.add_argument("--threads", type=numbers, default=[1], help="such as 1,2 (default: 1)")
    parser.add_argument(
        "--batch", type=numbers, default=[None], help="such as 1,8 (default: 1, or the file's)"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=ROUNDS,
        help=f"up to three times as many while times are noisy (default: {ROUNDS})",
    )
    parser.add_argument("--only-times", action="store_true", help="no bytes, loading and memory")
    parser.add_argument("--json", type=Path, help="also write the measurements to this file")
    return parser.parse_args(given)


def _say(text: str) -> None:
    print(text, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments[:1] == ["--child"]:
            print(json.dumps(obey(json.loads(arguments[1]))))
            return 0
        given = _arguments(arguments)
        settings = [
            Settings(threads, batch, given.rounds)
            for threads in given.threads
            for batch in given.batch
        ]
        rows = bench(given.model, given.baseline, settings, _say, given.only_times)
        if given.json:
            write_json(given.json, rows)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
