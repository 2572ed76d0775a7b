"""Studies of the benchmarks: run by the command line, read back as a Study."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from augcompress.evidence.formatting import difference_text
from augcompress.evidence.records import Measurement
from augcompress.search.study import Study, read_study


def perform(recipe: dict[str, Any], runs: Path, name: str) -> Study:
    """`augcompress search` of a recipe with one thread, in `runs/name`; done trials are read back.

    Studies in the same `runs` share what they have in common.
    """
    runs.mkdir(parents=True, exist_ok=True)
    file = runs / f"{name}.yaml"
    file.write_text(json.dumps(recipe, indent=1), encoding="utf-8")  # JSON is YAML
    command = [sys.executable, "-m", "augcompress", "search", "--recipe", str(file)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command += ["--run-dir", str(runs / name)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return read_study(runs / name)


def change_text(study: Study, levels: dict[str, str]) -> str:
    """What a cell has over the control, paired by seed: `+2.1 points (+1.0 to +3.2, n=3)`."""
    change = next((one for one in study.against_control if one.of == levels), None)
    if change is None or change.value is None:
        return "–"
    row = Measurement(
        name=study.measure, value=change.value, n=change.n, low=change.low, high=change.high
    )
    return difference_text(row)
