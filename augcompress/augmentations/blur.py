"""Blur: separable kernels, one for each sample, and the median."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor
from torch.nn import functional

from augcompress.augmentations.base import Limits, PixelAugmentation
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.pixel_draws import blockwise
from augcompress.augmentations.slices import bring_inside

_LARGE = 1 << 16  # values of an image
_FEWEST_TAPS = 5  # on a CPU, convolving with three takes longer than with five


def extended(images: Tensor, axis: int, radius: int) -> Tensor:
    """The images `(N,C,H,W)` mirrored beyond both edges of an axis, 2 or 3, by `radius` pixels, the
    edge pixel not repeated; the radius may exceed the image."""
    length = images.shape[axis]
    if radius < length:
        sides = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
        return functional.pad(images, sides, mode="reflect")
    place = torch.arange(-radius, length + radius, device=images.device)
    return images.index_select(axis, bring_inside(place, length, mirrored=True))


def blur(images: Tensor, kernels: Tensor) -> Tensor:
    """Images `(N,C,H,W)` convolved along both axes, each with its own kernel: `kernels` `(N,K)`, K
    odd, rows sum to 1."""
    alone = len(images) * images.shape[1] == 1  # `conv2d` would round another way
    large = alone or images[0].numel() >= _LARGE
    if images.is_cpu and images.dtype == torch.float32 and large:
        result = torch.empty_like(images)
        for image, weights, new in zip(images.split(1), kernels.tolist(), result, strict=True):
            new.copy_(shifted_sum(shifted_sum(image, weights, 2), weights, 3)[0])
        return result.clamp_(0, 1)
    count, channels = images.shape[:2]
    missing = max(0, _FEWEST_TAPS - kernels.shape[1]) // 2
    taps = functional.pad(kernels, (missing, missing)).to(images.dtype)
    taps, radius = taps.repeat_interleave(channels, 0)[:, None], taps.shape[1] // 2  # (N*C, 1, K)
    # every channel of every image is a group of its own
    tall = extended(images, 2, radius).flatten(0, 1)[None]
    rows = functional.conv2d(tall, taps[..., None], groups=count * channels)
    wide = extended(rows.view(images.shape), 3, radius).flatten(0, 1)[None]
    columns = functional.conv2d(wide, taps[:, :, None], groups=count * channels)
    return columns.view(images.shape).clamp_(0, 1)


def shifted_sum(images: Tensor, weights: Sequence[float], axis: int) -> Tensor:
    """The images convolved along an axis, 2 or 3, with one kernel: its taps one after the other, as
    `conv2d` adds them, which on large images takes two to four times as long."""
    length, wide = images.shape[axis], extended(images, axis, len(weights) // 2)
    (first, weight), *others = ((place, each) for place, each in enumerate(weights) if each)
    result = wide.narrow(axis, first, length) * weight
    for place, weight in others:
        result.add_(wide.narrow(axis, place, length), alpha=weight)
    return result


def gaussian_kernels(sigma: Tensor, kernel_size: int) -> Tensor:
    """`(N, kernel_size)` sampled Gaussians of `sigma` `(N,)` pixels; at 0 the centre alone."""
    place = torch.arange(kernel_size, device=sigma.device) - kernel_size // 2
    weights = (-0.5 * (place / sigma.clamp_min(1e-3)[:, None]) ** 2).exp()
    return weights / weights.sum(1, keepdim=True)


def box_kernels(radius: Tensor, largest: int) -> Tensor:
    """`(N, 2*largest+1)` boxes from -radius to radius, `radius` `(N,)` pixels, at most `largest`:
    a pixel that the box covers in part counts in part."""
    place = torch.arange(-largest, largest + 1, device=radius.device)
    weights = (radius[:, None] + 1 - place.abs()).clamp(0, 1)
    return weights / (2 * radius[:, None] + 1)


def median_filtered(images: Tensor, kernel_size: int) -> Tensor:
    """Each pixel becomes the median of the square of `kernel_size` (odd) around it."""
    radius, (height, width) = kernel_size // 2, images.shape[-2:]
    padded = extended(extended(images, 2, radius), 3, radius)
    neighbours = [
        padded[:, :, row : row + height, column : column + width]
        for row in range(kernel_size)
        for column in range(kernel_size)
    ]
    return middle(neighbours)


def middle(values: list[Tensor]) -> Tensor:
    """Element by element the median of an odd number of tensors.

    Among just over half of the values, neither the smallest nor the largest is the median of all:
    both are forgotten, the next value joins, until one is left (Paeth 1990, "Median finding on
    a 3x3 grid", Graphics Gems).
    """
    start = len(values) // 2 + 2
    kept, waiting = values[:start], values[start:]
    while len(kept) > 1:
        kept = _without_extremes(kept)
        kept, waiting = kept + waiting[:1], waiting[1:]
    return kept[0].clone()


def _without_extremes(values: list[Tensor]) -> list[Tensor]:
    smallest, rest = values[0], []
    for value in values[1:]:
        rest.append(torch.maximum(smallest, value))
        smallest = torch.minimum(smallest, value)
    if not rest:
        return [smallest]
    largest, kept = rest[0], []
    for value in rest[1:]:
        kept.append(torch.minimum(largest, value))
        largest = torch.maximum(largest, value)
    return kept


def tenth_of(size: tuple[int, int]) -> int:
    """The odd number next above a tenth of the shorter side, at least 3."""
    return max(3, 2 * math.floor(min(size) / 20) + 1)


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError(f"a kernel has a pixel in its centre; write an odd number, {number + 1}")
    return number


def _not_below_zero(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] < 0:
        raise ValueError("must not be below 0; 0 does not blur")
    return limits


class GaussianBlur(PixelAugmentation):
    """Blur by a Gaussian whose width each image draws (Chen et al. 2020, arXiv:2002.05709, appendix
    A); beyond the edge the image is mirrored.  Values are torchvision's `gaussian_blur`."""

    label_safety: ClassVar[str] = "classes told apart by fine texture or by sharpness itself"
    neutral: ClassVar[Mapping[str, Any]] = {"sigma": (0.0, 0.0)}

    kind: Literal["gaussian_blur"] = "gaussian_blur"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples that are blurred."""
    sigma: Annotated[Limits, AfterValidator(_not_below_zero)] = (0.1, 2.0)
    """Range in pixels that the standard deviation is drawn from, evenly; 0 does not blur."""
    kernel_size: Annotated[int, Field(ge=1), AfterValidator(_odd)] | None = None
    """Pixels that the Gaussian is cut off to, odd; None takes a tenth of the shorter side, at
    least 3."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        sigma = draws.in_range("sigma", self.sigma)
        size = self.kernel_size or tenth_of((images.shape[-2], images.shape[-1]))
        return blockwise(blur, images, gaussian_kernels(sigma, size))


class BoxBlur(PixelAugmentation):
    """Blur by the mean over a square whose size each image draws (McDonnell 1981, "Box-filtering
    techniques", Computer Graphics and Image Processing 17); mirrored beyond the edge."""

    label_safety: ClassVar[str] = "classes told apart by fine texture or by sharpness itself"
    neutral: ClassVar[Mapping[str, Any]] = {"radius": (0.0, 0.0)}

    kind: Literal["box_blur"] = "box_blur"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples that are blurred."""
    radius: Annotated[Limits, AfterValidator(_not_below_zero)] = (0.0, 1.0)
    """Range in pixels that the radius is drawn from, evenly: 0 does not blur, 1 is 3x3, pixels at
    the rim count in part (Pillow's `BoxBlur`)."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        radius = draws.in_range("radius", self.radius)
        return blockwise(blur, images, box_kernels(radius, math.ceil(self.radius[1])))


class MedianBlur(PixelAugmentation):
    """Replace each pixel by the median of its neighbourhood, channel by channel (Tukey 1977,
    "Exploratory data analysis"); beyond the edge the image is mirrored.  Edges stay sharp."""

    label_safety: ClassVar[str] = "classes told apart by dots, thin lines or fine texture"

    kind: Literal["median_blur"] = "median_blur"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples that are filtered."""
    kernel_size: Literal[3, 5] = 3
    """Side of the neighbourhood in pixels."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        return blockwise(partial(median_filtered, kernel_size=self.kernel_size), images)
