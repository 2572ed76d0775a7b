"""`check` and `report`: users of what runs have left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augcompress.cli.app import app
from augcompress.errors import AugcompressError, LimitError, UsageError

if TYPE_CHECKING:
    from augcompress.evidence import Limit, Verdict
    from augcompress.render import Renderer
    from augcompress.spec import Spec

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=VALUE", help="Override a field; repeatable."),
]
AllowPlugins = Annotated[
    bool, typer.Option("--allow-plugins", help="Run code from the recipe's plug-ins.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def validate_all(raw: dict[str, Any], base: str) -> Spec:
    """A whole recipe, which takes torch."""
    from augcompress.spec import validate

    return validate(raw, base)


def changed_sections(run: Path, spec: Spec, renderer: Renderer) -> list[str]:
    """The sections of a recipe that a run was not made with; `spec.json` where that cannot be read,
    which is said."""
    from augcompress.spec import differing_sections, find_spec

    try:
        return differing_sections(find_spec(run), spec) if is_run(run) else ["spec.json"]
    except AugcompressError as error:
        renderer.message(f"note: {error}")
        return ["spec.json"]


def is_run(folder: Path) -> bool:
    """Has a recipe been run there?"""
    return (folder / "spec.json").is_file()


@app.command("check")
def check_command(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    recipe: Annotated[
        str, typer.Option("--recipe", "-r", help="The recipe whose `limits` are to be kept.")
    ],
    overrides: Overrides = None,
    reference: Annotated[
        Path | None, typer.Option(metavar="RUN", help="The run that baseline `reference` means.")
    ] = None,
    timing: Annotated[
        Path | None, typer.Option(help="What bench.py wrote on the target device.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    summary: Annotated[
        Path | None, typer.Option(help="Append Markdown here: $GITHUB_STEP_SUMMARY.")
    ] = None,
    allow_other_settings: Annotated[
        bool,
        typer.Option("--allow-other-settings", help="Judge a run that other settings made, too."),
    ] = False,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the exit code.")] = False,
) -> None:
    """The gate of a CI job: are the files those that were measured, and is every limit kept?"""
    from augcompress import gate
    from augcompress.raw import is_made_with, limits_of, read_raw, read_resolved
    from augcompress.render import Renderer
    from augcompress.storage import planned_stages

    raw, _, base = read_raw(recipe, overrides or [])
    spec = None if is_made_with(run, raw, base) else validate_all(raw, base)
    limits = limits_of(raw) if spec is None else spec.limits
    judged = gate.check_run(run, limits, timing_file=timing, reference_run=reference)
    renderer = Renderer(json=as_json, quiet=quiet)
    differ = changed_sections(run, spec, renderer) if spec is not None else []
    asked = planned_stages(read_resolved(run)) if spec is None else spec.stages()
    other = None if allow_other_settings else differ
    verdicts = [*gate.completeness(run, asked, other), *judged]
    renderer.verdicts(verdicts)
    write_verdicts(run, verdicts, junit, summary)
    missed = [
        f"{one.limit} ({one.note})" if one.kind == "integrity" else one.limit
        for one in verdicts
        if not one.reached
    ]
    if missed:
        raise LimitError(gate.not_kept(f"check {run}: not kept", missed, run))


def write_verdicts(
    run: Path, verdicts: Sequence[Verdict], junit: Path | None, summary: Path | None
) -> None:
    """Into the files that a CI job reads, where it names some."""
    from augcompress import gate
    from augcompress.render import headlines
    from augcompress.storage import read_run, storage_errors, write_aside

    if junit is not None:
        with storage_errors(junit.parent), write_aside(junit) as aside:
            aside.write_text(gate.junit(verdicts, run.name), encoding="utf-8")
    if summary is not None:
        lines = headlines(read_run(run).stages)
        with storage_errors(summary.parent), summary.open("a", encoding="utf-8") as file:
            file.write(gate.summary(verdicts, f"augcompress check {run.name}", lines))


@app.command("report")
def report_command(
    runs: Annotated[list[Path], typer.Argument(help="Run directories.")],
    to: Annotated[
        Path | None, typer.Option(help="The page.  [default: <the first run>/report.html]")
    ] = None,
) -> None:
    """One HTML page that shows everything of one run, or compares several."""
    from augcompress import report as reporting
    from augcompress.render import Renderer

    renderer = Renderer()
    verdicts = {run: found for run in runs if (found := verdicts_of(run, renderer)) is not None}
    path = reporting.write(runs, to or runs[0] / "report.html", verdicts)
    renderer.text(str(path))


def verdicts_of(run: Path, renderer: Renderer) -> list[Verdict] | None:
    """Are a run's files those that were measured, and, once its pipeline is finished, is every
    limit reached?  None where no stage is done."""
    from augcompress.gate import check_run
    from augcompress.storage import stage_records

    done = set(stage_records(run))
    return check_run(run, limits_to_judge(run, done, renderer)) if done else None


def limits_to_judge(run: Path, done: set[str], renderer: Renderer) -> tuple[Limit, ...]:
    """The limits of a run, once all of its stages are `done`; none where they cannot be read, which
    is said."""
    from augcompress.raw import limits_of, read_resolved
    from augcompress.storage import planned_stages

    try:
        raw = read_resolved(run) if is_run(run) else {}
        return limits_of(raw) if raw and done.issuperset(planned_stages(raw)) else ()
    except UsageError as error:
        renderer.message(f"note: {run / 'spec.json'}: {error}; give --recipe")
    except AugcompressError as error:
        renderer.message(f"note: {error}")
    return ()
