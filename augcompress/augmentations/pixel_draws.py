"""Random numbers for every pixel: a cheap generator, keyed with two words of each sample."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

_STEPS = ((16, 0x7FEB352D), (15, 0x846CA68B - 2**32))  # shift, multiplier as a signed number


def scramble(words: Tensor) -> Tensor:
    """Every int32 word turned into another, one to one, in place: two rounds of shift, xor and
    multiply, with the constants that Wellons 2018 searched for
    (https://nullprogram.com/blog/2018/07/31/)."""
    for shift, multiplier in _STEPS:
        _fold(words, shift).mul_(multiplier)
    return _fold(words, 16)


def _fold(words: Tensor, shift: int) -> Tensor:
    """Xor with itself, shifted right with zeros coming in; in place."""
    return words.bitwise_xor_((words >> shift).bitwise_and_((1 << (32 - shift)) - 1))


def pixel_words(keys: Tensor, count: int) -> Tensor:
    """`count` words for each sample: int32 `(N, count)`, all 32 bits random.

    `keys` `(N,2)`, words in 0..2^32-1.  Places in the image are scrambled once for all samples,
    keyed by xor and sum, and scrambled again: a tenth of the arithmetic of Philox, and like there
    neither the batch nor the device changes a number.
    """
    keys = keys.to(torch.int32)
    return _keyed(_scrambled_places(count, keys.device), keys[:, :1], keys[:, 1:])


@lru_cache(maxsize=8)
def _scrambled_places(count: int, device: torch.device) -> Tensor:
    """The same object for the same words, so not to be written to."""
    return scramble(torch.arange(count, dtype=torch.int32, device=device))


def _keyed(places: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return scramble((places ^ first).add_(second))


def _uniform(words: Tensor) -> Tensor:
    return (words >> 8).float().mul_(2.0**-24).add_(0.5)


def pixel_uniform(keys: Tensor, count: int) -> Tensor:
    """Uniform in [0, 1): float32 `(N, count)`, multiples of 2^-24; `keys` as for `pixel_words`."""
    return _uniform(pixel_words(keys, count))


class PixelNoise:
    """`pixel_uniform` in the shape and type of images `(N,C,H,W)`, computed for what is read of
    it: all, `[:]`, or of one sample a part of the pixels, `[0, :, 2:5, 3:7]`."""

    def __init__(self, keys: Tensor, images: Tensor) -> None:
        self.keys, self.images = keys.to(torch.int32), images
        self.places = _scrambled_places(images[0].numel(), images.device).view(images.shape[1:])

    def __getitem__(self, where: Any) -> Tensor:
        sample, *part = where if isinstance(where, tuple) else (where,)
        keys = self.keys[sample][..., None, None, None]
        words = _keyed(self.places[tuple(part)], keys[..., 0, :, :, :], keys[..., 1, :, :, :])
        return _uniform(words).to(self.images.dtype)


def pixel_normal(keys: Tensor, count: int) -> Tensor:
    """Standard normal: float32 `(N, count)`, by Box & Muller; `keys` as for `pixel_words`."""
    half = -(-count // 2)
    radius, turn = pixel_uniform(keys, 2 * half).split(half, dim=1)
    radius = (1 - radius).log_().mul_(-2).sqrt_()  # 1 - radius is exact, and never 0
    angle = turn * (2 * math.pi)
    return torch.cat((angle.cos().mul_(radius), angle.sin_().mul_(radius)), dim=1)[:, :count]


_VALUES = 1 << 18  # of a block's images: 1 MiB in float32


def blockwise(change: Callable[..., Tensor], images: Tensor, *others: Tensor) -> Tensor:
    """`change(images, *others)` where every sample is changed by itself: on a CPU block by block,
    which is up to three times faster on large batches; elsewhere at once.

    `others` have the samples along their first dimension, as the images do.
    """
    block = max(1, _VALUES // max(1, images[0].numel())) if images.is_cpu else len(images)
    if block >= len(images):
        return change(images, *others)
    parts = zip(*(tensor.split(block) for tensor in (images, *others)), strict=True)
    first = change(*next(parts))
    result = first.new_empty((len(images), *first.shape[1:]))
    result[:block] = first
    for place, part in enumerate(parts, start=1):  # at once, while it is in the cache
        result[block * place : block * (place + 1)] = change(*part)
    return result
