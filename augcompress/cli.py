"""The command line: commands parse, call and render; they import late, so help loads no torch."""

from __future__ import annotations

import dataclasses
import inspect
import os
import signal
import sys
import traceback
import typing
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augcompress.errors import AugcompressError, UsageError

if TYPE_CHECKING:
    from augcompress.assembly.context import Context
    from augcompress.records import RunResult, StageResult
    from augcompress.render import Renderer

app = typer.Typer(
    name="augcompress",
    help="From labelled images to a small, fast, verified ONNX classifier.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
runs_app = typer.Typer(help="List, show and clean run directories.", no_args_is_help=True)
app.add_typer(runs_app, name="runs")

INTERRUPTED, BUG = 130, 70
ISSUES = "please report it with the text above, the recipe and the output of: augcompress doctor"


class Device(StrEnum):
    """Where networks are trained."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


@dataclasses.dataclass
class Options:
    """The signature that all stages share."""

    recipe: Annotated[
        str, typer.Option("--recipe", "-r", help="A recipe file, or a shipped recipe's name.")
    ]
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=VALUE", help="Override a field; repeatable."),
    ] = None
    run_dir: Annotated[
        Path | None, typer.Option(help="Where results go.  [default: runs/<recipe's name>]")
    ] = None
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="STAGE|FILE", help="The network that this stage starts from."
        ),
    ] = None
    teacher: Annotated[
        str | None, typer.Option(metavar="FILE", help="A checkpoint in place of the teacher.")
    ] = None
    device: Annotated[Device, typer.Option(help="Where to train.")] = Device.auto
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Every stage on a sliver of the data, in a minute.")
    ] = False
    force: Annotated[bool, typer.Option("--force", help="Redo what is already done.")] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate, say what would be done, stop.")
    ] = False
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = (
        False
    )
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Only the artefact's path on standard output.")
    ] = False
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False
    allow_plugins: Annotated[
        bool, typer.Option("--allow-plugins", help="Run code from the recipe's plug-ins.")
    ] = False


def shared(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the fields of Options as its own options."""
    hints = typing.get_type_hints(Options, include_extras=True)
    own_hints = typing.get_type_hints(function, include_extras=True)
    own = list(inspect.signature(function).parameters.values())[1:]
    options = [
        inspect.Parameter(
            item.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=item.default
            if item.default is not dataclasses.MISSING
            else inspect.Parameter.empty,
            annotation=hints[item.name],
        )
        for item in dataclasses.fields(Options)
    ]
    kept = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=own_hints[p.name]) for p in own
    ]

    def command(**given: Any) -> None:
        mine = {item.name: given.pop(item.name) for item in dataclasses.fields(Options)}
        function(Options(**mine), **given)

    command.__signature__ = inspect.Signature(options + kept)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in options + kept}
    command.__doc__, command.__name__ = function.__doc__, function.__name__
    return command


@app.command("run")
@shared
def run_command(
    options: Options,
    until: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Stop after this stage.")
    ] = None,
) -> None:
    """All stages of a recipe, in order; finished ones are not repeated."""
    from augcompress.stages import run

    execute(options, lambda context: run(context, stage_name(until) if until else None))


def stage_command(name: str, summary: str) -> None:
    """Register the command of one stage."""

    @shared
    def command(options: Options) -> None:
        from augcompress.stages import run_stage

        execute(options, lambda context: run_stage(context, stage_name(name)))

    command.__doc__ = summary
    app.command(name)(command)


stage_command("augment", "Draw the augmentations on a contact sheet; write augmented copies.")
stage_command("train-teacher", "Train the network to learn from.")
stage_command("distill", "Train the small network on labels and teacher.")
stage_command("prune", "Make the network smaller and fine-tune it.")
stage_command("quantize", "Make an int8 ONNX graph of the network and check it.")
stage_command("export", "Write the ONNX file to ship, verify it, measure it on test images.")
stage_command("evaluate", "Measure any artefact on test images.")


def stage_name(command: str) -> Any:
    """`train-teacher` or `train_teacher` as a stage's name."""
    return command.replace("-", "_")


def execute(options: Options, work: Callable[[Context], RunResult]) -> None:
    """Load the recipe, do the work, show the result, judge the limits."""
    from augcompress.gate import check_limits
    from augcompress.render import Renderer

    renderer = Renderer(json=options.as_json, quiet=options.quiet, verbose=options.verbose)
    context, text = open_context(options, renderer)
    if options.dry_run:
        plan(context, options, renderer)
        return
    context.run.write_text("recipe.yaml", text)
    context.run.write_text("spec.json", context.spec.model_dump_json(indent=1) + "\n")
    result = work(context)
    done = {stage.name for stage in result.stages}
    judged = context.spec.limits if "export" in done and not options.smoke else ()
    verdicts = check_limits(judged, with_linked(context, result))
    renderer.result(result, verdicts)
    missed = [verdict.limit for verdict in verdicts if not verdict.reached]
    if missed:
        raise AugcompressError(f"limits not reached: {'; '.join(missed)}", exit_code=3)


def with_linked(context: Context, result: RunResult) -> list[StageResult]:
    """The stages of a run in order: those of `result`, and those that were there before."""
    from augcompress.runs import read_run

    order = context.spec.stages()
    stages = {stage.name: stage for stage in read_run(context.run.path).stages}
    stages |= {stage.name: stage for stage in result.stages}
    return [stages[name] for name in order if name in stages]


