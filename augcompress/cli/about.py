"""Commands that tell about recipes, settings and this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from augcompress.cli.app import app
from augcompress.errors import AugcompressError


@app.command()
def recipes() -> None:
    """The recipes that come with augcompress."""
    from augcompress.raw import recipe_summary, shipped_recipes
    from augcompress.render import Renderer

    rows = [[name, recipe_summary(path)] for name, path in shipped_recipes().items()]
    Renderer().table("shipped recipes", ["recipe", "what it is"], rows)


@app.command()
def init(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name.")] = "digits.yaml",
    to: Annotated[Path | None, typer.Option(help="The new file.  [default: ./<recipe>]")] = None,
) -> None:
    """Copy a shipped recipe into this folder, to start from."""
    from augcompress.raw import find_recipe
    from augcompress.render import Renderer
    from augcompress.storage import write_aside

    source = find_recipe(recipe)
    target = to or Path(source.name)
    if target.exists():
        raise AugcompressError(f"{target}: is already there; choose another name with --to")
    with write_aside(target) as aside:
        aside.write_bytes(source.read_bytes())
    Renderer().text(f"{target}")


@app.command("explain")
def explain_command(
    topic: Annotated[
        str | None, typer.Argument(help="A section, a kind or a field.  [default: all topics]")
    ] = None,
    kind: Annotated[str | None, typer.Argument(help="One kind or field of it.")] = None,
) -> None:
    """What can stand in a recipe: distill, distill.training.epochs, mixup, temperature."""
    from augcompress.render import Renderer
    from augcompress.spec import explain

    answers, see = explain(*(word for word in (topic, kind) if word is not None))
    renderer = Renderer()
    for answer in answers:
        if answer is not answers[0]:
            renderer.out.print()
        renderer.paragraph(answer.title)
        for line in answer.lines:
            renderer.paragraph(line)
        if answer.rows is not None:
            renderer.table("", answer.columns, answer.rows)
    renderer.paragraph(see)


@app.command()
def schema() -> None:
    """The recipe's JSON schema, for editors."""
    from augcompress.render import Renderer
    from augcompress.spec import recipe_schema

    Renderer(json=True).payload(recipe_schema())


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """What this machine has: versions, threads, instructions, devices."""
    from augcompress.render import Renderer
    from augcompress.running import examine

    found = examine()
    renderer = Renderer(json=as_json)
    if as_json:
        renderer.payload({"version": 1, "machine": found})
    else:
        renderer.table("this machine", ["what", "found"], found.items())
