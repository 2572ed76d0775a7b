"""Zoom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from augcompress.augmentations.affine import ZoomRange
from augcompress.augmentations.base import (
    AugmentationFacts,
    Fill,
    GeometricAugmentation,
    GeometricWorker,
    filling_of,
)
from augcompress.augmentations.draws import Draws, between
from augcompress.augmentations.matrices import zooms


class Scale(GeometricAugmentation):
    """Enlarge or shrink the picture about the centre (Simonyan & Zisserman 2014, arXiv:1409.1556,
    section 3.1, call it scale jittering); the image's size is kept.

    Bilinear, without a low-pass filter: far below 1 fine patterns alias.
    """

    label_safety: ClassVar[str] = "classes that differ by size (coins, cells)"
    neutral: ClassVar[Mapping[str, Any]] = {"zoom": (1.0, 1.0)}

    kind: Literal["scale"] = "scale"
    zoom: ZoomRange = (0.9, 1.1)
    """Range that the zoom is drawn from, evenly; 1 keeps the size, 2 shows everything twice as
    large."""
    fill: Fill = 0.0
    """What comes in from outside: a value in [0,1], "mean", "nearest", "reflect" or "noise"."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        zoom = between(self.zoom, draws.uniform(1)[:, 0])
        draws.tell(zoom=zoom)
        return zooms(zoom)

    def build(self, facts: AugmentationFacts) -> GeometricWorker:
        return GeometricWorker(self.transforms, self.probability, filling_of(self.fill, facts))
