"""The signature that all stages share, and what is made of it."""

from __future__ import annotations

import dataclasses
import inspect
import os
import typing
from collections.abc import Callable, Collection
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augcompress.errors import UsageError

if TYPE_CHECKING:
    from augcompress.render import Renderer
    from augcompress.running import Context
    from augcompress.training import Processes


NO_RECIPE = "is missing; name a recipe's file or one of `augcompress recipes`, or make one: init"
PROCESSES = ("devices", "nodes", "node_rank", "rendezvous")
"""Fields of Options for what several processes carry out together."""


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
    ] = ""
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="As --set; epochs, batch, size and device are known."
        ),
    ] = None
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=VALUE", help="Override a field; repeatable."),
    ] = None
    seed: Annotated[int | None, typer.Option(min=0, help="The same as --set seed=N.")] = None
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Epochs of the longest training; the others in proportion."),
    ] = None
    batch: Annotated[
        int | None, typer.Option(min=1, help="Images in an optimiser step, of every training.")
    ] = None
    name: Annotated[str | None, typer.Option(help="The same as --set name=NAME.")] = None
    run_dir: Annotated[
        Path | None, typer.Option(help="Where results go.  [default: runs/<recipe's name>]")
    ] = None
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="STAGE|RUN|FILE", help="The network that this stage starts from."
        ),
    ] = None
    teacher: Annotated[
        str | None, typer.Option(metavar="RUN|FILE", help="A network in place of the teacher.")
    ] = None
    device: Annotated[Device, typer.Option(help="Where to train.")] = Device.auto
    devices: Annotated[
        str | None,
        typer.Option(metavar="N|auto", help="Devices of this machine to train on.  [default: 1]"),
    ] = None
    nodes: Annotated[
        int | None, typer.Option(min=1, metavar="M", help="Machines to train on.  [default: 1]")
    ] = None
    node_rank: Annotated[
        int | None, typer.Option(min=0, help="Which of the machines this one is, from 0.")
    ] = None
    rendezvous: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where the machines meet: at the first.")
    ] = None
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Every stage on a sliver of the data, in a minute.")
    ] = False
    allow_chance: Annotated[
        bool, typer.Option("--allow-chance", help="Go on with a network that only guesses.")
    ] = False
    force: Annotated[bool, typer.Option("--force", help="Redo what is already done.")] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate, say what would be done, stop.")
    ] = False
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = (
        False
    )
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Only the artefacts' paths on standard output.")
    ] = False
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False
    allow_plugins: Annotated[
        bool, typer.Option("--allow-plugins", help="Run code from the recipe's plug-ins.")
    ] = False

    @property
    def every_override(self) -> list[str]:
        """What `--set` says, and the options that are short for it."""
        given = {"seed": self.seed, "name": self.name}
        short = [f"{field}={value}" for field, value in given.items() if value is not None]
        return [*short, *(self.overrides or [])]

    def with_words(self) -> Options:
        """With what the bare words say: `epochs`, `batch` and `device`, as other tools call them
        too, are options; the others override fields."""
        from augcompress.raw import our_names

        found = dataclasses.replace(self, words=None, overrides=[*(self.overrides or [])])
        for word in self.words or []:
            key, equals, value = word.partition("=")
            if not equals or not key:
                raise UsageError(f"{word}: is no KEY=VALUE; a recipe is given by --recipe {word}")
            meant = {key, *our_names(key)}
            if meant & {"epochs", "batch_size"} and value.isdecimal() and int(value) > 0:
                setattr(found, "epochs" if "epochs" in meant else "batch", int(value))
            elif key == "device" and value in list(Device):
                found.device = Device(value)
            else:
                path = "data.size" if "size" in meant else key
                assert found.overrides is not None
                found.overrides.append(f"{path}={value}")
        return found


