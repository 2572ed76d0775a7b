"""The Typer app that the commands register with."""

from __future__ import annotations

from typing import Annotated

import typer

from augcompress import __version__

app = typer.Typer(
    name="augcompress", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
)


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


runs_app = typer.Typer(help="List, show and clean run directories.", no_args_is_help=True)
app.add_typer(runs_app, name="runs")
