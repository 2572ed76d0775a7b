"""Warps: elastic distortion and lens distortion."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field
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
from augcompress.augmentations.geometry import Filling, Outside, outside_of, pixel_places
from augcompress.augmentations.pixel_draws import pixel_uniform
from augcompress.augmentations.resampling import bilinear


def smoothing(length: int, sigma: float, device: torch.device) -> Tensor:
    """`(length,length)`: each row a Gaussian around its own place, of `sigma` pixels, cut off at
    the image's edge, squares summing to 1, so that noise of variance 1 keeps it everywhere."""
    place = torch.arange(length, device=device)
    rows = (-0.5 * ((place - place[:, None]) / max(sigma, 1e-3)) ** 2).exp()
    return rows / rows.square().sum(1, keepdim=True).sqrt()


def smooth_fields(uniform: Tensor, sigma: float) -> Tensor:
    """`(N,2,H,W)` of variance 1, smooth over `sigma` pixels, from uniforms of the same shape."""
    height, width = uniform.shape[-2:]
    noise = (2 * uniform - 1) * math.sqrt(3)
    fields = noise @ smoothing(width, sigma, uniform.device).T
    return smoothing(height, sigma, uniform.device) @ fields


def displaced(images: Tensor, displacement: Tensor, outside: Outside) -> Tensor:
    """`(N,C,H,W)`, every pixel taken from `displacement` `(N,2,H,W)` = (x, y) pixels further on."""
    height, width = images.shape[-2:]
    column = displacement[:, 0] + torch.arange(width, device=images.device)
    row = displacement[:, 1] + torch.arange(height, device=images.device)[:, None]
    return bilinear(images, column, row, outside)


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
        raise ValueError("the image would fold over; give k1 above -1/3 and at most 1")
    return limits


class WarpAugmentation(Augmentation):
    """Takes every pixel from another place, by no matrix: not fused with other geometry."""

    fill: Fill = 0.0
    """What comes in from outside: a value in [0,1], "mean", "nearest", "reflect" or "noise"."""

    @abstractmethod
    def change(self, images: Tensor, draws: Draws, filling: Filling) -> Tensor:
        """The changed images `(N,C,H,W)`, as if every sample were chosen."""

    def build(self, facts: AugmentationFacts) -> PixelWorker:
        filling = filling_of(self.fill, facts)
        return PixelWorker(partial(self.change, filling=filling), self.probability)


class Elastic(WarpAugmentation):
    """Bend the image by smooth random displacements: uniform noise per pixel, along x and along y,
    smoothed by a Gaussian (Simard et al. 2003, doi:10.1109/ICDAR.2003.1227801).

    Unlike there, `alpha` is the standard deviation of the displacement that results, so that it
    means the same at every `sigma` and image size; the defaults are about the paper's 34 and 4
    pixels at 29.  It cannot be fused with other geometry.
    """

    label_safety: ClassVar[str] = "fine strokes and textures whose exact shape decides"
    neutral: ClassVar[Mapping[str, Any]] = {"alpha": 0.0}

    kind: Literal["elastic"] = "elastic"
    alpha: float = Field(0.05, ge=0, le=1)
    """Standard deviation of the displacement, along x and along y, as a share of the shorter side;
    0 keeps the image."""
    sigma: float = Field(0.14, ge=0, le=1)
    """Standard deviation of the Gaussian, as a share of the shorter side: how far neighbours move
    together."""

    def change(self, images: Tensor, draws: Draws, filling: Filling) -> Tensor:
        height, width = images.shape[-2:]
        side = min(height, width)
        uniform = pixel_uniform(draws.words(2), 2 * height * width).view(-1, 2, height, width)
        displacement = smooth_fields(uniform, self.sigma * side) * (self.alpha * side)
        return displaced(images, displacement, outside_of(filling, images, draws))


class LensDistortion(WarpAugmentation):
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

    def change(self, images: Tensor, draws: Draws, filling: Filling) -> Tensor:
        k1 = draws.in_range("k1", self.k1)
        return radially(images, k1, outside_of(filling, images, draws))
