"""From a recipe's raw data to settings, or to a sentence about what is wrong with them."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from augcompress.component import Section
from augcompress.errors import UsageError
from augcompress.evidence import Limit
from augcompress.raw.explaining import problem_lines
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
        return model.model_validate(raw, context={"base": base})
    except ValidationError as error:
        lines = problem_lines(error.errors(), raw, model)
        more = f" (and {len(lines) - 3} more)" if len(lines) > 3 else ""
        raise UsageError(" | ".join(lines[:3]) + more) from error
    except ValueError as error:
        raise UsageError(f"recipe: {error}; mend it") from error


def limits_of(raw: dict[str, Any]) -> tuple[Limit, ...]:
    """The limits of a recipe, and nothing else of it.

    Raises UsageError naming the field.
    """
    told = {name: value for name, value in raw.items() if name == "limits"}
    return validated(Promises, told).limits
