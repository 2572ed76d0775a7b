"""What is wrong with a recipe, in one line that names the field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from augcompress.raw.meant import meant_by, nearest
from augcompress.raw.standing import Place, kind_of_model, models_at, value_at

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "none": "null",
}
"""What Pydantic's kinds of values are called, by the first word of its error types."""


def problem_lines(problems: Sequence[Any], raw: dict[str, Any], root: type[BaseModel]) -> list[str]:
    """Each wrong field once, as `section.field: what is wrong; what to do`; `root` is what the
    recipe was to become."""
    by_place: dict[Place, list[Any]] = {}
    for problem in problems:
        missing = problem["type"] == "missing"
        by_place.setdefault(tuple(_untagged(problem["loc"], raw, missing)), []).append(problem)
    inside = {place[:depth] for place in by_place for depth in range(len(place))}
    found = {
        place: kept
        for place, each in by_place.items()
        if (kept := [one for one in each if place not in inside or not _is_of_shape(one)])
    }
    lines = (_line(place, each, raw, root) for place, each in found.items())
    return list(dict.fromkeys(lines))


def _is_of_shape(problem: Any) -> bool:
    """Is a value of another kind or length than wanted?  Where its inside was looked at, it is not,
    or not for that reason."""
    kind = problem["type"]
    return kind == "too_short" or kind.endswith(("_type", "_parsing", "literal_error"))


def _line(place: Place, problems: list[Any], raw: dict[str, Any], root: type[BaseModel]) -> str:
    where = ".".join(map(str, place)) or "recipe"
    first, given = problems[0], value_at(place, raw)
    kind, context = first["type"], first.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{where}: unknown key{meant_by(place, given, raw, root)}"
    if kind == "missing":
        return f"{where}: is missing; add it"
    if kind == "value_error":
        return f"{where}: {context['error']}" if place else str(context["error"])
    told = _of_another_kind(first, models_at(place, raw, root), given)
    if told is not None:
        return f"{where}{told}"
    allowed = list(dict.fromkeys(map(_allowed, problems)))
    if len(allowed) > 1:
        return f"{where}: should be {' or '.join(allowed)}; it is {_shown(given)}"
    said = first["msg"].replace("valid tuple", "valid list")
    return f"{where}: {said[0].lower()}{said[1:]}; it is {_shown(first['input'])}"


def _of_another_kind(problem: Any, models: Sequence[type[BaseModel]], given: Any) -> str | None:
    """What is wrong where a section or component should stand; None where something else should."""
    if not problem["type"].startswith(("union_tag", "model_", "dataclass", "dict_type")):
        return None
    kinds = [kind for kind in map(kind_of_model, models) if kind is not None]
    told = given.get("kind") if isinstance(given, dict) else None
    if kinds and told is not None and told not in kinds:
        return f".kind: unknown {repr(told)[:60]}{nearest(str(told), kinds, listed=True)}"
    if kinds:
        return f": needs a kind: {{kind: ...}} of {', '.join(kinds)}; it is {_shown(given)}"
    if models:
        fields = ", ".join(models[0].model_fields)
        return f": should be a mapping {{field: value}} of {fields}; it is {_shown(given)}"
    return None


def _allowed(problem: Any) -> str:
    """What one member of a union would take."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "value_error":
        return str(context["error"])
    word = _WORDS.get(kind.partition("_")[0])
    if word is not None and kind.endswith(("_type", "_parsing", "_from_float", "_required")):
        return word
    return problem["msg"].removeprefix("Input should be ").removeprefix("Value error, ")


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)[:60]


def _untagged(loc: Place, raw: Any, missing: bool) -> Iterator[Any]:
    """A location without what Pydantic puts between: kinds, and the members of a union.  Where the
    field is `missing`, it is the last part."""
    for depth, part in enumerate(loc):
        is_last = depth == len(loc) - 1
        if isinstance(raw, dict):
            is_kind = not is_last and raw.get("kind") == part
            if (part in raw and not is_kind) or (is_last and missing):
                yield part
                raw = raw.get(part)
        elif isinstance(raw, list) and isinstance(part, int) and part < len(raw):
            yield part
            raw = raw[part]
