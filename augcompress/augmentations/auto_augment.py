"""AutoAugment: published policies, or one from a file."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import (
    AfterValidator,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from torch import Tensor

from augcompress.augmentations.auto_augment_policies import POLICIES, SubPolicies
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.policy import PolicyAugmentation
from augcompress.augmentations.policy_magnitudes import operations, plan_of, table, whole_number
from augcompress.augmentations.policy_operations import Plan
from augcompress.component import expand_path, start_of
from augcompress.untrusted import load_yaml
from augcompress.wording import wrong_value

_LEVELS = 10
_SUFFIXES = (".yaml", ".yml", ".json")
_NAMES = tuple(operations("auto_augment"))


class PolicyStep(NamedTuple):
    """One operation of a sub-policy; in a recipe, `[ShearX, 0.9, 4]`."""

    operation: str
    """An operation's name, as torchvision spells it."""
    probability: Annotated[float, Field(ge=0, le=1)]
    """Share of the samples that it is applied to."""
    level: Annotated[int, Field(ge=0, lt=_LEVELS)] | None = None
    """Strength from 0 to 9; None, or without effect, where the operation has none."""


def _a_known_step(step: PolicyStep) -> PolicyStep:
    if step.operation not in _NAMES:
        raise ValueError(f"unknown operation {step.operation!r}; known: {', '.join(_NAMES)}")
    space = operations("auto_augment")[step.operation]
    if step.level is None and space.mildest != space.strongest:
        raise ValueError(f"{step.operation} has no level; give one from 0 to {_LEVELS - 1}")
    return step


SubPolicy = Annotated[
    tuple[Annotated[PolicyStep, AfterValidator(_a_known_step)], ...], Field(min_length=1)
]
_LIST: TypeAdapter[tuple[tuple[PolicyStep, ...], ...]] = TypeAdapter(
    Annotated[tuple[SubPolicy, ...], Field(min_length=1)]
)


def checked_policy(value: Any) -> tuple[tuple[PolicyStep, ...], ...]:
    """A list of sub-policies, each a list of steps.

    Raises ValueError naming the place of what is wrong, counted from 1.
    """
    if not isinstance(value, list | tuple):
        raise ValueError(
            "is no list of sub-policies; write one, such as [[[ShearX, 0.9, 4], [Invert, 0.2]]]"
        )
    try:
        return _LIST.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        numbers = [part + 1 for part in first["loc"] if isinstance(part, int)]
        parts = [f"{n} {i}" for n, i in zip(("sub-policy", "step"), numbers, strict=False)]
        message = wrong_value(first)
        raise ValueError(": ".join([", ".join(parts), message] if parts else [message])) from None


def read_policy(path: str) -> tuple[tuple[PolicyStep, ...], ...]:
    """The sub-policies in a YAML or JSON file.

    Raises ValueError when it cannot be read or holds something else.
    """
    try:
        return checked_policy(load_yaml(path)[0])
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


class AutoAugment(PolicyAugmentation):
    """One of a list of sub-policies, drawn evenly; each of its operations comes with a probability
    and a strength that a search found (Cubuk et al. 2019, arXiv:1805.09501).

    Sub-policies and strengths are torchvision's `AutoAugment`, with its values on float images;
    every sample draws its own.  On images that are not RGB, Color does nothing and all else works
    as on RGB.
    """

    label_safety: ClassVar[str] = (
        "data unlike that which the policy was found on; classes told apart by colour, angle or"
        " place"
    )

    kind: Literal["auto_augment"] = "auto_augment"
    policy: str | tuple[SubPolicy, ...] = "imagenet"
    """cifar10, imagenet or svhn; or a list of sub-policies, each such as [[ShearX, 0.9, 4],
    [Invert, 0.2]]: operation, probability, level from 0 to 9 where it has one; or a .yaml file with
    such a list, which is read when the recipe is."""

    @field_validator("policy", mode="before")
    @classmethod
    def a_file_is_read(cls, value: Any, info: ValidationInfo) -> Any:
        """Its content becomes the setting, and with that part of the stage's key."""
        if not isinstance(value, str):
            return checked_policy(value)
        if value in POLICIES:
            return value
        if not value.endswith(_SUFFIXES):
            known = ", ".join(POLICIES)
            raise ValueError(f"unknown policy {value!r}; known: {known}, or a .yaml file with one")
        return read_policy(expand_path(value, start_of(value, info)))

    @property
    def sub_policies(self) -> SubPolicies:
        """What `policy` stands for."""
        return POLICIES[self.policy] if isinstance(self.policy, str) else self.policy

    def plan(self, draws: Draws, size: tuple[int, int]) -> Plan:
        own = table(self.kind, _LEVELS, size, draws.device)
        steps = [part.to(draws.device) for part in step_table(self.sub_policies)]
        columns = steps[0].shape[1]
        uniform = draws.uniform(1 + 2 * columns)
        which = whole_number(uniform[:, 0], len(steps[0]))
        happens, sign = uniform[:, 1:].split(columns, dim=1)
        operation, level, probability = (part[which] for part in steps)
        return plan_of(own, operation, level, sign).where(happens < probability)


@lru_cache(maxsize=16)
def step_table(sub_policies: SubPolicies) -> tuple[Tensor, Tensor, Tensor]:
    """Places among the operations, levels and probabilities, each `(sub-policies, steps)`; shorter
    sub-policies are filled up with steps of probability 0."""
    longest = max(len(steps) for steps in sub_policies)
    nothing = (_NAMES[0], 0.0, 0)
    rows = [[*steps, *[nothing] * (longest - len(steps))] for steps in sub_policies]
    return (
        torch.tensor([[_NAMES.index(name) for name, _, _ in row] for row in rows]),
        torch.tensor([[level or 0 for _, _, level in row] for row in rows]),
        torch.tensor([[probability for _, probability, _ in row] for row in rows]),
    )
