"""Shift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import (
    AugmentationFacts,
    Fill,
    GeometricAugmentation,
    GeometricWorker,
    filling_of,
)
from augcompress.augmentations.draws import Draws, between
from augcompress.augmentations.matrices import translations


class Translate(GeometricAugmentation):
    """Shift along x and y (Simard et al. 2003, doi:10.1109/ICDAR.2003.1227801), bilinear, not
    rounded to whole pixels; `random_crop` shifts by whole ones."""

    label_safety: ClassVar[str] = "images whose deciding detail touches the edge and may leave"
    neutral: ClassVar[Mapping[str, Any]] = {"fraction": 0.0}

    kind: Literal["translate"] = "translate"
    fraction: float = Field(0.1, ge=0, le=1)
    """The shift, each way drawn evenly from -fraction to fraction of the image's width and of its
    height."""
    fill: Fill = 0.0
    """What comes in from outside: a value in [0,1], "mean", "nearest", "reflect" or "noise"."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        share = between((-self.fraction, self.fraction), draws.uniform(2))
        shift = share * torch.tensor([size[1], size[0]], device=share.device)
        draws.tell(right=shift[:, 0], down=shift[:, 1])
        return translations(-shift)

    def build(self, facts: AugmentationFacts) -> GeometricWorker:
        return GeometricWorker(self.transforms, self.probability, filling_of(self.fill, facts))
