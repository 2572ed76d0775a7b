"""The Typer app that the commands register with: how its commands show help, and who may print."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from augcompress import __version__
from augcompress.output import results_alone

GROUPS = {
    "Arguments": "",
    "Recipe": "--recipe --data --set --seed --epochs --batch --name --allow-plugins",
    "Run": "--run-dir --from --teacher --until --smoke --allow-chance --force --dry-run",
    "Options": "",
    "Devices": "--device --devices --nodes --node-rank --rendezvous",
    "Output": "--json --quiet --verbose --help",
}
"""Headings of options, in order; those that are named nowhere are the command's own."""
COLUMN = 24
"""Columns that names of options have; what an option is stands beside them, or below long ones."""


class GroupedCommand(TyperCommand):
    """A command whose result alone goes to standard output, and whose options stand in groups."""

    def invoke(self, ctx: Any) -> Any:
        """Do what it is there for."""
        with results_alone():
            return super().invoke(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then options, those of a group together."""
        groups: dict[str, list[tuple[str, str]]] = {name: [] for name in GROUPS}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                groups[group_of(param)].append(record)
        for title in (name for name, rows in groups.items() if rows):
            with formatter.section(title):
                formatter.write_dl(groups[title], col_max=COLUMN)


def group_of(param: Any) -> str:
    """The heading that an argument or option stands below."""
    if param.param_type_name == "argument":
        return "Arguments"
    named = (name for name, flags in GROUPS.items() if not {*flags.split()}.isdisjoint(param.opts))
    return next(named, "Options")


class Summaries(TyperGroup):
    """Commands with their summaries in full."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """One row a command."""
        found = [self.commands[name] for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(one.name, one.get_short_help_str(limit=1000)) for one in found])


class App(typer.Typer):
    """A Typer app of such commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Summaries, rich_markup_mode=None, no_args_is_help=True, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Any:
        """Register a command."""
        return super().command(name, cls=GroupedCommand, **settings)


app = App(name="augcompress", pretty_exceptions_enable=False)


def show_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def every_command(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """From labelled images to a small, fast, verified ONNX classifier."""


runs_app = App(help="List, show and clean run directories.")
app.add_typer(runs_app, name="runs")
