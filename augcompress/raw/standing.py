"""What may stand at a place of a recipe, and what does: values, sections, components."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

Place = tuple[Any, ...]
"""Keys and numbers that lead to a value."""


def value_at(place: Place, raw: Any) -> Any:
    for part in place:
        if isinstance(raw, dict):
            raw = raw.get(part)
        elif isinstance(raw, list) and isinstance(part, int) and part < len(raw):
            raw = raw[part]
    return raw


def default_list(place: Place, raw: Any, root: type[BaseModel]) -> list[dict[str, Any]]:
    """The components that a recipe has at a place where it names none, as it would write them;
    empty where there are none."""
    usual = _default(place, raw, root)
    listed = usual if isinstance(usual, tuple | list) else ()
    return [_written(one) for one in listed if isinstance(one, BaseModel)]


def default_component(place: Place, raw: Any, root: type[BaseModel]) -> dict[str, Any]:
    """The same of a place for one component; empty where there is none, or something else."""
    usual = _default(place, raw, root)
    is_component = isinstance(usual, BaseModel) and kind_of_model(type(usual)) is not None
    return _written(usual) if is_component else {}


def _default(place: Place, raw: Any, root: type[BaseModel]) -> Any:
    owner = chosen_model(models_at(place[:-1], raw, root), value_at(place[:-1], raw))
    field = owner.model_fields.get(str(place[-1])) if owner is not None else None
    return field.get_default(call_default_factory=True) if field is not None else None


def _written(one: BaseModel) -> dict[str, Any]:
    return {"kind": kind_of_model(type(one)), **one.model_dump(mode="json", exclude_unset=True)}


def models_at(place: Place, raw: Any, root: type[BaseModel]) -> list[type[BaseModel]]:
    """The sections and components that may stand at a place of the recipe."""
    choices = [root]
    for part in place:
        if isinstance(part, str):
            here = chosen_model(choices, raw)
            if here is None or part not in here.model_fields:
                return []
            choices = list(_models(here.model_fields[part].annotation))
        raw = value_at((part,), raw)
    return choices


def chosen_model(choices: list[type[BaseModel]], value: Any) -> type[BaseModel] | None:
    """The one of the value's kind, else the first."""
    kind = value.get("kind") if isinstance(value, dict) else None
    return next((m for m in choices if kind_of_model(m) == kind), choices[0] if choices else None)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models(inner)


def kind_of_model(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    return field.default if field is not None else None
