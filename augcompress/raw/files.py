"""Recipes' files: found, read, overridden; not validated yet."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from augcompress.errors import AugcompressError, UsageError
from augcompress.raw.overriding import override_value
from augcompress.untrusted import load_json, load_yaml
from augcompress.wording import alike

RECIPES = ("recipes", "../recipes")  # inside the wheel, and beside the package in a checkout


def find_recipe(name: str) -> Path:
    """A recipe's file: in the file system, else among the shipped ones.

    Raises UsageError naming the nearest shipped recipe.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = shipped_recipes()
    for candidate in (name, f"{name}.yaml"):
        if candidate in shipped:
            return shipped[candidate]
    if Path(name).exists():
        raise UsageError(f"{name}: is no file; give a recipe's")
    near = [f"{stem}.yaml" for stem in alike(Path(name).stem, (Path(one).stem for one in shipped))]
    cure = f"did you mean {near[0]}?" if near else "see: augcompress recipes"
    raise UsageError(f"{name}: no such file, and no shipped recipe has that name; {cure}")


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by file name."""
    here = Path(__file__).parents[1]
    folder = next((here / place for place in RECIPES if (here / place).is_dir()), here)
    return {path.name: path for path in sorted(folder.glob("*.yaml"))}


def recipe_summary(path: Path) -> str:
    """The first line of a recipe's header."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip()


def read_raw(recipe: str | Path, overrides: Iterable[str] = ()) -> tuple[dict[str, Any], str, str]:
    """A recipe as plain data with its overrides, its text as typed, and where its paths start: at
    its folder; those of a recipe that comes with the package, at the current one.

    Raises UsageError when it cannot be read.
    """
    path = find_recipe(str(recipe))
    try:
        raw, text = load_yaml(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; make it readable") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: holds no sections; start from: augcompress init")
    for override in overrides:
        override_value(raw, override)
    shipped = path.resolve() in map(Path.resolve, shipped_recipes().values())
    return raw, text, os.getcwd() if shipped else str(path.resolve().parent)


def read_resolved(run: Path) -> dict[str, Any]:
    """The recipe of a run directory, as it was resolved when it was run.

    Raises AugcompressError when it cannot be read.
    """
    path = run / "spec.json"
    try:
        raw = load_json(path)
    except (OSError, ValueError) as error:
        raise AugcompressError(f"{path}: cannot be read ({error}); give --recipe") from error
    if not isinstance(raw, dict):
        raise AugcompressError(f"{path}: holds no settings; give --recipe")
    return raw
