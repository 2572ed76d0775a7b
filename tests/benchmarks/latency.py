"""Is the timing honest?  Two files: how often does the speedup's interval contain the true one?

    python -m tests.benchmarks.latency --model model.onnx --baseline teacher.onnx [--write]

Runs `bench.py` on an idle machine, which gives the true ratio (that of a file with itself is 1),
then with 1, 4 and 16 other processes that compute.  Several runs at once stand for some of these.
Resumable: each run is a line of DIR/latency.jsonl.  Nothing else may run meanwhile.  Budget on 2
cores, for 100 runs of each load: an hour.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from augcompress.evidence.formatting import bytes_text, three_digits
from augcompress.evidence.records import Measurement, read_measurements
from augcompress.measures import BENCH_SCRIPT
from tests.benchmarks.recipes import publish

MODEL = Path("runs/benchmarks/digits/export/model.onnx")
LOADS = {"idle": 0, "1 busy": 1, "4 busy": 4, "16 busy": 16}
AT_ONCE = {"idle": 1, "1 busy": 1, "4 busy": 3, "16 busy": 9}
"""How many runs go on at a time: to each of them, the others are busy processes."""
BUSY = "while True: sum(range(10_000))"


def take(model: Path, baseline: Path, load: str) -> dict[str, Any]:
    """One run of the script as its users run it."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "timing.json"
        command = [sys.executable, str(BENCH_SCRIPT), str(model), "--baseline", str(baseline)]
        command += ["--only-times", "--json", str(told)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        rows = read_measurements(told)
    facts = {"load": load, "seconds": time.perf_counter() - start, "average": os.getloadavg()[0]}
    kept = [one for one in rows if one.name in ("speedup", "latency_ms")][:2]
    return {**facts, **{one.name: one.model_dump(mode="json") for one in kept}}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes compute meanwhile, each on a core."""
    running = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def read(log: Path, model: Path, baseline: Path) -> list[dict[str, Any]]:
    """The runs so far; a line that was cut off is left out."""
    found = []
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    told = [one["speedup"]["conditions"] for one in found]
    digests = {(one["file_sha256"], one["baseline_sha256"]) for one in told}
    if digests - {(digest_of(model), digest_of(baseline))}:
        raise SystemExit(f"{log}: holds runs of other files; give another --out")
    return found


def digest_of(model: Path) -> str:
    """SHA-256, as the measurements have it."""
    return hashlib.sha256(model.read_bytes()).hexdigest()


def perform(log: Path, model: Path, baseline: Path, runs: int) -> list[dict[str, Any]]:
    """Take the runs that are missing."""
    for load, others in LOADS.items():
        missing = runs - sum(one["load"] == load for one in read(log, model, baseline))
        if missing <= 0:
            continue
        with busy(others + 1 - AT_ONCE[load]), ThreadPoolExecutor(AT_ONCE[load]) as pool:
            taken = pool.map(lambda load: take(model, baseline, load), [load] * missing)
            for number, one in enumerate(taken):
                with log.open("a", encoding="utf-8") as file:
                    file.write(f"{json.dumps(one)}\n")
                print(f"{load}: {runs - missing + number + 1} of {runs}", flush=True)
    return read(log, model, baseline)


def true_ratio(found: list[dict[str, Any]], model: Path, baseline: Path) -> float:
    """1 for a file and itself; else the geometric mean of what was measured on the idle machine."""
    if digest_of(model) == digest_of(baseline):
        return 1.0
    idle = [one["speedup"]["value"] for one in found if one["load"] == "idle"]
    return float(np.exp(np.mean(np.log(idle))))


def judged(found: list[dict[str, Any]], load: str, true: float) -> dict[str, str]:
    """A column of the table."""
    taken = [one["speedup"] for one in found if one["load"] == load]
    quiet = [one for one in taken if not one["conditions"].get("too_noisy")]
    widths = [(one["high"] - one["low"]) / one["value"] for one in taken]
    kept = [(one["high"] - one["low"]) / one["value"] for one in quiet]
    values = [one["value"] for one in taken]
    return {
        "intervals that contain it, or too noisy": contained(taken, true),
        "smallest and largest": f"{three_digits(min(values))}, {three_digits(max(values))}",
        "time spent waiting for a CPU": share([one["conditions"]["waited"] for one in taken]),
        "calls next to an interruption": share([one["conditions"]["interrupted"] for one in taken]),
        "median width of the intervals": share(widths),
        "widest of them": share(widths, 1.0),
        "runs that say too noisy": f"{len(taken) - len(quiet)} of {len(taken)}",
        "without those: intervals that contain it": contained(quiet, true),
        "without those: median width": share(kept),
        "rounds, mean": three_digits(float(np.mean([one["n"] for one in taken]))),
        "seconds, median": three_digits(
            float(np.median([one["seconds"] for one in found if one["load"] == load]))
        ),
    }


def contained(rows: list[dict[str, Any]], true: float) -> str:
    honest = [
        one["conditions"].get("too_noisy", False) or one["low"] <= true <= one["high"]
        for one in rows
    ]
    return f"{sum(honest)} of {len(rows)}"


def share(widths: list[float], quantile: float = 0.5) -> str:
    return f"{100 * float(np.quantile(widths, quantile)):.2g} %" if widths else "–"


def text_of(found: list[dict[str, Any]], model: Path, baseline: Path) -> str:
    """The table and its conditions."""
    true = true_ratio(found, model, baseline)
    columns = [judged(found, load, true) for load in LOADS]
    told = f"true ratio {three_digits(true)}"
    rows = [f"| {told} | {' | '.join(LOADS)} |", f"|---|{'---|' * len(LOADS)}"]
    rows += [f"| {key} | {' | '.join(one[key] for one in columns)} |" for key in columns[0]]
    latency = Measurement.model_validate(found[0]["latency_ms"])
    told = latency.conditions
    return "\n".join(rows) + (
        f"\n\n{told['cpu']}, {told['cores']} cores, onnxruntime {told['onnxruntime']};"
        f" a file of {bytes_text(model.stat().st_size)} that takes"
        f" {three_digits(latency.value)} ms a call against one of"
        f" {bytes_text(baseline.stat().st_size)}, {told['threads']} thread, batch"
        f" {told['batch']}, {told['calls']} calls a round. Each run is a new process of the script."
    )


def main() -> None:
    """Run, print, publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--baseline", type=Path, help="what it is compared with; default: itself")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    given = parser.parse_args()
    baseline = given.baseline or given.model
    for file in (given.model, baseline):
        if not file.is_file():
            raise SystemExit(f"{file}: there is no such file; give ONNX files")
    given.out.mkdir(parents=True, exist_ok=True)
    found = perform(given.out / "latency.jsonl", given.model, baseline, given.runs)
    text = text_of(found, given.model, baseline)
    print(text)
    if given.write:
        publish("latency", text)


if __name__ == "__main__":
    main()
