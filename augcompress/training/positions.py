"""Times in a training: shares of it, or epochs."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator


def _position(value: Any) -> Any:
    if (_is_epochs(value) and value >= 0) or (isinstance(value, float) and 0 <= value < 1):
        return value
    raise ValueError(
        f"{value!r} is neither a number of epochs (an integer) nor a share of the training (a"
        " decimal number from 0 to below 1); give one of them"
    )


def _is_epochs(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


Position = Annotated[int | float, BeforeValidator(_position)]
"""A time in the training: a float is a share of it, below 1, an int a number of epochs."""

POSITIONS = ("warmup", "milestones", "every", "cycle")
"""The schedules' fields that are positions."""


def share(position: int | float, epochs: int) -> float:
    """A position as a share of a training of so many epochs."""
    return position / epochs if isinstance(position, int) else position


def in_shares(schedule: dict[str, Any], epochs: int) -> dict[str, Any]:
    """A schedule's settings as plain data, for a training of another length than `epochs`: its
    positions in epochs as shares.  Those that do not lie inside the training stay."""

    def turned(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [turned(item) for item in value]
        return value / epochs if _is_epochs(value) and 0 < value < epochs else value

    return {key: turned(value) if key in POSITIONS else value for key, value in schedule.items()}


def of_another_length(training: dict[str, Any], epochs: int, usual: int = 10) -> dict[str, Any]:
    """A training section as plain data, for so many epochs: positions in epochs become shares, and
    layers that have no time to thaw stay frozen.  `usual`: its epochs where it names none."""
    before = training.get("epochs", usual)
    if not _is_epochs(before) or before < 1:
        return training  # validation says what is wrong with it
    changed = {**training, "epochs": epochs}
    if isinstance(training.get("schedule"), dict):
        changed["schedule"] = in_shares(training["schedule"], before)
    freeze = training.get("freeze")
    if isinstance(freeze, dict) and _is_epochs(freeze.get("epochs", 1)):
        thawed = freeze.get("epochs", 1) + freeze.get("steps", 1)
        changed["freeze"] = freeze if thawed <= epochs else {"epochs": None}
    return changed


def in_words(position: int | float) -> str:
    """A position in words, for messages."""
    if isinstance(position, float):
        return f"{position} of the training"
    return f"{position} epoch" if position == 1 else f"{position} epochs"


def require_before_end(name: str, position: int | float, epochs: int) -> None:
    """Raises ValueError unless a position lies before the end of the training."""
    if share(position, epochs) >= 1:
        verb = "is" if position == 1 else "are"
        raise ValueError(
            f"{name}: {in_words(position)} {verb} not less than the {in_words(epochs)} of training;"
            " lower it"
        )


def require_after_warmup(
    name: str, position: int | float, warmup: int | float, epochs: int
) -> None:
    """Raises ValueError unless a position lies after the warm-up, where there is one."""
    if warmup and share(position, epochs) <= share(warmup, epochs):
        raise ValueError(
            f"{name}: the rate would drop after {in_words(position)}, in the warm-up of"
            f" {in_words(warmup)}; raise it or lower warmup"
        )
