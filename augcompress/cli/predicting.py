"""`predict`: it prints without `render`, which takes longer to load than a few images to label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from augcompress.cli.app import app
from augcompress.errors import visible_text
from augcompress.output import results


@app.command("predict")
def predict_command(
    model: Annotated[Path, typer.Argument(help="An ONNX file that augcompress wrote.")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    top: Annotated[int, typer.Option(min=1, help="Labels an image.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print the labels of images."""
    from augcompress.inference import predict_files

    found = predict_files(model, images, top)
    if as_json:
        told = {"version": 1, "model": str(model), "predictions": found}
        typer.echo(visible_text(json.dumps(told, indent=2, allow_nan=False)), results())
    else:
        typer.echo(typer.style(visible_text(str(model)), bold=results().isatty()), results())
        typer.echo("\n".join(label_lines(found)), results())


def label_lines(found: list[dict[str, Any]]) -> list[str]:
    """A line an image, below the names of the columns."""
    rows = [("image", "label")]
    for row in found:
        labels = ", ".join(f"{i['label']} {i['probability']:.1%}" for i in row["labels"])
        rows.append((visible_text(row["image"]), visible_text(labels)))
    first, second = (max(map(len, column)) for column in zip(*rows, strict=True))
    rule = "\u2500" if (results().encoding or "").lower().startswith("utf") else "-"
    lines = [f"{image:<{first}} {labels}" for image, labels in rows]
    return [lines[0], rule * (first + 1 + second), *lines[1:]]
