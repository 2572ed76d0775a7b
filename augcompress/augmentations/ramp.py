"""Ramps: strengths that grow or fall while training goes on (curriculum)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import Field, model_validator

from augcompress.component import Component, Section

Settings = TypeVar("Settings", bound=Component)


class Ramp(Section):
    """How strong an augmentation is while training goes on: a straight line from one share of its
    set strengths to another (a curriculum, Bengio et al. 2009, doi:10.1145/1553374.1553380).

    It moves at the beginning of an epoch, never inside one: what a sample draws still depends on
    seed, epoch and index alone.  Where nothing is trained (contact sheet, copies, evaluation), the
    ramp is at its end.
    """

    start: float = Field(0.0, ge=0, le=1)
    """Share of the epochs after which the strength begins to move."""
    end: float = Field(0.5, ge=0, le=1)
    """Share of the epochs after which it has arrived."""
    first: float = Field(0.0, ge=0, le=1)
    """Share of the set strength until `start`; 0 has no effect at all."""
    last: float = Field(1.0, ge=0, le=1)
    """Share of the set strength from `end` on; below `first`, the augmentation fades out."""
    only: tuple[str, ...] | None = Field(None, min_length=1)
    """Strengths that move, by the names of their fields; None: all that the kind has, and where it
    names none, its probability."""

    @model_validator(mode="after")
    def start_comes_before_end(self) -> Ramp:
        """Time does not run backwards."""
        if self.start > self.end:
            raise ValueError(f"start {self.start} comes after end {self.end}; swap them")
        return self

    def level(self, epochs_done: float) -> float:
        """Share of the set strength when this share of the epochs is finished."""
        if epochs_done >= self.end:
            return self.last
        done = max(0.0, epochs_done - self.start) / (self.end - self.start or 1.0)
        return self.first + (self.last - self.first) * done


def along(neutral: Any, value: Any, level: float) -> Any:
    """A strength at a level: `neutral` at 0, `value` at 1; whole numbers are rounded, ranges move
    with both ends, and what is no number stays as it is."""
    if isinstance(value, tuple):
        pairs = zip(neutral, value, strict=True)
        return tuple(along(zero, full, level) for zero, full in pairs)
    if level == 1 or isinstance(value, bool) or not isinstance(value, int | float):
        return value
    moved = neutral + (value - neutral) * level
    return round(moved) if isinstance(value, int) else moved


def at_level(settings: Settings, neutral: Mapping[str, Any], level: float) -> Settings:
    """The settings with the strengths that `neutral` names taken back to a level; a copy, which is
    not validated again, as it lies between two settings that are valid."""
    moved = {name: along(zero, getattr(settings, name), level) for name, zero in neutral.items()}
    return settings.model_copy(update=moved)
