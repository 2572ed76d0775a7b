"""What is wrong with a recipe, in one line that names the field."""

from __future__ import annotations

import difflib
import json
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel

Place = tuple[Any, ...]
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


def _meant(place: Place, given: Any, raw: dict[str, Any], root: type[BaseModel]) -> str:
    """What an unknown key may stand for: the same key further inside, else one like it."""
    owner = _chosen(_models_at(place[:-1], raw, root), _value_at(place[:-1], raw))
    name = str(place[-1])
    if owner is None:
        return ""
    every = _inside(name, owner, place[:-1], raw, root)
    found = sorted(every, key=lambda one: ("training" not in one, len(one)))[:3]
    if not found:
        return nearest(name, owner.model_fields)
    paths = [".".join(map(str, one)) for one in found]
    return f"; did you mean {' or '.join(paths)}?  --set {paths[0]}={_shown(given)}"


def _inside(
    name: str,
    owner: type[BaseModel],
    place: Place,
    raw: dict[str, Any],
    root: type[BaseModel],
    depth: int = 3,
) -> Iterator[Place]:
    """Where a key of that name is, in the sections and lists inside one that the recipe has."""
    for field, info in owner.model_fields.items():
        here: Place = (*place, field)
        value = _value_at(here, raw)
        if value is None and info.get_default(call_default_factory=True) is None:
            continue  # there is no such section
        listed = value if isinstance(value, list) else default_list(here, raw, root)
        for inner in [(*here, number) for number in range(len(listed))] or [here]:
            told = _value_at(inner, raw) or _at(listed, inner[-1])
            model = _chosen(_models_at(here, raw, root), told)
            if model is None or depth == 0:
                continue
            if name in model.model_fields:
                yield (*inner, name)
            yield from _inside(name, model, inner, raw, root, depth - 1)


def _at(listed: list[Any], number: Any) -> Any:
    return listed[number] if isinstance(number, int) and number < len(listed) else None


def _is_of_shape(problem: Any) -> bool:
    """Is a value of another kind or length than wanted?  Where its inside was looked at, it is not,
    or not for that reason."""
    kind = problem["type"]
    return kind == "too_short" or kind.endswith(("_type", "_parsing", "literal_error"))


def _line(place: Place, problems: list[Any], raw: dict[str, Any], root: type[BaseModel]) -> str:
    where = ".".join(map(str, place)) or "recipe"
    first, given = problems[0], _value_at(place, raw)
    kind, context = first["type"], first.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{where}: unknown key{_meant(place, given, raw, root)}"
    if kind == "missing":
        return f"{where}: is missing; add it"
    if kind == "value_error":
        return f"{where}: {context['error']}" if place else str(context["error"])
    told = _of_another_kind(first, _models_at(place, raw, root), given)
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
    kinds = [kind for kind in map(_kind, models) if kind is not None]
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


def _value_at(place: Place, raw: Any) -> Any:
    for part in place:
        if isinstance(raw, dict):
            raw = raw.get(part)
        elif isinstance(raw, list) and isinstance(part, int) and part < len(raw):
            raw = raw[part]
    return raw


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


def nearest(name: str, known: Iterable[str], *, listed: bool = False) -> str:
    """`; did you mean …?`, or what is known; both, where it shall be `listed`."""
    known = list(known)
    close = difflib.get_close_matches(name[:100], known, 1, 0.5)
    told = f"; did you mean {close[0]}?" if close else ""
    if known and (listed or not close):
        told += f" known: {', '.join(known)}" if close else f"; known: {', '.join(known)}"
    return told


def default_list(place: Place, raw: Any, root: type[BaseModel]) -> list[dict[str, Any]]:
    """The components that a recipe has at a place where it names none, as it would write them;
    empty where there are none."""
    owner = _chosen(_models_at(place[:-1], raw, root), _value_at(place[:-1], raw))
    field = owner.model_fields.get(str(place[-1])) if owner is not None else None
    usual = field.get_default(call_default_factory=True) if field is not None else None
    listed = usual if isinstance(usual, tuple | list) else ()
    return [
        {"kind": _kind(type(one)), **one.model_dump(mode="json", exclude_unset=True)}
        for one in listed
        if isinstance(one, BaseModel)
    ]


def _models_at(place: Place, raw: Any, root: type[BaseModel]) -> list[type[BaseModel]]:
    """The sections and components that may stand at a place of the recipe."""
    choices = [root]
    for part in place:
        if isinstance(part, str):
            here = _chosen(choices, raw)
            if here is None or part not in here.model_fields:
                return []
            choices = list(_models(here.model_fields[part].annotation))
        raw = _value_at((part,), raw)
    return choices


def _chosen(choices: list[type[BaseModel]], value: Any) -> type[BaseModel] | None:
    """The one of the value's kind, else the first."""
    kind = value.get("kind") if isinstance(value, dict) else None
    return next((m for m in choices if _kind(m) == kind), choices[0] if choices else None)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models(inner)


def _kind(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    return field.default if field is not None else None
