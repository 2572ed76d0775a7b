"""The reference, generated from the settings classes: for `explain` and for docs/reference.md."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Collection, Iterator
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from augcompress.augmentations import AnyAugmentation, Ramp
from augcompress.compressions import Compression
from augcompress.datasets import ClassBalance, Dataset
from augcompress.exporters import Target
from augcompress.models import Model
from augcompress.objectives import Objective
from augcompress.spec.meanings import meanings
from augcompress.spec.sections import Resolution, Sampling
from augcompress.spec.tree import Spec
from augcompress.training import Optimizer, Schedule, Training

Rows = list[list[str]]
FEW = 14
"""Of more kinds than this, only the topic is named, or their families: they would fill a screen."""
TOPICS: dict[str, Any] = {
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


def tables(annotation: Any) -> dict[str, type[BaseModel]]:
    """What a topic consists of: its classes by kind, and the sections inside them by the
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
    own = {one for annotation in {**sections(), **TOPICS}.values() for one in members(annotation)}
    for name, field in model.model_fields.items():
        for inner in members(field.annotation):
            if inner not in own and inner is not model:
                yield path + name, inner
                yield from inside(inner, f"{path}{name}.")


def nested(annotation: Any, many: bool = False) -> list[tuple[bool, type[BaseModel]]]:
    """The classes of a field, each with whether it stands in a list."""
    if isinstance(annotation, type):
        return [(many, annotation)] if issubclass(annotation, BaseModel) else []
    listed = many or typing.get_origin(annotation) in (tuple, list)
    return [found for inner in get_args(annotation) for found in nested(inner, listed)]


def kind_of(model: type[BaseModel]) -> str:
    """The name in a recipe; of a section without a kind, that of its class, as recipes write."""
    field = model.model_fields.get("kind")
    if field is not None:
        return str(field.default)
    if model is Spec:
        return "recipe"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", model.__name__).lower().removesuffix("_section")


def told_of(model: type[BaseModel]) -> str:
    """What is said about a class."""
    return " ".join((inspect.getdoc(model) or "").split())


def summary_of(model: type[BaseModel]) -> str:
    """The first sentence about a class, without papers."""
    told = told_of(model)
    plain = re.sub(r" ?\([^()]*(arxiv|arXiv|doi|http|et al)[^()]*\)", "", told)
    return re.split(r"(?<=[.:]) ", plain)[0].rstrip(":.")


@cache
def topic_of(model: type[BaseModel]) -> str | None:
    """The topic that a class belongs to."""
    every = {**sections(), **TOPICS}
    return next((name for name, one in every.items() if model in members(one)), None)


def referred(models: Collection[type[BaseModel]], own: str) -> list[str]:
    """The other topics that the fields of some classes lead to."""
    inner = [one for model in models for one in fields_of(model) if one is not model]
    found = dict.fromkeys(topic for one in inner if (topic := topic_of(one)) is not None)
    return [topic for topic in found if topic != own] or users_of(models)


def users_of(models: Collection[type[BaseModel]]) -> list[str]:
    """The topics whose fields lead to some classes."""
    every = {**sections(), **TOPICS}
    return [
        name
        for name, one in every.items()
        if any(inner in models for model in tables(one).values() for inner in fields_of(model))
    ]


def fields_of(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The classes in a class's fields."""
    return [one for field in model.model_fields.values() for one in members(field.annotation)]


def field_rows(model: type[BaseModel]) -> Rows:
    """Name, type with default, meaning of each field."""
    return [field_row(model, name) for name in model.model_fields if name != "kind"]


def field_row(model: type[BaseModel], name: str) -> list[str]:
    """Of one field."""
    field = model.model_fields[name]
    default = "required" if field.is_required() else f"= {shown(field.get_default())}"
    meaning = " ".join(meanings(model).get(name, "").split())
    return [name, f"{type_name(field.annotation)} {default}", meaning]


def shown(value: Any) -> str:
    """A default as a recipe would say it."""
    if isinstance(value, BaseModel):
        has_kind = "kind" in type(value).model_fields
        return kind_of(type(value)) if has_kind else "its defaults"
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
        kinds = [one for many, one in nested(annotation) if not many]
        if len(kinds) > FEW:
            return str(topic_of(kinds[0]))
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
    for topic, annotation in {**sections(), **TOPICS}.items():
        lines += [f"## {topic}", ""]
        for name, model in tables(annotation).items():
            lines += [f"### `{name}`", "", told_of(model), ""]
            if rows := field_rows(model):
                lines += ["| field | type and default | meaning |", "|---|---|---|"]
                lines += [
                    "| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows
                ]
                lines.append("")
        near = referred(tables(annotation).values(), topic)
        lines += [f"See: {', '.join(f'[{one}](#{one})' for one in near)}", ""]
    return "\n".join(lines)
