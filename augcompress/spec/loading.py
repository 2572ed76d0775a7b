"""From a recipe's file to a validated Spec."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from augcompress.errors import AugcompressError, UsageError
from augcompress.spec.explaining import nearest, problem_lines
from augcompress.spec.overriding import override_value
from augcompress.spec.tree import Spec
from augcompress.training import of_another_length
from augcompress.untrusted import check_depth, load_json, load_yaml

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
    raise UsageError(
        f"--recipe {name}: no such file, and no shipped recipe has that name"
        f"{nearest(name, shipped) or '; see: augcompress recipes'}"
    )


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by file name."""
    here = Path(__file__).parents[1]
    folder = next((here / place for place in RECIPES if (here / place).is_dir()), here)
    return {path.name: path for path in sorted(folder.glob("*.yaml"))}


def load(
    recipe: str | Path, overrides: Iterable[str] = (), *, smoke: bool = False
) -> tuple[Spec, str]:
    """Read and validate a recipe; returns it with its text as typed.  `smoke` shrinks everything.

    Raises UsageError with `section.field: what is wrong; what to do`.
    """
    raw, text, base = read_raw(recipe, overrides)
    if smoke:
        shrink_to_smoke(raw)
    return validate(raw, base), text


def find_spec(run: Path, overrides: Iterable[str] = ()) -> Spec:
    """The recipe of a run directory, as it was resolved when it was run.

    Raises AugcompressError when it cannot be read, or is of another version of augcompress.
    """
    path = run / "spec.json"
    try:
        raw = load_json(path)
    except (OSError, ValueError) as error:
        raise AugcompressError(f"{path}: cannot be read ({error}); give --recipe") from error
    if not isinstance(raw, dict):
        raise AugcompressError(f"{path}: holds no settings; give --recipe")
    for override in overrides:
        override_value(raw, override)
    try:
        return validate(raw)
    except UsageError as error:
        raise AugcompressError(f"{path}: {error}; give --recipe") from error


def read_raw(recipe: str | Path, overrides: Iterable[str] = ()) -> tuple[dict[str, Any], str, str]:
    """A recipe as plain data with its overrides, its text as typed, and where its paths start.

    Raises UsageError when it cannot be read.
    """
    path = find_recipe(str(recipe))
    try:
        raw, text = load_yaml(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}; mend the recipe") from error
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: holds no sections; start from: augcompress init")
    for override in overrides:
        override_value(raw, override)
    return raw, text, str(path.resolve().parent)


def shrink_to_smoke(raw: dict[str, Any]) -> None:
    """One epoch everywhere, in place; the run has a name of its own."""
    raw["name"] = f"{raw.get('name')}-smoke"
    for section in ("pretrain", "train_teacher", "distill", "prune", "quantize"):
        inside = raw.get(section)
        usually: Any = None if section == "quantize" else {}
        if isinstance(inside, dict) and inside.get("training", usually) is not None:
            training = inside.setdefault("training", {})
            if not isinstance(training, dict):
                continue  # validation says what is wrong with it
            usual = 100 if section == "pretrain" else 10
            inside["training"] = of_another_length(training, 1, usual)
            if isinstance(training.get("batch_size", 32), int):
                fewer = min(training.get("batch_size", 32), 32)
                inside["training"] |= {"batch_size": fewer, "accumulation": 1}
    if isinstance(raw.get("quantize"), dict):
        raw["quantize"]["max_drop"] = None


def recipe_summary(path: Path) -> str:
    """The first line of a recipe's header."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip()


def validate(raw: dict[str, Any], base: str | None = None) -> Spec:
    """A Spec from plain data; relative paths start at `base`.

    Raises UsageError naming the field.
    """
    try:
        check_depth(raw)
        return Spec.model_validate(raw, context={"base": base})
    except ValidationError as error:
        lines = problem_lines(error.errors(), raw)
        more = f" (and {len(lines) - 3} more)" if len(lines) > 3 else ""
        raise UsageError(" | ".join(lines[:3]) + more) from error
    except ValueError as error:
        raise UsageError(f"recipe: {error}; mend it") from error
