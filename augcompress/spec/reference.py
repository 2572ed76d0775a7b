"""The reference, generated from the settings classes: for `explain` and for docs/reference.md."""

from __future__ import annotations

import difflib
import inspect
import types
import typing
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from augcompress.augmentations import AnyAugmentation, Ramp
from augcompress.compressions import Compression
from augcompress.datasets import ClassBalance, Dataset
from augcompress.errors import UsageError
from augcompress.exporters import Target
from augcompress.models import Model
from augcompress.objectives import Objective
from augcompress.spec.meanings import meanings
from augcompress.spec.sections import Resolution, Sampling
from augcompress.spec.tree import Spec
from augcompress.training import Optimizer, Schedule, Training

Rows = list[list[str]]
ROOMS: dict[str, Any] = {
    "data": Dataset,
    "augmentations": AnyAugmentation,
    "ramp": Ramp,
    "sampling": Sampling | Resolution,
    "class_balance": ClassBalance,
    "models": Model,
    "objectives": Objective,
    "training": Training,
    "optimizers": Optimizer,
    "schedules": Schedule,
    "compressions": Compression,
    "exporters": Target,
}


def members(annotation: Any) -> list[type[BaseModel]]:
    """The classes of a union."""
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [found for inner in get_args(annotation) for found in members(inner)]


def sections() -> dict[str, Any]:
    """The recipe's own sections, by name."""
    fields = Spec.model_fields
    return {"recipe": Spec} | {
        name: field.annotation
        for name, field in fields.items()
        if name != "data" and members(field.annotation)
    }


def explain_room(room: str, kind: str | None = None) -> Iterator[tuple[str, Rows]]:
    """A titled table for each class of a room or section, and for the sections inside them.

    `kind` takes one of them: a kind, or a field that holds a section, such as `timing` of export.
    Raises UsageError naming the nearest room or kind.
    """
    known = {**sections(), **ROOMS}
    name = room.replace("-", "_")
    if name not in known:
        raise UsageError(f"explain {room}: no such section or room{_hint(name, known)}")
    found = tables(known[name])
    if kind is not None and kind not in found:
        raise UsageError(f"explain {room} {kind}: no such kind{_hint(kind, found)}")
    for member, model in found.items():
        if kind in (None, member):
            summary = " ".join((inspect.getdoc(model) or "").split())
            yield f"{member}: {summary}", field_rows(model)


def tables(annotation: Any) -> dict[str, type[BaseModel]]:
    """What a room or section consists of: its classes by kind, and the sections inside them by the
    fields that lead there (`vary.levels`), each class once."""
    kinds = {kind_of(model): model for model in members(annotation)}
    found = dict(kinds)
    for kind, model in kinds.items():
        for path, inner in inside(model):
            if inner not in found.values():
                found[path if path not in found else f"{kind}.{path}"] = inner
    return found


def inside(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The sections inside a class that have no place of their own in the reference, with the fields
    that lead there."""
    own = {one for annotation in {**sections(), **ROOMS}.values() for one in members(annotation)}
    for name, field in model.model_fields.items():
        for inner in members(field.annotation):
            if inner not in own and inner is not model:
                yield path + name, inner
                yield from inside(inner, f"{path}{name}.")


def kind_of(model: type[BaseModel]) -> str:
    """The name in a recipe."""
    field = model.model_fields.get("kind")
    return str(field.default) if field is not None else model.__name__


def field_rows(model: type[BaseModel]) -> Rows:
    """Name, type with default, meaning of each field."""
    rows, told = [], meanings(model)
    for name, field in model.model_fields.items():
        if name == "kind":
            continue
        default = "required" if field.is_required() else f"= {shown(field.get_default())}"
        meaning = " ".join(told.get(name, "").split())
        rows.append([name, f"{type_name(field.annotation)} {default}", meaning])
    return rows


def shown(value: Any) -> str:
    """A default as a recipe would say it."""
    if isinstance(value, BaseModel):
        return kind_of(type(value))
    if isinstance(value, tuple | list):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    if value is PydanticUndefined or value is None:
        return "null"
    return str(value)


def type_name(annotation: Any) -> str:
    """A type in a few words."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return type_name(get_args(annotation)[0])
    if origin is typing.Literal:
        return " | ".join(str(value) for value in get_args(annotation))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(dict.fromkeys(type_name(inner) for inner in get_args(annotation)))
    if origin in (tuple, list):
        inner = dict.fromkeys(type_name(i) for i in get_args(annotation) if i is not Ellipsis)
        return f"list of {' and '.join(inner)}"
    if annotation is type(None):
        return "null"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return kind_of(annotation)
    return getattr(annotation, "__name__", str(annotation))


def markdown() -> str:
    """The whole reference as one page."""
    lines = [
        "# Reference",
        "",
        "Generated from the settings classes by `python -m tests.reference`.",
        "",
    ]
    for room in {**sections(), **ROOMS}:
        lines += [f"## {room}", ""]
        for title, rows in explain_room(room):
            name, _, summary = title.partition(": ")
            lines += [f"### `{name}`", "", summary, ""]
            if rows:
                lines += ["| field | type and default | meaning |", "|---|---|---|"]
                lines += [
                    "| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows
                ]
                lines.append("")
    return "\n".join(lines)


def _hint(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"
