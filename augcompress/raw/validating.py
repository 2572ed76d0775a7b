"""From a recipe's raw data to settings, or to a sentence about what is wrong with them."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from augcompress.component import Section
from augcompress.errors import UsageError
from augcompress.evidence import Limit, unknown_measure
from augcompress.raw.explaining import problem_lines
from augcompress.raw.overriding import no_item
from augcompress.raw.standing import default_component, default_list
from augcompress.untrusted import check_depth

Settings = TypeVar("Settings", bound=Section)


class Promises(Section):
    """Of a recipe, what is judged when it has been run."""

    limits: tuple[Limit, ...] = ()


def validated(model: type[Settings], raw: dict[str, Any], base: str | None = None) -> Settings:
    """Settings from plain data; relative paths start at `base`.

    Raises UsageError naming the field.
    """
    try:
        check_depth(raw)
        raw = with_usual_lists(raw, model)
        return model.model_validate(raw, context={"base": base})
    except ValidationError as error:
        lines = problem_lines(error.errors(), raw, model)
        more = f" (and {len(lines) - 3} more)" if len(lines) > 3 else ""
        raise UsageError(" | ".join(lines[:3]) + more) from error
    except ValueError as error:
        cure = "" if "; " in str(error) else "; mend it"
        raise UsageError(f"recipe: {error}{cure}") from error


def with_usual_lists(raw: dict[str, Any], model: type[Section]) -> dict[str, Any]:
    """`{objectives: {"0": {weight: 1}}}`, as an override of what a recipe leaves as usual has it,
    with the usual list and its first item so changed; and `{optimizer: {lr: 1}}`, which names no
    kind, with the usual one.

    Raises UsageError naming an item that the list does not have.
    """

    def filled(value: Any, place: tuple[Any, ...]) -> Any:
        if isinstance(value, list):
            return [filled(one, (*place, at)) for at, one in enumerate(value)]
        if not isinstance(value, dict):
            return value
        numbered = bool(value) and all(str(key).isdecimal() for key in value)
        usual = default_list(place, raw, model) if numbered and place else []
        if not usual:
            if place and "kind" not in value:
                value = {**default_component(place, raw, model), **value}
            return {key: filled(one, (*place, key)) for key, one in value.items()}
        for key, one in value.items():
            if len(str(key)) > 9 or int(key) >= len(usual):
                where = ".".join(map(str, (*place, key)))
                raise UsageError(f"{where}: {no_item(len(usual))}")
            usual[int(key)] = _merged(usual[int(key)], one)
        return usual

    return filled(raw, ())


def _merged(usual: Any, given: Any) -> Any:
    """What is usual, with what is given in its place."""
    if not isinstance(usual, dict) or not isinstance(given, dict):
        return given
    return {**usual, **{key: _merged(usual.get(key), one) for key, one in given.items()}}


def limits_of(raw: dict[str, Any]) -> tuple[Limit, ...]:
    """The limits of a recipe, and nothing else of it.

    Raises UsageError naming the field.
    """
    told = {name: value for name, value in raw.items() if name == "limits"}
    limits = validated(Promises, told).limits
    for place, limit in enumerate(limits):
        if (wrong := unknown_measure(limit.measure)) and not _has_plugin_steps(raw):
            raise UsageError(f"limits.{place}.measure: {wrong}")
    return limits


def _has_plugin_steps(raw: dict[str, Any]) -> bool:
    """May a step measure what nobody else does?"""
    sections = [raw.get(name) for name in ("prune", "quantize")]
    steps = [one.get("steps") for one in sections if isinstance(one, dict)]
    each = [step for listed in steps if isinstance(listed, list) for step in listed]
    return any(isinstance(step, dict) and step.get("kind") == "plugin" for step in each)
