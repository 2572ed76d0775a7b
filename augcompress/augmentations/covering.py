"""Random erasing, cutout and pixel dropout: which pixels are covered, and with what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Protocol

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from augcompress.augmentations.base import (
    Augmentation,
    AugmentationFacts,
    Limits,
    PixelAugmentation,
    PixelWorker,
    Shares,
    above_zero,
)
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.geometry import size_of
from augcompress.augmentations.pixel_draws import PixelNoise, blockwise, pixel_uniform
from augcompress.augmentations.slices import SLICED

_ATTEMPTS = 10

Value = Annotated[float, Field(ge=0, le=1)] | Literal["mean"]
"""What is written over pixels: a grey value, or the training set's mean colour."""


def colour_of(value: Value, facts: AugmentationFacts) -> tuple[float, ...]:
    """The recipe's `value` for this data, per channel."""
    if isinstance(value, str):
        return tuple(float(mean) for mean in facts.mean)
    return (float(value),) * facts.channels


def places(uniform: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels `(N,2)` = (row, column), every one equally likely; `uniform` `(N,2)`."""
    return (uniform * uniform.new_tensor(size)).floor()


class Indexable(Protocol):
    """Images, or what can be read as they are: all of it, or a part."""

    def __getitem__(self, where: Any) -> Tensor: ...


class Rows:
    """Some of the images `(N,C,H,W)`, those at `rows` `(M,)`, read where they are."""

    def __init__(self, images: Tensor, rows: Tensor) -> None:
        self.images, self.rows = images, rows

    def __getitem__(self, where: Any) -> Tensor:
        if isinstance(where, slice):
            return self.images.index_select(0, self.rows[where])
        return self.images[(self.rows[where[0]], *where[1:])]


@dataclass(frozen=True)
class Boxes:
    """A box for each sample, from `start` up to but not at `stop`, both `(N,2)` = (row, column),
    which may lie outside of the images, of `size` (height, width)."""

    start: Tensor
    stop: Tensor
    size: tuple[int, int]

    def masks(self) -> Tensor:
        """`(N,1,H,W)`, true inside."""
        rows, columns = (
            _spans(self.start[:, axis, None], self.stop[:, axis, None], length)
            for axis, length in enumerate(self.size)
        )
        return (rows[:, :, None] & columns[:, None])[:, None]

    def rest(self) -> Tensor:
        """Share of the pixels that are outside: float32 `(N,)`."""
        top, left, bottom, right = self.corners().float().unbind(1)
        inside = (bottom - top).clamp_min(0) * (right - left).clamp_min(0)
        return (math.prod(self.size) - inside) / math.prod(self.size)

    def corners(self) -> Tensor:
        """First row, first column, and those after the last, as far as they lie inside: `(N,4)`."""
        most = self.start.new_tensor(self.size)
        return torch.cat([end.clamp_min(0).minimum(most) for end in (self.start, self.stop)], dim=1)

    def overwritten(self, images: Tensor, cover: Indexable) -> Tensor:
        """The images `(N,C,H,W)` with the boxes of `cover` written over them."""
        if not images.is_cpu or images[0].numel() < SLICED:
            return torch.where(self.masks(), cover[:], images)
        result = images.clone()
        for place, (top, left, bottom, right) in enumerate(self.corners().int().tolist()):
            if top < bottom and left < right:
                where = (place, slice(None), slice(top, bottom), slice(left, right))
                result[where] = cover[where]
        return result


def _spans(start: Tensor, stop: Tensor, length: int) -> Tensor:
    place = torch.arange(length, device=start.device)
    return (place >= start) & (place < stop)  # (N, length)


def rectangle_sizes(
    uniform: Tensor, size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> Tensor:
    """Height and width in pixels, `(N,2)`: the first attempt that is smaller than the image; 0
    where none is.  `uniform` `(N, 2, attempts)` draws the area, evenly, and height/width, evenly in
    its logarithm."""
    area = (scale[0] + (scale[1] - scale[0]) * uniform[:, 0]) * size[0] * size[1]
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = (low + (high - low) * uniform[:, 1]).exp()
    sides = torch.stack(((area * aspect).sqrt(), (area / aspect).sqrt()), dim=1)
    sides = sides.round().clamp_min(1)  # (N, 2, attempts)
    fits = (sides < sides.new_tensor(size).view(1, 2, 1)).all(1, keepdim=True)
    first = fits.int().argmax(2, keepdim=True).expand(-1, 2, 1)
    return (sides * fits).gather(2, first)[..., 0]


def rectangles(uniform: Tensor, sides: Tensor, size: tuple[int, int]) -> Boxes:
    """Rectangles of `sides` `(N,2)` placed by `uniform` `(N,2)`, all of them inside."""
    start = (uniform * (sides.new_tensor(size) - sides + 1)).floor()
    return Boxes(start, start + sides, size)


def squares(centre: Tensor, side: int, size: tuple[int, int]) -> Boxes:
    """Squares about the pixels `centre` `(N,2)`; what hangs over the edge is lost.  An even side
    reaches one pixel further up and left than down and right."""
    start = centre - side // 2
    return Boxes(start, start + side, size)


def drop_pixels(images: Tensor, keys: Tensor, share: Tensor, colour: Tensor) -> Tensor:
    """`colour` `(N,C)` in a `share` `(N,)` of the pixels; `keys` `(N,2)` decide which."""
    uniform = pixel_uniform(keys, images[0, 0].numel())
    lost = uniform.lt_(share[:, None]).view(len(images), 1, *images.shape[2:]).to(images.dtype)
    return images * (1 - lost) + colour[:, :, None, None] * lost  # exact, as `lost` is 1 or 0


def _a_share(limits: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= limits[0] <= limits[1] <= 1:
        raise ValueError("an area is a share of the image; give it from 0 to 1")
    return limits


class RandomErasing(PixelAugmentation):
    """Overwrite a rectangle (Zhong et al. 2017, arXiv:1708.04896).

    The height-to-width ratio is drawn evenly in its logarithm, as torchvision does, so that
    upright and lying rectangles are equally likely.  Ten attempts are made to fit one; else nothing
    happens.
    """

    label_safety: ClassVar[str] = "classes that hang on one small detail, which may be covered"

    kind: Literal["random_erasing"] = "random_erasing"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples that lose a rectangle."""
    scale: Annotated[Limits, AfterValidator(_a_share)] = (0.02, 0.4)
    """Area of the rectangle, as a share of the image's."""
    ratio: Annotated[
        Limits, above_zero("a height-to-width ratio must be above 0; raise the lower end")
    ] = (0.3, 1 / 0.3)
    """Height divided by width."""
    value: Annotated[float, Field(ge=0, le=1)] | Literal["noise"] = "noise"
    """What is written: a value in [0,1], or "noise", even in [0,1] for every pixel and channel."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        count, size = len(images), size_of(images)
        uniform = draws.uniform(2 * _ATTEMPTS).reshape(count, 2, _ATTEMPTS)
        sides = rectangle_sizes(uniform, size, self.scale, self.ratio)
        draws.tell(height=sides[:, 0], width=sides[:, 1])
        boxes = rectangles(draws.uniform(2), sides, size)
        return boxes.overwritten(images, self._cover(images, draws))

    def _cover(self, images: Tensor, draws: Draws) -> Indexable:
        if self.value != "noise":
            return images.new_tensor(self.value).expand_as(images)
        return PixelNoise(draws.words(2), images)


class Cutout(Augmentation):
    """Overwrite a square whose centre is any pixel, so that it may hang over the edge (DeVries &
    Taylor 2017, arXiv:1708.04552).

    The default is the paper's 16 of 32 pixels for CIFAR-10, and its zero after normalising, the
    mean colour.
    """

    label_safety: ClassVar[str] = "classes that hang on one small detail, which may be covered"
    neutral: ClassVar[Mapping[str, Any]] = {"side": 0.0}

    kind: Literal["cutout"] = "cutout"
    side: float = Field(0.5, ge=0, le=1)
    """Side of the square, as a share of the image's shorter side, to the nearest pixel; 0 changes
    nothing."""
    value: Value = "mean"
    """What is written: a value in [0,1], or "mean", the training set's mean colour."""

    def change(self, images: Tensor, draws: Draws, colour: tuple[float, ...]) -> Tensor:
        size = size_of(images)
        centre, side = places(draws.uniform(2), size), round(self.side * min(size))
        draws.tell(row=centre[:, 0], column=centre[:, 1])
        cover = images.new_tensor(colour).view(-1, 1, 1).expand_as(images)
        return squares(centre, side, size).overwritten(images, cover)

    def build(self, facts: AugmentationFacts) -> PixelWorker:
        change = partial(self.change, colour=colour_of(self.value, facts))
        return PixelWorker(change, self.probability)


class PixelDropout(Augmentation):
    """Overwrite single pixels, all channels together, every pixel deciding for itself."""

    label_safety: ClassVar[str] = "classes that hang on single pixels (stars, thin strokes)"
    neutral: ClassVar[Mapping[str, Any]] = {"share": (0.0, 0.0)}

    kind: Literal["pixel_dropout"] = "pixel_dropout"
    share: Shares = (0.0, 0.1)
    """Share of the pixels that are lost, drawn evenly from this range for each image; 0 changes
    nothing."""
    value: Value = "mean"
    """What is written: a value in [0,1], or "mean", the training set's mean colour."""

    def change(self, images: Tensor, draws: Draws, colour: tuple[float, ...]) -> Tensor:
        share = draws.in_range("share", self.share)
        colours = images.new_tensor(colour).expand(len(images), -1)
        return blockwise(drop_pixels, images, draws.words(2), share, colours)

    def build(self, facts: AugmentationFacts) -> PixelWorker:
        change = partial(self.change, colour=colour_of(self.value, facts))
        return PixelWorker(change, self.probability)
