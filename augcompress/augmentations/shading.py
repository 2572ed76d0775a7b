"""Shading: uneven light."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import PixelAugmentation
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.geometry import size_of
from augcompress.augmentations.pixel_draws import blockwise


def ramps(angle: Tensor, size: tuple[int, int]) -> Tensor:
    """`(N,H,W)` planes that rise in the direction `angle` `(N,)` (radians, from x towards y), from
    -1 in one corner or edge of the image to 1 in the one across."""
    across, down = angle.cos()[:, None, None], angle.sin()[:, None, None]
    y, x = (_positions(length, angle.device) for length in size)
    return (across * x + down * y[:, None]) / (across.abs() + down.abs())


def _positions(length: int, device: torch.device) -> Tensor:
    return (2 * torch.arange(length, device=device) - (length - 1)) / max(length - 1, 1)


def shade(images: Tensor, field: Tensor, strength: Tensor) -> Tensor:
    """Images times 1 + `strength` `(N,)` x `field` `(N,H,W)`."""
    gain = 1 + strength.view(-1, 1, 1) * field
    return (images * gain[:, None].to(images.dtype)).clamp_(0, 1)


class Shading(PixelAugmentation):
    """Light an image unevenly: brighter on one side, darker on the other, or in one wide wave.

    The gain's direction is drawn evenly from the circle.
    """

    label_safety: ClassVar[str] = "classes told apart by a gradient of brightness (relief)"
    neutral: ClassVar[Mapping[str, Any]] = {"strength": 0.0}

    kind: Literal["shading"] = "shading"
    strength: float = Field(0.3, ge=0, le=1)
    """The gain stays within 1 - s to 1 + s, s drawn evenly from 0 to this; 0 changes nothing."""
    pattern: Literal["linear", "wave"] = "linear"
    """How the gain runs along its direction: `linear`, or `wave`, a cosine of half a period to one
    and a half, drawn evenly, that starts anywhere."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        uniform = draws.uniform(4)
        angle, strength = 2 * math.pi * uniform[:, 0], self.strength * uniform[:, 1]
        draws.tell(radians=angle, strength=strength)
        return blockwise(self._shaded, images, angle, strength, *uniform[:, 2:].unbind(1))

    def _shaded(
        self, images: Tensor, angle: Tensor, strength: Tensor, periods: Tensor, start: Tensor
    ) -> Tensor:
        field = ramps(angle, size_of(images))
        if self.pattern == "wave":
            turns = (0.5 + periods)[:, None, None] * field / 2 + start[:, None, None]
            field = (2 * math.pi * turns).cos()
        return shade(images, field, strength)
