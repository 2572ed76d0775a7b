"""What is wrong with a recipe, in one line that names the field."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from augcompress.raw.meant import meant_by
from augcompress.raw.standing import Place, chosen_model, kind_of_model, models_at, value_at
from augcompress.wording import MOST_LISTED, alike, as_given, nearest, wanted, wrong_value


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
        return f"{where}: is missing; {_added(place, raw, root)}"
    if kind == "value_error":
        return (
            _joined(where, str(context["error"]), models_at(place, raw, root))
            if place
            else str(context["error"])
        )
    told = _of_another_kind(first, models_at(place, raw, root), given)
    if told is not None:
        return f"{where}{told}"
    allowed = list(dict.fromkeys(map(wanted, problems)))
    if len(allowed) > 1:
        return f"{where}: {as_given(given)} does not fit; give {' or '.join(allowed)}"
    return f"{where}: {wrong_value(first, _unit(place, raw))}"


def _joined(where: str, told: str, models: Sequence[type[BaseModel]]) -> str:
    """`training.accumulation: …` of what `training` says of its own field."""
    fields = {name for model in models for name in model.model_fields}
    own = re.match(r"(\w+)[.\w]*: ", told)
    return f"{where}.{told}" if own is not None and own[1] in fields else f"{where}: {told}"


def _unit(place: Place, raw: dict[str, Any]) -> str:
    """What a number is wanted in, by the end of a field's name or of a limit's measure."""
    beside = value_at(place[:-1], raw)
    measure = beside.get("measure") if isinstance(beside, dict) else None
    ending = str(measure or place[-1]).rpartition("_")[2]
    return ending if ending in ("bytes", "mb", "ms", "seconds") else ""


def _added(place: Place, raw: dict[str, Any], root: type[BaseModel]) -> str:
    """What to do about a field that is missing: `add version: 1`."""
    owner = chosen_model(models_at(place[:-1], raw, root), value_at(place[:-1], raw))
    name = str(place[-1])
    field = owner.model_fields.get(name) if owner is not None else None
    choices = typing.get_args(field.annotation) if field is not None else ()
    kinds = [kind for kind in map(kind_of_model, models_at(place, raw, root)) if kind is not None]
    if len(choices) == 1 and isinstance(choices[0], str | int):
        return f"add {name}: {choices[0]}"
    return f"add {name}: {{kind: ...}} of {', '.join(kinds)}" if kinds else "add it"


def _of_another_kind(problem: Any, models: Sequence[type[BaseModel]], given: Any) -> str | None:
    """What is wrong where a section or component should stand; None where something else should."""
    if not problem["type"].startswith(("union_tag", "model_", "dataclass", "dict_type")):
        return None
    kinds = [kind for kind in map(kind_of_model, models) if kind is not None]
    told = given.get("kind") if isinstance(given, dict) else None
    if kinds and told is not None and told not in kinds:
        meant = _called(str(told), models)
        cure = f"; did you mean {meant}?" if meant else _nearest_kind(str(told), models, kinds)
        return f".kind: unknown {repr(told)[:60]}{cure}"
    if kinds and isinstance(given, dict):
        fitting = [
            k for m, k in zip(models, kinds, strict=True) if given.keys() <= m.model_fields.keys()
        ]
        return f": has no kind; add kind: {' or '.join((fitting or kinds)[:MOST_LISTED])}"
    if kinds:
        meant = _called(str(given), models) or " or ".join(
            f"{{kind: {kind}}}" for kind in alike(str(given), kinds)
        )
        cure = meant or _any_of(kinds, models)
        return f": {as_given(given)} is no mapping with a kind; write {cure}"
    if models:
        fields = ", ".join(models[0].model_fields)
        return f": {as_given(given)} is no mapping; write {{field: value}} of {fields}"
    return None


def _any_of(kinds: Sequence[str], models: Sequence[type[BaseModel]]) -> str:
    listed = len(kinds) <= MOST_LISTED
    told = f"of {', '.join(kinds)}" if listed else f"as in: {_explained(models)}"
    return f"{{kind: ...}} {told}"


def _nearest_kind(told: str, models: Sequence[type[BaseModel]], kinds: Sequence[str]) -> str:
    """`; did you mean …?`, or where all kinds are told of."""
    if len(kinds) > MOST_LISTED and not alike(told, kinds):
        return f"; see: {_explained(models)}"
    return nearest(told, kinds, listed=True)


def _explained(models: Sequence[type[BaseModel]]) -> str:
    return f"augcompress explain {models[0].__module__.split('.')[1]}"


def _called(name: str, models: Sequence[type[BaseModel]]) -> str:
    """How a network is written whose name is known to one of the kinds that have names; empty where
    it is known to none."""

    def takes(model: type[BaseModel], name: str) -> bool:
        try:
            model.model_validate({"kind": kind_of_model(model), "name": name})
        except ValueError:
            return False
        return True

    named = (model for model in models if "name" in model.model_fields)
    knowing = (
        kind_of_model(one) for one in named if takes(one, name) and not takes(one, f"{name}?")
    )
    return next((f"{{kind: {kind}, name: {name}}}" for kind in knowing), "")


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
