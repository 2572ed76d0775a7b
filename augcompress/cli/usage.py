"""What is wrong with a command line, in one line like every other mistake."""

from __future__ import annotations

import contextlib
import re
from typing import Any

from augcompress.errors import UsageError
from augcompress.wording import alike, unknown_name, wrong_value


def usage_error(error: Any) -> UsageError | None:
    """Typer's error in our words: `--epochs: 0 is too small; give at least 1`.  None where it is
    none, but help for a command that cannot stand alone."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return None
    command = error.ctx.command_path.partition(" ")[2] if error.ctx else ""
    if (param := getattr(error, "param", None)) is not None:
        named = next((name for name in param.opts if name.startswith("--")), param.name.upper())
        missing = type(error).__name__ == "MissingParameter"
        told = "is missing" if missing else _of_value(error)
        told = f"{command}: {named} {told}" if missing else f"{named}: {told}"
    else:
        told = f"{command}: {_of_words(error)}" if command else _of_words(error)
    help_line = " ".join(("augcompress", *command.split(), "--help"))
    return UsageError(told if "; " in told else f"{told}; see: {help_line}")


def _of_value(error: Any) -> str:
    """What is wrong with an option's value."""
    if error.__cause__ is None or not hasattr(error.__cause__, "errors"):
        return str(error.message).rstrip(".")
    problem = error.__cause__.errors()[0]
    names = re.findall(r"'([^']*)'", problem["msg"])
    if " is not one of " in problem["msg"]:
        return unknown_name(names[0], names[1:])
    return wrong_value({**problem, "input": _number(problem["input"])})


def _number(text: Any) -> Any:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _of_words(error: Any) -> str:
    """What is wrong with a word of the command line: an option or command that there is not."""
    if hasattr(error, "possibilities"):
        known = [one for param in error.ctx.command.params for one in param.opts]
        near = alike(error.option_name, [one for one in known if one.startswith("--")])
        cure = f"; did you mean {near[0]}?" if near else ""
        return f"there is no option {error.option_name}{cure}"
    told = error.format_message().rstrip(".")
    told = re.sub(r"\. Did you mean '?([^?']*)'?", r"; did you mean \1", told)
    return f"{told[:1].lower()}{told[1:]}"