@cache
def shared_parameters() -> list[inspect.Parameter]:
    """The fields of Options as a command's parameters."""
    hints = typing.get_type_hints(Options, include_extras=True)
    kind, missing = inspect.Parameter.KEYWORD_ONLY, dataclasses.MISSING
    return [
        inspect.Parameter(
            item.name,
            kind,
            default=inspect.Parameter.empty if item.default is missing else item.default,
            annotation=hints[item.name],
        )
        for item in dataclasses.fields(Options)
    ]


def shared(*unused: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of Options, but for those that it has no use for, as its own
    options."""
    return lambda function: command_with(function, unused)


def command_with(function: Callable[..., None], unused: Collection[str]) -> Callable[..., None]:
    """The command that takes a line's options, and calls `function` with them."""
    own_hints = typing.get_type_hints(function, include_extras=True)
    options = [item for item in shared_parameters() if item.name not in unused]
    kept = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=own_hints[p.name])
        for p in list(inspect.signature(function).parameters.values())[1:]
    ]

    def command(**given: Any) -> None:
        mine = {item.name: given.pop(item.name) for item in options}
        options_given = Options(**mine).with_words()
        if not options_given.recipe and not given.get("data"):
            raise UsageError(f"--recipe: {NO_RECIPE}")
        function(options_given, **given)

    command.__signature__ = inspect.Signature(options + kept)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in options + kept}
    command.__doc__, command.__name__ = function.__doc__, function.__name__
    return command


def permit_plugins(allowed: bool) -> None:
    """Let plug-ins be imported, in this process and those that it starts."""
    if allowed:
        os.environ["AUGCOMPRESS_ALLOW_PLUGINS"] = "1"


def refuse(options: Options, command: str, *names: str) -> None:
    """Raises UsageError when an option is given that a command does not know."""
    flags = {"source": "--from", "as_json": "--json"}
    for name in names:
        if getattr(options, name):
            flag = flags.get(name, f"--{name.replace('_', '-')}")
            raise UsageError(f"{flag}: has no meaning for {command}; leave it out")


def open_context(
    options: Options, renderer: Renderer, processes: Processes | None = None
) -> tuple[Context, str, dict[str, Any]]:
    """The recipe, validated, with everything that the command line says beside it; its text, and
    its data as typed, with every `--set`."""
    permit_plugins(options.allow_plugins)
    from augcompress.raw import read_raw
    from augcompress.running import Context
    from augcompress.spec import scale_epochs, set_batch_sizes, shrink_to_smoke, validate
    from augcompress.storage import RunDir
    from augcompress.training import ALONE, use_available_cpus

    if processes is None:
        use_available_cpus()
    raw, text, base = read_raw(options.recipe, options.every_override)
    if options.epochs is not None:
        scale_epochs(raw, options.epochs)
    if options.batch is not None:
        set_batch_sizes(raw, options.batch)
    if options.smoke:
        shrink_to_smoke(raw)
    spec = validate(raw, base)
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
        processes=processes or ALONE,
        smoke=options.smoke,
        allow_chance=options.allow_chance or options.smoke,
    )
    return context, text, raw


def pick_device(device: Device) -> Any:
    """The torch device: `auto` is CUDA where there is one; of several processes, each has its own.

    Raises UsageError where there is none.
    """
    import torch

    available = torch.cuda.is_available()
    if device is Device.cuda and not available:
        raise UsageError("--device cuda: torch finds no CUDA device here; use --device cpu")
    torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32
    if device is Device.cpu or not available:
        return torch.device("cpu")
    if "LOCAL_RANK" not in os.environ:
        return torch.device("cuda")
    own, found = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if own >= found and "SLURM_LOCALID" in os.environ and found == 1:
        own = 0  # SLURM shows each task its own device only
    if own >= found:
        raise UsageError(
            f"process {own + 1} of this machine has no CUDA device of its own, torch finds {found};"
            " start fewer, or give --device cpu"
        )
    return torch.device("cuda", own)
