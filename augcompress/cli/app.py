"""The Typer app that the commands register with."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="augcompress",
    help="From labelled images to a small, fast, verified ONNX classifier.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
runs_app = typer.Typer(help="List, show and clean run directories.", no_args_is_help=True)
app.add_typer(runs_app, name="runs")
