"""`run`, and a command for every stage."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augcompress.cli.app import app
from augcompress.cli.augmenting import measure_augmentations, show_preview
from augcompress.cli.joining import join, started
from augcompress.cli.layout import layout_of
from augcompress.cli.next_steps import next_steps
from augcompress.cli.options import PROCESSES, Options, open_context, pick_device, shared
from augcompress.errors import LimitError, UsageError

if TYPE_CHECKING:
    from augcompress.evidence import RunResult, StageResult
    from augcompress.render import Renderer
    from augcompress.running import Context


@app.command("run")
@shared()
def run_command(
    options: Options,
    until: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Stop after this stage.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Images: in place of --recipe, see init.")
    ] = None,
) -> None:
    """All stages of a recipe, in order; finished ones are not repeated."""
    from augcompress.stages import run

    with recipe_for(options, data) as told:
        execute(told, lambda context: run(context, stage_name(until) if until else None))


@contextmanager
def recipe_for(options: Options, data: Path | None) -> Iterator[Options]:
    """With a recipe for the images, if any, written to where the run will be; of a dry run, to a
    folder that is there for so long."""
    from augcompress.storage import RECIPE_FILE, RunDir

    if data is None:
        yield options
        return
    if options.recipe:
        raise UsageError("--data: has no meaning beside --recipe; use --set data.root=DIR")
    from augcompress.spec import propose_recipe

    name, text = propose_recipe(data, str(data.absolute()))
    folder = options.run_dir or Path("runs") / f"{options.name or name}{'-smoke' * options.smoke}"
    with tempfile.TemporaryDirectory() as aside:
        run = RunDir(aside if options.dry_run else folder)
        run.check_recipe(text)
        yield replace(options, recipe=str(run.write_text(RECIPE_FILE, text)))


def stage_command(name: str, summary: str, *unused: str) -> None:
    """Register the command of one stage, without the options that it has no use for."""

    @shared(*unused)
    def command(options: Options) -> None:
        from augcompress.stages import run_stage

        execute(options, lambda context: run_stage(context, stage_name(name)))

    command.__doc__ = summary
    app.command(name)(command)


@app.command("augment")
@shared("source", "teacher", "allow_chance", *PROCESSES)
def augment_command(
    options: Options,
    preview: Annotated[
        bool, typer.Option("--preview", help="Only the pictures, into the run's folder.")
    ] = False,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Train the student briefly, with and without each one."),
    ] = False,
) -> None:
    """Draw the augmentations, probe the labels, write augmented copies."""
    if preview and measure:
        raise UsageError("augment: --preview and --measure exclude each other; give one")
    if preview:
        show_preview(options)
    elif measure:
        measure_augmentations(options)
    else:
        from augcompress.stages import run_stage

        execute(options, lambda context: run_stage(context, "augment"))


stage_command("pretrain", "Learn features from images without labels.", "source", "teacher")
stage_command("train-teacher", "Train the network to learn from.", "source", "teacher")
stage_command("distill", "Train the small network on labels and teacher.")
stage_command("prune", "Make the network smaller and fine-tune it.")
stage_command("quantize", "Make an int8 ONNX graph of the network and check it.")
stage_command(
    "export", "Write the ONNX file to ship, verify it, measure it on test images.", *PROCESSES
)
stage_command(
    "evaluate", "Measure any artefact on test images.", "teacher", "allow_chance", *PROCESSES
)


def stage_name(command: str) -> Any:
    """`train-teacher` or `train_teacher` as a stage's name."""
    return command.replace("-", "_")


def execute(options: Options, work: Callable[[Context], RunResult]) -> None:
    """Load the recipe, do the work, show the result, judge the limits."""
    from augcompress.gate import check_limits, not_kept
    from augcompress.raw import TYPED_FILE, typed_text
    from augcompress.render import Renderer
    from augcompress.stages import take_over
    from augcompress.storage import RECIPE_FILE

    layout = layout_of(options)
    processes = join(pick_device(options.device)) if started(layout) else None
    silent = processes is not None and not processes.is_rank_zero
    renderer = Renderer(
        json=options.as_json, quiet=options.quiet or silent, verbose=options.verbose
    )
    context, text, raw = open_context(options, renderer, processes)
    if options.dry_run:
        if not silent:
            plan(context, options, renderer)
        return
    if layout.world > 1 and processes is None:
        from augcompress.cli.launching import launch

        raise typer.Exit(launch(layout))
    if silent:
        work(context)
        return
    if Path(options.recipe).resolve() != (context.run.path / "spec.json").resolve():
        context.run.check_recipe(text)
        take_over(context)
        context.run.write_text(TYPED_FILE, typed_text(raw, context.run.path))
        context.run.write_text(RECIPE_FILE, text)  # a run repeated by its spec.json keeps both
    context.reporter.message(context.machine())
    result = work(context)
    done = {stage.name for stage in result.stages}
    judged = context.spec.limits if "export" in done and not options.smoke else ()
    verdicts = check_limits(judged, with_linked(context, result) if judged else ())
    renderer.result(result, verdicts, context.said)
    renderer.next_steps(next_steps(options, result))
    missed = [verdict.limit for verdict in verdicts if not verdict.reached]
    if missed:
        raise LimitError(not_kept("limits not reached", missed, context.run.path))


def with_linked(context: Context, result: RunResult) -> list[StageResult]:
    """The stages of a run in order: those of `result`, and those that were there before.

    Raises AugcompressError when files of these have been changed since.
    """
    from augcompress.storage import check_unchanged, read_run

    order, run = context.spec.stages(), context.run.path
    done = {stage.name: stage for stage in result.stages}
    before = {stage.name: stage for stage in read_run(run).stages if stage.name not in done}
    for name in before:
        check_unchanged(run / name)
    return [{**before, **done}[name] for name in order if name in before or name in done]


def plan(context: Context, options: Options, renderer: Renderer) -> None:
    """What a run would do: the stages, and which of them are in the store already."""
    from augcompress.stages import planned

    rows = planned(context)
    if options.as_json:
        renderer.payload({"version": 1, "run_dir": str(context.run.path), "stages": rows})
        return
    renderer.table(
        f"{context.spec.name}: the recipe is valid",
        ["stage", "status"],
        [[row["name"], row["status"]] for row in rows],
    )
