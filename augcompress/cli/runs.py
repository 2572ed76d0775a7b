"""`augcompress runs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from augcompress.cli.app import runs_app


@runs_app.command("list")
def runs_list(
    root: Annotated[Path, typer.Argument(help="Folder of run directories.")] = Path("runs"),
) -> None:
    """Run directories, their stages and sizes."""
    from augcompress.render import Renderer
    from augcompress.storage import runs

    Renderer().runs(runs(root))


@runs_app.command("show")
def runs_show(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """What a run measured."""
    from augcompress.render import Renderer
    from augcompress.storage import read_run

    Renderer(json=as_json).result(read_run(run))


@runs_app.command("clean")
def runs_clean(
    names: Annotated[list[str] | None, typer.Argument(help="Runs to remove.")] = None,
    root: Annotated[Path, typer.Option(help="Folder of run directories.")] = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how much.")] = False,
) -> None:
    """Remove runs, and everything in the store that no run uses."""
    from augcompress.render import Renderer
    from augcompress.storage import clean, files_of

    renderer = Renderer()
    freed = clean(root, names or [], dry_run=dry_run)
    for name in names or []:
        if not dry_run and (left := files_of(root / name)):
            renderer.message(f"{root / name}: not written by augcompress, kept: {', '.join(left)}")
    renderer.text(f"{'would free' if dry_run else 'freed'} {freed / 2**20:.1f} MiB")
