"""augcompress: from labelled images to a small, fast, verified ONNX classifier.

The Python face mirrors the command line:

    spec = augcompress.load_recipe("digits.yaml", ["seed=1"])
    result = augcompress.run(spec, run_dir="runs/digits")
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before anything imports onnxruntime
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: waiting threads leave the CPU

if TYPE_CHECKING:
    from augcompress.evidence import RunResult
    from augcompress.spec import Spec

__all__ = ["load_recipe", "run"]
__version__ = "0.1.0"


def load_recipe(recipe: str | Path, overrides: list[str] | None = None) -> Spec:
    """A recipe, read and validated; `overrides` are written like `--set`.

    Raises AugcompressError when it is not valid.
    """
    from augcompress.spec import load

    return load(recipe, overrides or [])[0]


def run(spec: Spec, run_dir: str | Path | None = None, **settings: Any) -> RunResult:
    """All stages of a recipe, like `augcompress run`; `settings` are fields of Context.

    Raises AugcompressError where the command would end with an error.  Limits are judged by
    `augcompress.gate.check_limits(spec.limits, result.stages)`.
    """
    from augcompress.running import Context
    from augcompress.stages import run as run_stages
    from augcompress.storage import RunDir

    return run_stages(Context(spec, RunDir(Path(run_dir or f"runs/{spec.name}")), **settings))
