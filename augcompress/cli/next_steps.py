"""What to do after a command, as lines to paste."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from augcompress.cli.options import Options

if TYPE_CHECKING:
    from augcompress.evidence import RunResult


def next_steps(options: Options, result: RunResult) -> list[str]:
    """Of a finished pipeline the page, the labels and the gate; else what goes on with it."""
    from augcompress.storage import read_run, shipping_stage, unfinished

    run = Path(result.run_dir)
    report = ["report", str(run)]
    if unfinished(run):
        return [pasted(words) for words in (["run", *same_settings(options)], report)]
    made = {one.name: one.artifact for one in read_run(run).stages if one.artifact}
    shipped = made.get(shipping_stage(run, made) or "") or ""
    label = [["predict", shipped, "IMAGE"]] if shipped.endswith(".onnx") else []
    return [pasted(words) for words in (report, *label, ["check", str(run), *judged(options, run)])]


def judged(options: Options, run: Path) -> list[str]:
    """The recipe, unless something beside it has changed what was run."""
    changed = options.every_override or options.epochs or options.batch or options.smoke
    return ["--recipe", str(run / "spec.json") if changed else options.recipe]


def same_settings(options: Options) -> list[str]:
    """The options that decide what is done, and where."""
    words = ["--recipe", options.recipe]
    for one in options.every_override:
        words += ["--set", one]
    given = {
        "--epochs": options.epochs,
        "--batch": options.batch,
        "--run-dir": options.run_dir,
        "--teacher": options.teacher,
    }
    for name, value in given.items():
        words += [name, str(value)] if value is not None else []
    flags = {"--smoke": options.smoke, "--allow-plugins": options.allow_plugins}
    return words + [name for name, value in flags.items() if value]


def pasted(words: list[str]) -> str:
    """A line for a shell."""
    return shlex.join(["augcompress", *words])
