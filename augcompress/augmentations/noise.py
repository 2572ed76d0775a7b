"""Noise, drawn for every pixel by itself: gaussian, speckle, shot, salt and pepper, impulse."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import Limits, PixelAugmentation, Shares, above_zero
from augcompress.augmentations.draws import Draws, between
from augcompress.augmentations.pixel_draws import blockwise, pixel_normal, pixel_uniform
from augcompress.augmentations.poisson import poisson

_PHOTONS = above_zero("a number of photons must be above 0; raise the lower end")
_UNSAFE = "classes that hang on fine texture or on single faint pixels (microscopy, stars)"


def per_image(values: Tensor, images: Tensor) -> Tensor:
    """`(N,)` as `(N,1,1,1)` of the images' type."""
    return values.view(-1, 1, 1, 1).to(images.dtype)


def normal_like(images: Tensor, keys: Tensor) -> Tensor:
    """Standard normal noise for every value of the images; `keys` `(N,2)`."""
    return pixel_normal(keys, images[0].numel()).view(images.shape).to(images.dtype)


def add_noise(images: Tensor, keys: Tensor, std: Tensor) -> Tensor:
    """Images plus `std` `(N,)` times standard normal noise drawn by `keys` `(N,2)`."""
    noise = normal_like(images, keys).mul_(per_image(std, images))
    return noise.add_(images).clamp_(0, 1)


def multiply_noise(images: Tensor, keys: Tensor, std: Tensor) -> Tensor:
    """Images times 1 plus `std` `(N,)` times standard normal noise drawn by `keys` `(N,2)`."""
    noise = normal_like(images, keys).mul_(per_image(std, images))
    return noise.mul_(images).add_(images).clamp_(0, 1)


def count_photons(images: Tensor, keys: Tensor, photons: Tensor) -> Tensor:
    """Every value a Poisson count with the mean `photons` `(N,)` x value, over `photons`; drawn by
    `keys` `(N,4)`."""
    at_white, values = photons.view(-1, 1, 1, 1), images[0].numel()
    mean = images.float() * at_white
    uniform = pixel_uniform(keys[:, :2], values).view(mean.shape)
    counts = poisson(mean, uniform, pixel_normal(keys[:, 2:], values).view(mean.shape))
    return counts.div_(at_white).clamp_(0, 1).to(images.dtype)


def salt_and_pepper(images: Tensor, keys: Tensor, amount: Tensor, salt: Tensor) -> Tensor:
    """A share `amount` `(N,)` of the pixels overwritten, a share `salt` `(N,)` of them white, the
    others black; `keys` `(N,2)` decide which."""
    uniform = pixel_uniform(keys, images[0, 0].numel()).view(-1, 1, *images.shape[2:])
    white = uniform.clone().lt_((amount * salt).view(-1, 1, 1, 1)).to(images.dtype)
    hit = uniform.lt_(amount.view(-1, 1, 1, 1)).to(images.dtype)
    return images * (1 - hit) + white  # exact, as both are 1 or 0


def replace_values(images: Tensor, keys: Tensor, amount: Tensor) -> Tensor:
    """A share `amount` `(N,)` of the values overwritten by even draws from [0,1].

    The numbers that `keys` `(N,2)` draw decide which, and by what: those below `amount` are even in
    [0, amount).
    """
    uniform = pixel_uniform(keys, images[0].numel()).view(images.shape)
    amount = amount.view(-1, 1, 1, 1)
    hit = uniform.clone().lt_(amount)
    value = uniform.div_(amount.clamp_min(1e-30)).mul_(hit)
    return images * (1 - hit).to(images.dtype) + value.to(images.dtype)  # exact: 1 or 0


class GaussianNoise(PixelAugmentation):
    """Add normal noise to every value of every pixel."""

    label_safety: ClassVar[str] = _UNSAFE
    neutral: ClassVar[Mapping[str, Any]] = {"std": (0.0, 0.0)}

    kind: Literal["gaussian_noise"] = "gaussian_noise"
    std: Shares = (0.0, 0.1)
    """Standard deviation, drawn evenly from this range for each image, in units of the value range
    [0,1]; 0 changes nothing."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        std = draws.in_range("std", self.std)
        return blockwise(add_noise, images, draws.words(2), std)


class SpeckleNoise(PixelAugmentation):
    """Multiply every value of every pixel by normal noise about 1: strongest in bright places."""

    label_safety: ClassVar[str] = _UNSAFE
    neutral: ClassVar[Mapping[str, Any]] = {"std": (0.0, 0.0)}

    kind: Literal["speckle_noise"] = "speckle_noise"
    std: Shares = (0.0, 0.2)
    """Standard deviation of the factor, drawn evenly from this range for each image; 0 changes
    nothing."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        std = draws.in_range("std", self.std)
        return blockwise(multiply_noise, images, draws.words(2), std)


class ShotNoise(PixelAugmentation):
    """Count photons: every value becomes a Poisson draw, as on a sensor in little light
    (ImageNet-C, Hendrycks & Dietterich 2019, arXiv:1903.12261, whose severities 3 to 1 the default
    range spans).

    The mean stays and the variance is value / photons, until values stop at 1.
    """

    label_safety: ClassVar[str] = _UNSAFE

    kind: Literal["shot_noise"] = "shot_noise"
    photons: Annotated[Limits, _PHOTONS] = (12.0, 60.0)
    """Mean count at white, drawn from this range, evenly in its logarithm, for each image.  The
    noise is about 1/sqrt(photons) at white: no count is neutral, a million is next to it."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        low, high = self.photons
        photons = between((math.log(low), math.log(high)), draws.uniform(1)[:, 0]).exp()
        draws.tell(photons=photons)
        return blockwise(count_photons, images, draws.words(4), photons)


class SaltPepperNoise(PixelAugmentation):
    """Turn single pixels white or black, all channels together: dead and hot sensor cells."""

    label_safety: ClassVar[str] = _UNSAFE
    neutral: ClassVar[Mapping[str, Any]] = {"amount": (0.0, 0.0)}

    kind: Literal["salt_pepper_noise"] = "salt_pepper_noise"
    amount: Shares = (0.0, 0.05)
    """Share of the pixels that are hit, drawn evenly from this range for each image; every pixel
    decides for itself.  0 changes nothing."""
    salt: float = Field(0.5, ge=0, le=1)
    """Share of white among the pixels that are hit; the others turn black."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        amount = draws.in_range("amount", self.amount)
        salt = torch.full_like(amount, self.salt)
        return blockwise(salt_and_pepper, images, draws.words(2), amount, salt)


class ImpulseNoise(PixelAugmentation):
    """Replace single values by random ones, each channel for itself: bits lost on the way.

    Random-valued impulses; those that are only black or white are `salt_pepper_noise`, which is
    what ImageNet-C calls impulse noise.
    """

    label_safety: ClassVar[str] = _UNSAFE
    neutral: ClassVar[Mapping[str, Any]] = {"amount": (0.0, 0.0)}

    kind: Literal["impulse_noise"] = "impulse_noise"
    amount: Shares = (0.0, 0.05)
    """Share of the values that are replaced, drawn evenly from this range for each image; every
    value decides for itself.  0 changes nothing."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        amount = draws.in_range("amount", self.amount)
        return blockwise(replace_values, images, draws.words(2), amount)
