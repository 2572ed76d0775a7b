"""Elastic distortion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import (
    Augmentation,
    AugmentationFacts,
    Fill,
    PixelWorker,
    filling_of,
)
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.geometry import Filling, Outside, bilinear, outside_of
from augcompress.augmentations.pixel_draws import pixel_uniform


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


class Elastic(Augmentation):
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
    fill: Fill = 0.0
    """What comes in from outside: a value in [0,1], "mean", "nearest", "reflect" or "noise"."""

    def change(self, images: Tensor, draws: Draws, filling: Filling) -> Tensor:
        height, width = images.shape[-2:]
        side = min(height, width)
        uniform = pixel_uniform(draws.words(2), 2 * height * width).view(-1, 2, height, width)
        displacement = smooth_fields(uniform, self.sigma * side) * (self.alpha * side)
        return displaced(images, displacement, outside_of(filling, images, draws))

    def build(self, facts: AugmentationFacts) -> PixelWorker:
        filling = filling_of(self.fill, facts)
        return PixelWorker(partial(self.change, filling=filling), self.probability)
