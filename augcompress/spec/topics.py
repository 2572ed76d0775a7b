"""What `explain` answers: topics, kinds, and where in a recipe a field of a name stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from augcompress.augmentations import FAMILIES
from augcompress.errors import UsageError
from augcompress.spec.reference import (
    FEW,
    TOPICS,
    Rows,
    field_row,
    field_rows,
    kind_of,
    members,
    nested,
    referred,
    sections,
    summary_of,
    tables,
    told_of,
    topic_of,
)
from augcompress.spec.tree import Spec
from augcompress.wording import nearest

FIELDS = ("field", "type and default", "meaning")
MOST = 4
"""Commands named as the next."""

Model = type[BaseModel]


@dataclass(frozen=True)
class Answer:
    """One titled table of what `explain` says, or a paragraph for each of its `lines`."""

    title: str
    columns: Sequence[str] = ()
    rows: Rows | None = None
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class Place:
    """A section or component that may stand somewhere in a recipe."""

    path: tuple[str, ...]
    """The keys that lead there; N is a number in a list."""
    model: Model


@cache
def every_place() -> tuple[Place, ...]:
    """All sections and components of a recipe, the whole first."""
    return tuple(_below(Place((), Spec)))


def explain(*words: str) -> tuple[list[Answer], str]:
    """The tables about a topic, a kind or a field, and where to look next.

    Raises UsageError naming what is nearest.
    """
    parts = [part.replace("-", "_") for word in words for part in word.split(".") if part]
    if not parts:
        return [_topics()], _see("distill", "augmentations mixup", "temperature")
    start = _started(parts[0])
    if start is None or (len(parts) == 1 and parts[0] not in known_topics()):
        return (
            _named(parts[0], every_place(), words) if len(parts) == 1 else _wrong(parts[0], words)
        )
    topic, here = start
    if len(parts) == 1:
        return _topic(topic)
    return _inside(topic, here, parts[1:], words)


def known_topics() -> dict[str, Any]:
    """What is explained by its name: the recipe's sections, and lists of components."""
    return {**sections(), **TOPICS}


def _below(place: Place) -> Iterator[Place]:
    yield place
    for name, field in place.model.model_fields.items():
        for many, inner in nested(field.annotation):
            yield from _below(Place((*place.path, name, *(("N",) if many else ())), inner))


def _topics() -> Answer:
    rows = []
    for name, annotation in known_topics().items():
        kinds = members(annotation)
        told = ", ".join(_families(kinds) if len(kinds) > FEW else map(kind_of, kinds))
        rows.append([name, summary_of(kinds[0]) if not _has_kind(kinds[0]) else told])
    return Answer("topics", ("topic", "what it is"), rows)


def _topic(name: str) -> tuple[list[Answer], str]:
    annotation = known_topics()[name]
    kinds = members(annotation)
    if not _has_kind(kinds[0]):
        first, *inner = tables(annotation).items()
        answers = [_whole(path, model) for path, model in ((name, first[1]), *inner)]
        return answers, _see(*referred(tables(annotation).values(), name)[:MOST])
    stands = ", ".join(_joined(_paths(place for place in every_place() if place.model is kinds[0])))
    return [_overview(f"{name}, in a recipe at {stands}", kinds)], _see(
        f"{name} {kind_of(kinds[0])}"
    )


def _whole(title: str, model: Model) -> Answer:
    return Answer(f"{title}: {told_of(model)}", FIELDS, field_rows(model))


def _overview(title: str, kinds: Sequence[Model]) -> Answer:
    """A line each; of many kinds, a line each family."""
    if len(kinds) <= FEW:
        rows = [[kind_of(model), summary_of(model)] for model in kinds]
        return Answer(title, ("kind", "what it does"), rows)
    return Answer(
        title, ("family", "kinds"), [[f, ", ".join(k)] for f, k in _families(kinds).items()]
    )


