"""The shipped recipes on real data: one command fills the tables of docs/benchmarks.md.

    AUGCOMPRESS_TEST_DATA=data python -m tests.benchmarks.recipes [--only digits] [--runs DIR]

Resumable: stages that are done are read back.  Budget on 2 cores: digits 1 minute, fashion-mnist
20 minutes, nothing else running.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path

from augcompress.evidence.formatting import bytes_text, value_text
from augcompress.evidence.records import Measurement, RunResult
from augcompress.running.context import Context
from augcompress.running.environment import examine
from augcompress.spec import load
from augcompress.stages import run
from augcompress.storage.files import RECORD_FILE
from augcompress.storage.run_directory import RunDir
from augcompress.system.progress import ConsoleProgress

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
DATA = {"digits": "", "fashion-mnist": "fashion-mnist"}
COMMAND = "python -m tests.benchmarks.recipes"


def perform(name: str, data: Path, runs: Path) -> RunResult:
    """Run a recipe, or read back what has been run."""
    overrides = [f"data.root={data / DATA[name]}"] if DATA[name] else []
    spec, text = load(f"{name}.yaml", overrides)
    folder = RunDir(runs / name)
    folder.write_text("recipe.yaml", text)
    return run(Context(spec, folder, reporter=ConsoleProgress()))


def find(result: RunResult, name: str, role: str, baseline: str | None = None) -> Measurement:
    """One measurement of the export stage."""
    export = next(stage for stage in result.stages if stage.name == "export")
    fits = [
        one
        for one in export.measurements
        if (one.name, one.role, one.baseline) == (name, role, baseline)
    ]
    return next(one for one in fits if one.split in ("test", None))


def table(name: str, result: RunResult) -> str:
    """A recipe's rows: what was shipped, against teacher and float network."""
    rows = ["| | shipped file | float network | teacher |", "|---|---|---|---|"]
    roles = ("shipped", "float", "teacher")
    top1 = " | ".join(value_text(find(result, "top1", role)) for role in roles)
    size = " | ".join(bytes_text(find(result, "size_bytes", role).value) for role in roles)
    rows += [f"| test top-1 | {top1} |", f"| ONNX file | {size} |"]
    for measure in ("parameters", "macs"):
        values = [f"{find(result, measure, role).value:,.0f}" for role in roles[1:]]
        rows.append(f"| {measure} | as the float network | {' | '.join(values)} |")
    ratios = [value_text(find(result, "speedup", "shipped", role)) for role in roles[1:]]
    rows.append(f"| the shipped file is faster by | | {' | '.join(ratios)} |")
    agreed = [value_text(find(result, "agreement", "shipped", role)) for role in roles[1:]]
    rows.append(f"| the shipped file agrees on | | {' | '.join(agreed)} |")
    minutes = sum(seconds(result).values()) / 60
    stages = ", ".join(f"{stage} {spent:.0f} s" for stage, spent in seconds(result).items())
    return "\n".join(
        [f"### {name}", "", *rows, "", f"All stages: {minutes:.1f} minutes ({stages})."]
    )


def seconds(result: RunResult) -> dict[str, float]:
    """What each stage took when it was computed."""
    folder = Path(result.run_dir)
    names = [stage.name for stage in result.stages]
    return {n: json.loads((folder / n / RECORD_FILE).read_text())["seconds"] for n in names}


def conditions(result: RunResult) -> str:
    """Where the figures were taken."""
    speedup = find(result, "speedup", "shipped", "teacher")
    timed = speedup.conditions
    machine = examine()
    versions = ", ".join(f"{k} {machine[k]}" for k in ("python", "torch", "onnxruntime"))
    return (
        f"{timed['cpu']}, {machine['threads']} cores, {versions}; latency: ONNX Runtime,"
        f" {timed['threads']} thread, batch {timed['batch']}, in turns, {speedup.n} new processes"
        f" of {timed['calls']} calls of each file. Seed 0."
    )


def publish(name: str, text: str) -> None:
    """Replace one recipe's part of the page."""
    page = PAGE.read_text(encoding="utf-8")
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"{PAGE}: has no part marked {start}")
    whole = f"{start}\n{text}\n{end}"
    PAGE.write_text(pattern.sub(lambda _: whole, page), encoding="utf-8")


def main() -> None:
    """Run and publish."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=sorted(DATA))
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"))
    given = parser.parse_args()
    data = Path(os.environ.get("AUGCOMPRESS_TEST_DATA", "data"))
    for name in [given.only] if given.only else DATA:
        result = perform(name, data, given.runs)
        publish(name, f"{table(name, result)}\n\n{conditions(result)}")


if __name__ == "__main__":
    main()
