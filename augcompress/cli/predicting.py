"""`predict`: it prints without `render`, which takes longer to load than a few images to label."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from augcompress.cli.app import app
from augcompress.cli.options import permit_plugins
from augcompress.errors import AugcompressError, UsageError, visible_text
from augcompress.output import results

if TYPE_CHECKING:
    from augcompress.inference import LoadedModel

Row = dict[str, Any]
"""What `predict_files` tells of an image."""


@app.command("predict")
def predict_command(
    model: Annotated[
        Path,
        typer.Argument(help="A run, a stage (runs/NAME/STAGE), or an ONNX file or checkpoint."),
    ],
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of such.")],
    top: Annotated[int, typer.Option(min=1, help="Labels an image.")] = 1,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Rows image,label,probability on standard output.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    allow_plugins: Annotated[
        bool, typer.Option("--allow-plugins", help="Run code from a checkpoint's plug-ins.")
    ] = False,
) -> None:
    """Print the labels of images."""
    from augcompress.inference import images_of, predict_files
    from augcompress.storage import model_file, stand_in

    if as_csv and as_json:
        raise UsageError("predict: --csv and --json are two forms of one answer; leave one out")
    permit_plugins(allow_plugins)
    model = model.expanduser()
    if told := stand_in(model):
        typer.echo(visible_text(f"predict: {told}"), err=True)
    file = model if model.is_file() else model_file(model)
    files = images_of(images)
    found = predict_files(opened(file), files, top)
    if as_json:
        print_json(file, [*found])
    elif print_csv(found) if as_csv else print_table(file, [*found]):
        raise typer.Exit(1)


def opened(file: Path) -> LoadedModel:
    """An ONNX file, for which no torch is loaded, or a checkpoint."""
    if file.suffix in (".safetensors", ".pt", ".pth", ".th"):
        from augcompress.scoring import load_checkpoint

        return load_checkpoint(file)
    from augcompress.inference import open_shipped

    return open_shipped(file)


def print_csv(found: Iterable[Row]) -> int:
    """A line a label, as soon as an image is labelled; how many images could not be read."""
    table, unread = csv.writer(results(), lineterminator="\n"), 0
    table.writerow(["image", "label", "probability"])
    for row in found:
        unread += say_unread([row])
        for one in row["labels"]:
            names = visible_text(row["image"]), visible_text(one["label"])
            table.writerow([*names, f"{one['probability']:.4f}"])
    return unread


def print_table(file: Path, found: list[Row]) -> int:
    """A line an image; how many could not be read."""
    if labelled := [row for row in found if row["labels"]]:
        typer.echo(typer.style(visible_text(str(file)), bold=results().isatty()), results())
        typer.echo("\n".join(label_lines(labelled)), results())
    return say_unread(found)


def print_json(file: Path, found: list[Row]) -> None:
    """One object.  Raises AugcompressError when an image could not be read."""
    told = {"version": 1, "model": str(file), "predictions": found}
    typer.echo(visible_text(json.dumps(told, indent=2, allow_nan=False)), results())
    if errors := [row["error"] for row in found if "error" in row]:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise AugcompressError(f"{errors[0]}{more}")


def say_unread(found: Iterable[Row]) -> int:
    """A line on standard error for each image that could not be read; how many there are."""
    from augcompress.cli import fail

    errors = [row["error"] for row in found if "error" in row]
    for error in errors:
        fail(error)
    return len(errors)


def label_lines(found: list[Row]) -> list[str]:
    """A line an image, below the names of the columns."""
    rows = [("image", "label")]
    for row in found:
        labels = ", ".join(f"{i['label']} {i['probability']:.1%}" for i in row["labels"])
        rows.append((visible_text(row["image"]), visible_text(labels)))
    first, second = (max(map(len, column)) for column in zip(*rows, strict=True))
    rule = "\u2500" if (results().encoding or "").lower().startswith("utf") else "-"
    lines = [f"{image:<{first}} {labels}" for image, labels in rows]
    return [lines[0], rule * (first + 1 + second), *lines[1:]]