def _families(kinds: Iterable[Model]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for model in kinds:
        module = model.__module__.rpartition(".")[2]
        found.setdefault(FAMILIES.get(module, module), []).append(kind_of(model))
    return found


def _started(name: str) -> tuple[str, list[Place]] | None:
    """The topic of a name, or of a kind of that name, and what may stand there."""
    annotation = known_topics().get(name) or (
        Spec.model_fields[name].annotation if name in Spec.model_fields else None
    )
    if own := members(annotation):
        top = [p for p in every_place() if p.path in ((name,), (name, "N")) and p.model in own]
        return name, top or [place for place in every_place() if place.model in own]
    found = [place for place in every_place() if _is_kind(place.model, name)]
    return (str(topic_of(found[0].model)), found) if found else None


def _inside(
    topic: str, here: list[Place], parts: Sequence[str], words: Sequence[str]
) -> tuple[list[Answer], str]:
    """Follow fields, kinds and numbers from a topic down to what is asked for."""
    asked: tuple[list[Place], str] | None = None
    for at, part in enumerate(parts):
        kinds = [place for place in here if _is_kind(place.model, part)]
        owners = [place for place in here if part in place.model.model_fields]
        if part == "N" or part.isdecimal():
            continue
        if kinds and owners and at == len(parts) - 1:
            return _named(part, here, words)
        if kinds:
            here, asked = kinds, None
        elif owners:
            asked = owners, part
            here = [place for owner in owners for place in _children(owner, part)]
        elif at == len(parts) - 1:
            return _named(part, [inner for one in here for inner in _below(one)], words)
        else:
            _wrong(part, words, here)
    return _shown(topic, here, asked)


def _children(owner: Place, field: str) -> list[Place]:
    found = nested(owner.model.model_fields[field].annotation)
    return [Place((*owner.path, field, *(("N",) if m else ())), model) for m, model in found]


def _shown(
    topic: str, here: list[Place], asked: tuple[list[Place], str] | None
) -> tuple[list[Answer], str]:
    answers = [] if asked is None else [_places_of(asked[1], asked[0])]
    models = list(dict.fromkeys(place.model for place in here))
    if len(models) > 1:
        answers.append(_overview("what may stand there", models))
    answers += [_whole(kind_of(model), model) for model in models if len(models) == 1]
    owners = [place.model for place in asked[0]] if asked is not None and not models else []
    near = [_command(model) for model in owners]
    near += [name for model in models if (name := topic_of(model)) is not None]
    return answers, _see(*list(dict.fromkeys(near or [topic]))[:MOST])


def _named(name: str, scope: Iterable[Place], words: Sequence[str]) -> tuple[list[Answer], str]:
    """The kinds of a name, and all places that have a field of it."""
    scope = list(scope)
    kinds = list(dict.fromkeys(p.model for p in scope if _is_kind(p.model, name)))
    owners = [place for place in scope if name in place.model.model_fields and name != "kind"]
    if not kinds and not owners:
        return _wrong(name, words, scope)
    answers = [_whole(name, model) for model in kinds]
    answers += [_places_of(name, owners)] if owners else []
    near = dict.fromkeys([*map(str, map(topic_of, kinds)), *(_command(p.model) for p in owners)])
    return answers, _see(*list(near)[:MOST])


def _has_kind(model: Model) -> bool:
    return "kind" in model.model_fields


def _is_kind(model: Model, name: str) -> bool:
    return _has_kind(model) and kind_of(model) == name


def _command(model: Model) -> str:
    """What `explain` is asked for all that a class has."""
    topic = topic_of(model)
    if topic is None:
        (path, *_) = (place.path for place in every_place() if place.model is model)
        return ".".join(part for part in path if part != "N")
    return f"{topic} {kind_of(model)}" if _has_kind(model) else topic


def _places_of(name: str, owners: Sequence[Place]) -> Answer:
    """Every place that has the field, and what it is there; kinds that say the same together."""
    alike: dict[tuple[str, str], list[Place]] = {}
    for owner in owners:
        _, kind, meaning = field_row(owner.model, name)
        alike.setdefault((kind, meaning), []).append(owner)
    told: dict[str, list[str]] = {}
    for (kind, meaning), each in alike.items():
        paths = ", ".join(_joined(f"{path}.{name}" if path else name for path in _paths(each)))
        kinds = dict.fromkeys(kind_of(p.model) for p in each if _has_kind(p.model))
        of = ", ".join(kinds) if len(kinds) <= FEW else f"{len(kinds)} kinds"
        told.setdefault(paths, []).append(f"  {f'of {of}: ' if of else ''}{kind}. {meaning}")
    return Answer(name, lines=[line for paths, each in told.items() for line in (paths, *each)])


def _paths(found: Iterable[Place]) -> list[str]:
    return list(dict.fromkeys(".".join(place.path) for place in found))


def _joined(paths: Iterable[str]) -> list[str]:
    """Paths that differ in the section alone, as one: `*.training.epochs`."""
    ends: dict[str, list[str]] = {}
    for path in paths:
        first, dot, rest = path.partition(".")
        ends.setdefault(rest if dot else f"={first}", []).append(path)
    return [each[0] if len(each) == 1 else f"*.{end}" for end, each in ends.items()]


def _see(*commands: str) -> str:
    return f"see: augcompress explain {' | '.join(commands)}"


def _wrong(name: str, words: Sequence[str], scope: Iterable[Place] = ()) -> Any:
    inside = list(scope)
    models = dict.fromkeys(place.model for place in inside or every_place())
    kinds = [kind_of(model) for model in models if _has_kind(model)]
    known = [*kinds, *(f for model in models for f in model.model_fields if f != "kind")]
    hint = nearest(name, dict.fromkeys([*([] if inside else known_topics()), *known]))
    said = hint if "did you mean" in hint else "; see: augcompress explain"
    raise UsageError(f"explain {' '.join(words)}: nothing here is called {name}{said}")
