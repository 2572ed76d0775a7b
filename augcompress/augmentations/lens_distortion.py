"""Lens distortion."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator
from torch import Tensor

from augcompress.augmentations.base import (
    Augmentation,
    AugmentationFacts,
    Fill,
    Limits,
    PixelWorker,
    filling_of,
)
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.geometry import (
    Filling,
    Outside,
    bilinear,
    outside_of,
    pixel_places,
)


def radially(images: Tensor, k1: Tensor, outside: Outside) -> Tensor:
    """`(N,C,H,W)`, every pixel at radius r taken from r (1 + k1 r²), `k1` `(N,)`; r is 1 at the
    image's corner."""
    height, width = images.shape[-2:]
    x, y = pixel_places((height, width), images.device)
    squared = (x**2 + y**2) / ((width / 2) ** 2 + (height / 2) ** 2)  # (H, W)
    stretch = 1 + k1[:, None, None] * squared  # (N, H, W)
    return bilinear(images, x * stretch + (width - 1) / 2, y * stretch + (height - 1) / 2, outside)


def _one_to_one(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] <= -1 / 3 or limits[1] > 1:
        raise ValueError("k1 must be above -1/3, else the image folds over, and at most 1")
    return limits


class LensDistortion(Augmentation):
    """Bend straight lines as a lens does: the first radial term, k1 (Brown 1966, "Decentering
    distortion of lenses", Photogrammetric Engineering 32(3)).

    A pixel of the result at radius r shows the place at r (1 + k1 r²) of the image, r = 1 at its
    corners: k1 above 0 is barrel distortion, below 0 pincushion.  Bilinear; it cannot be fused with
    other geometry.
    """

    label_safety: ClassVar[str] = "classes that differ by straight and bent lines"
    neutral: ClassVar[Mapping[str, Any]] = {"k1": (0.0, 0.0)}

    kind: Literal["lens_distortion"] = "lens_distortion"
    k1: Annotated[Limits, AfterValidator(_one_to_one)] = (-0.2, 0.2)
    """Range that k1 is drawn from, evenly; 0 keeps the image."""
    fill: Fill = 0.0
    """What comes in from outside: a value in [0,1], "mean", "nearest", "reflect" or "noise"."""

    def change(self, images: Tensor, draws: Draws, filling: Filling) -> Tensor:
        k1 = draws.in_range("k1", self.k1)
        return radially(images, k1, outside_of(filling, images, draws))

    def build(self, facts: AugmentationFacts) -> PixelWorker:
        filling = filling_of(self.fill, facts)
        return PixelWorker(partial(self.change, filling=filling), self.probability)
