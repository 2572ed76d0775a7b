"""Commands that tell about recipes, settings and this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from augcompress.cli.app import app
from augcompress.errors import AugcompressError, UsageError


@app.command()
def recipes() -> None:
    """The recipes that come with augcompress."""
    from augcompress.raw import recipe_summary, shipped_recipes
    from augcompress.render import Renderer

    rows = [[name, recipe_summary(path)] for name, path in shipped_recipes().items()]
    Renderer().table("shipped recipes", ["recipe", "what it is"], rows)


@app.command()
def init(
    recipe: Annotated[
        str | None, typer.Argument(help="A shipped recipe's name.  [default: digits.yaml]")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write one for these images instead.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="The new file.  [default: ./<recipe>]")] = None,
) -> None:
    """A recipe to start from: a copy of a shipped one, or one for your images."""
    from augcompress.raw import find_recipe
    from augcompress.render import Renderer
    from augcompress.storage import write_aside

    if data is None:
        source = find_recipe(recipe or "digits.yaml")
        name, text = source.name, source.read_bytes()
    elif recipe is not None:
        raise UsageError(f"init: {recipe} and --data {data} exclude each other; give one")
    else:
        name, text = written_for(data, to)
    target = to or Path(name)
    if target.exists():
        raise AugcompressError(f"{target}: is already there; choose another name with --to")
    with write_aside(target) as aside:
        aside.write_bytes(text)
    Renderer().text(f"{target}")


def written_for(data: Path, to: Path | None) -> tuple[str, bytes]:
    """A recipe for images: its file's name and content.  Relative paths start at the recipe."""
    from augcompress.spec import propose_recipe

    folder = (to.parent if to else Path()).resolve()
    written = str(data) if data.is_absolute() else os.path.relpath(data.resolve(), folder)
    name, text = propose_recipe(data, written)
    return f"{name}.yaml", text.encode()


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
