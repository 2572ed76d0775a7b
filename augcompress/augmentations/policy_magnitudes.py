"""Which operations each policy chooses from, and how strong they are: torchvision's tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from augcompress.augmentations.policy_operations import OPERATIONS, Plan


class Magnitudes(NamedTuple):
    """Evenly spaced strengths of one operation."""

    mildest: float = 0.0
    strongest: float = 0.0
    signed: bool = False
    """Is every second draw negative?"""
    unit: Literal["", "widths", "heights", "bits"] = ""
    """widths and heights: a share of the image's side.  bits: rounded to whole ones."""


def _signed(strongest: float, unit: Literal["", "widths", "heights"] = "") -> Magnitudes:
    return Magnitudes(0.0, strongest, True, unit)


def _space(
    shear: float, shifts: tuple[Magnitudes, Magnitudes], degrees: float, factor: float, bits: int
) -> dict[str, Magnitudes]:
    blends = dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), _signed(factor))
    return {
        "Identity": Magnitudes(),
        **dict.fromkeys(("ShearX", "ShearY"), _signed(shear)),
        "TranslateX": shifts[0],
        "TranslateY": shifts[1],
        "Rotate": _signed(degrees),
        **blends,
        "Posterize": Magnitudes(8, bits, unit="bits"),
        "Solarize": Magnitudes(1.0, 0.0),
        **dict.fromkeys(("AutoContrast", "Equalize", "Invert"), Magnitudes()),
    }


def _without(space: dict[str, Magnitudes], names: Iterable[str]) -> dict[str, Magnitudes]:
    return {name: space[name] for name in space if name not in names}


_PAPER = _space(
    0.3, (_signed(150 / 331, "widths"), _signed(150 / 331, "heights")), 30.0, 0.9, bits=4
)
_WIDE = _space(0.99, (_signed(32.0), _signed(32.0)), 135.0, 0.99, bits=2)
_THIRDS = _space(0.3, (_signed(1 / 3, "widths"), _signed(1 / 3, "heights")), 30.0, 0.9, bits=0)
_MIXED = {**_THIRDS, "Posterize": Magnitudes(4, 0, unit="bits")}

_SPACES: dict[str, dict[str, Magnitudes]] = {
    "rand_augment": _without(_PAPER, ["Invert"]),
    "trivial_augment": _without(_WIDE, ["Invert"]),
    "auto_augment": _without(_PAPER, ["Identity"]),
    "augmix": _without(_MIXED, ["Identity", "Invert"]),
    "augmix_partial": _without(
        _MIXED, ["Identity", "Invert", "Brightness", "Color", "Contrast", "Sharpness"]
    ),
}


def operations(kind: str) -> dict[str, Magnitudes]:
    """The operations that a policy chooses from, with their strengths, by name.

    `kind` is a recipe's, or "augmix_partial" for `augmix` with `all_ops: false`.
    """
    return dict(_SPACES[kind])


@dataclass(frozen=True)
class Table:
    """A policy's operations as tensors, for images of one size."""

    operation: Tensor
    """`(K,)` places in `OPERATIONS`."""
    signed: Tensor
    """`(K,)` bool."""
    magnitude: Tensor
    """`(K, levels)`, mildest first."""


def spaced(magnitudes: Magnitudes, levels: int, size: tuple[int, int]) -> Tensor:
    """`(levels,)` strengths for images of `size` (height, width), mildest first."""
    mildest, strongest = magnitudes.mildest, magnitudes.strongest
    if magnitudes.unit == "bits":
        share = torch.arange(levels) / (levels - 1)
        return (mildest + (strongest - mildest) * share).round()
    side = {"heights": size[0], "widths": size[1]}.get(magnitudes.unit, 1)
    return torch.linspace(mildest * side, strongest * side, levels)


@lru_cache(maxsize=256)
def table(kind: str, levels: int, size: tuple[int, int], device: torch.device) -> Table:
    """The table of one policy; the same object for the same words, so not to be written to."""
    space = _SPACES[kind]
    rows = [spaced(magnitudes, levels, size) for magnitudes in space.values()]
    return Table(
        torch.tensor([OPERATIONS.index(name) for name in space], device=device),
        torch.tensor([magnitudes.signed for magnitudes in space.values()], device=device),
        torch.stack(rows).to(device),
    )


def whole_number(uniform: Tensor, count: int) -> Tensor:
    """Even draws from 0..count-1, int64, from uniforms in [0,1)."""
    return (uniform * count).long()


def plan_of(own: Table, choice: Tensor, level: Tensor, sign: Tensor) -> Plan:
    """The plan of choosing `choice` `(N, columns)` among the table's operations, at `level`; where
    the operation is signed and `sign`, uniform, is below 1/2, in the other direction."""
    magnitude = own.magnitude[choice, level]
    negative = own.signed[choice] & (sign < 0.5)
    return Plan(own.operation[choice], torch.where(negative, -magnitude, magnitude))
