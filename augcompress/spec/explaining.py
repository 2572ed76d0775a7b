"""What is wrong with a recipe, in one line that names the field."""

from __future__ import annotations

import difflib
import json
import typing
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel

from augcompress.spec.tree import Spec


def without_consequences(problems: list[Any]) -> list[Any]:
    """A list is not too short because its items are wrong."""
    inside = {
        problem["loc"][:depth] for problem in problems for depth in range(len(problem["loc"]))
    }
    return [p for p in problems if p["type"] != "too_short" or p["loc"] not in inside]


def problem_text(problem: Any, raw: dict[str, Any]) -> str:
    """One validation problem as `section.field: what is wrong; what to do`."""
    parts = list(_untagged(problem["loc"], raw))
    where = ".".join(str(part) for part in parts) or "recipe"
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        owner = _model_at(Spec, parts[:-1], raw)
        return f"{where}: unknown key{nearest(str(parts[-1]), owner.model_fields if owner else ())}"
    if kind == "union_tag_invalid":
        known = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
        return f"{where}.kind: unknown {context['tag']!r}{nearest(context['tag'], known)}"
    if kind == "union_tag_not_found":
        return f"{where}: needs a kind; write for example {{kind: ...}}"
    if kind == "missing":
        return f"{where}: is missing; add it"
    if kind == "value_error":
        return f"{where}: {context['error']}" if parts else str(context["error"])
    given = json.dumps(problem["input"], default=str)
    return f"{where}: {problem['msg'][0].lower()}{problem['msg'][1:]}; it is {given[:60]}"


def _untagged(loc: tuple[Any, ...], raw: Any) -> Iterator[Any]:
    """A location without the union tags that Pydantic puts into it."""
    for part in loc:
        if isinstance(raw, dict) and part not in raw and raw.get("kind") == part:
            continue
        yield part
        if isinstance(raw, dict):
            raw = raw.get(part)
        elif isinstance(raw, list) and isinstance(part, int) and part < len(raw):
            raw = raw[part]


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or what is known."""
    known = list(known)
    close = difflib.get_close_matches(name, known, 1, 0.5)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known: {', '.join(known)}" if known else ""


def _model_at(model: Any, parts: list[Any], raw: Any) -> type[BaseModel] | None:
    """The section or component that stands at a place of the recipe."""
    choices = list(_models(model))
    kind = raw.get("kind") if isinstance(raw, dict) else None
    here = next((m for m in choices if _kind(m) == kind), choices[0] if choices else None)
    if not parts or here is None:
        return here
    part, rest = parts[0], parts[1:]
    if isinstance(part, int):
        inside = raw[part] if isinstance(raw, list) and part < len(raw) else None
        return _model_at(model, rest, inside)
    if part not in here.model_fields:
        return None
    inside = raw.get(part) if isinstance(raw, dict) else None
    return _model_at(here.model_fields[part].annotation, rest, inside)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models(inner)


def _kind(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    return field.default if field is not None else None
