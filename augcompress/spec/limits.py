"""Limits: the promises that a run must keep."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from augcompress.component import Section
from augcompress.evidence import COMPARING, GOALS


class Limit(Section):
    """A promise; a run that breaks it ends with exit code 3."""

    measure: str
    """Measurement's name: top1, recall, ece, size_bytes, latency_ms, speedup, macs, agreement, …"""
    label: str | None = None
    """For measures that have several numbers, which: the class (recall), or the kind of change
    (robust_top1); None holds all to it."""
    baseline: Literal["teacher", "previous", "float", "reference"] | None = None
    """What the measure is compared with; `reference` is the run that `check --reference` names;
    None takes the value as it is."""
    split: Literal["validation", "test"] | None = None
    """Images it was measured on; None takes test where there are such."""
    at_least: float | None = None
    """Smallest value allowed."""
    at_most: float | None = None
    """Largest value allowed."""
    at_most_worse: float | None = None
    """Largest loss against the baseline (a fraction for accuracies)."""
    at_least_better: float | None = None
    """Smallest gain over the baseline, in the measure's unit."""
    times_better: float | None = Field(None, gt=0)
    """Smallest ratio to the baseline: 4 is four times smaller, faster, or four times the value."""
    relative: bool = False
    """Losses and gains as a share of the baseline's value: 0.1 is a tenth of it."""
    bound: Literal["value", "interval"] = "value"
    """Judge the value, or the unfavourable end of its interval."""

    @model_validator(mode="after")
    def exactly_one_goal(self) -> Limit:
        """One sentence a limit."""
        given = [goal for goal in GOALS if getattr(self, goal) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(GOALS)}")
        if given[0] in COMPARING and self.baseline is None:
            raise ValueError(f"{given[0]} needs a baseline: teacher, previous, float or reference")
        if self.relative and given[0] not in ("at_most_worse", "at_least_better"):
            raise ValueError("relative belongs to at_most_worse and at_least_better")
        return self

    @property
    def goal(self) -> str:
        """Which of the goals is given."""
        return next(goal for goal in GOALS if getattr(self, goal) is not None)

    @property
    def wanted(self) -> float:
        """The goal's number."""
        return getattr(self, self.goal)