def open_context(options: Options, renderer: Renderer) -> tuple[Context, str]:
    """The recipe, validated, with everything that the command line says beside it."""
    if options.allow_plugins:
        os.environ["AUGCOMPRESS_ALLOW_PLUGINS"] = "1"
    from augcompress.assembly.context import Context
    from augcompress.rundir import RunDir
    from augcompress.spec import load

    spec, text = load(options.recipe, options.overrides or [], smoke=options.smoke)
    folder = options.run_dir or Path("runs") / spec.name
    context = Context(
        spec=spec,
        run=RunDir(folder),
        recipe=options.recipe,
        device=pick_device(options.device),
        reporter=renderer.reporter(),
        force=options.force,
        source=options.source,
        teacher=options.teacher,
        smoke=options.smoke,
    )
    return context, text


def pick_device(device: Device) -> Any:
    """The torch device: `auto` is CUDA where there is one."""
    import torch

    available = torch.cuda.is_available()
    if device is Device.cuda and not available:
        raise UsageError("--device cuda: torch finds no CUDA device here; use --device cpu")
    torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32
    return torch.device("cuda" if available and device is not Device.cpu else "cpu")


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


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="An ONNX file that augcompress wrote.")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    top: Annotated[int, typer.Option(min=1, help="Labels an image.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print the labels of images."""
    from augcompress.assembly.prediction import predict_files
    from augcompress.render import Renderer

    renderer = Renderer(json=as_json)
    found = predict_files(model, images, top)
    if as_json:
        renderer.payload({"version": 1, "model": str(model), "predictions": found})
        return
    rows = [
        [row["image"], ", ".join(f"{i['label']} {i['probability']:.1%}" for i in row["labels"])]
        for row in found
    ]
    renderer.table(str(model), ["image", "label"], rows)


@runs_app.command("list")
def runs_list(
    root: Annotated[Path, typer.Argument(help="Folder of run directories.")] = Path("runs"),
) -> None:
    """Run directories, their stages and sizes."""
    from augcompress.render import Renderer
    from augcompress.runs import runs

    Renderer().runs(runs(root))


@runs_app.command("show")
def runs_show(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """What a run measured."""
    from augcompress.render import Renderer
    from augcompress.runs import read_run

    Renderer(json=as_json).result(read_run(run))


@runs_app.command("clean")
def runs_clean(
    names: Annotated[list[str] | None, typer.Argument(help="Runs to remove.")] = None,
    root: Annotated[Path, typer.Option(help="Folder of run directories.")] = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how much.")] = False,
) -> None:
    """Remove runs, and everything in the store that no run uses."""
    from augcompress.render import Renderer
    from augcompress.runs import clean

    freed = clean(root, names or [], dry_run=dry_run)
    Renderer().text(f"{'would free' if dry_run else 'freed'} {freed / 2**20:.1f} MiB")


@app.command()
def recipes() -> None:
    """The recipes that come with augcompress."""
    from augcompress.render import Renderer
    from augcompress.spec import recipe_summary, shipped_recipes

    rows = [[name, recipe_summary(path)] for name, path in shipped_recipes().items()]
    Renderer().table("shipped recipes", ["recipe", "what it is"], rows)


@app.command()
def init(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name.")] = "digits.yaml",
    to: Annotated[Path | None, typer.Option(help="The new file.  [default: ./<recipe>]")] = None,
) -> None:
    """Copy a shipped recipe into this folder, to start from."""
    from augcompress.render import Renderer
    from augcompress.rundir import write_aside
    from augcompress.spec import find_recipe

    source = find_recipe(recipe)
    target = to or Path(source.name)
    if target.exists():
        raise AugcompressError(f"{target}: is already there; choose another name with --to")
    with write_aside(target) as aside:
        aside.write_bytes(source.read_bytes())
    Renderer().text(f"{target}")


@app.command()
def explain(
    room: Annotated[str, typer.Argument(help="A section or room, such as distill or objectives.")],
    kind: Annotated[str | None, typer.Argument(help="One kind of it.")] = None,
) -> None:
    """What can stand in a recipe, field by field."""
    from augcompress.reference import explain_room
    from augcompress.render import Renderer

    for title, rows in explain_room(room, kind):
        Renderer().table(title, ["field", "type and default", "meaning"], rows)


@app.command()
def schema() -> None:
    """The recipe's JSON schema, for editors."""
    from augcompress.render import Renderer
    from augcompress.spec import Spec

    Renderer(json=True).payload(Spec.model_json_schema())


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """What this machine has: versions, threads, instructions, devices."""
    from augcompress.assembly.machine import examine
    from augcompress.render import Renderer

    found = examine()
    renderer = Renderer(json=as_json)
    if as_json:
        renderer.payload({"version": 1, "machine": found})
    else:
        renderer.table("this machine", ["what", "found"], [[k, str(v)] for k, v in found.items()])


def main() -> None:
    """Entry point: every error becomes one line and an exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status = app(standalone_mode=False)
        if status == INTERRUPTED:  # what Typer makes of a KeyboardInterrupt
            raise KeyboardInterrupt
    except AugcompressError as error:
        fail(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        fail("interrupted; the same command goes on from here")
        sys.exit(INTERRUPTED)
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's usage errors
            error.show()
            sys.exit(error.exit_code)
        if type(error).__name__ == "Abort":
            sys.exit(INTERRUPTED)
        traceback.print_exc()
        fail(f"this is a bug in augcompress; {ISSUES}")
        sys.exit(BUG)
    sys.exit(status if isinstance(status, int) else 0)


def fail(message: str) -> None:
    """One line on standard error."""
    message = " ".join(message.split())
    if sys.stderr.isatty():
        message = typer.style("error: ", fg="red", bold=True) + message
    else:
        message = f"error: {message}"
    typer.echo(message, err=True)
