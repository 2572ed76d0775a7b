"""Which pixels are covered, and with what: boxes that may hang over the edge, and colours."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import AugmentationFacts

Value = Annotated[float, Field(ge=0, le=1)] | Literal["mean"]
"""What is written over pixels: a grey value, or the training set's mean colour."""


def colour_of(value: Value, facts: AugmentationFacts) -> tuple[float, ...]:
    """The recipe's `value` for this data, per channel."""
    if isinstance(value, str):
        return tuple(float(mean) for mean in facts.mean)
    return (float(value),) * facts.channels


def overwrite(images: Tensor, where: Tensor, colour: tuple[float, ...]) -> Tensor:
    """The images with `colour` in the pixels `where` `(N,1,H,W)`."""
    return torch.where(where, images.new_tensor(colour).view(1, -1, 1, 1), images)


def places(uniform: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels `(N,2)` = (row, column), every one equally likely; `uniform` `(N,2)`."""
    return (uniform * uniform.new_tensor(size)).floor()


def box_masks(start: Tensor, stop: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks `(N,1,H,W)`, true from `start` up to but not at `stop`, both `(N,2)` = (row, column),
    which may lie outside."""
    rows, columns = (
        _spans(start[:, axis, None], stop[:, axis, None], length)
        for axis, length in enumerate(size)
    )
    return (rows[:, :, None] & columns[:, None])[:, None]


def _spans(start: Tensor, stop: Tensor, length: int) -> Tensor:
    place = torch.arange(length, device=start.device)
    return (place >= start) & (place < stop)  # (N, length)
