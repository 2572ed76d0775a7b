"""Random erasing."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from augcompress.augmentations.base import Limits, PixelAugmentation, above_zero
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.pixel_draws import pixel_uniform

_ATTEMPTS = 10


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


def rectangles(uniform: Tensor, sides: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks `(N,1,H,W)`, true inside a rectangle of `sides` `(N,2)` placed by `uniform` `(N,2)`."""
    rows, columns = (
        _spans(uniform[:, axis], sides[:, axis], length) for axis, length in enumerate(size)
    )
    return (rows[:, :, None] & columns[:, None])[:, None]


def _spans(uniform: Tensor, side: Tensor, length: int) -> Tensor:
    start = (uniform * (length - side + 1)).floor()[:, None]
    place = torch.arange(length, device=side.device)
    return (place >= start) & (place < start + side[:, None])  # (N, length)


def _a_share(limits: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= limits[0] <= limits[1] <= 1:
        raise ValueError("an area is a share of the image, from 0 to 1")
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
    ratio: Annotated[Limits, above_zero("a height-to-width ratio must be above 0")] = (0.3, 1 / 0.3)
    """Height divided by width."""
    value: Annotated[float, Field(ge=0, le=1)] | Literal["noise"] = "noise"
    """What is written: a value in [0,1], or "noise", even in [0,1] for every pixel and channel."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        count, size = len(images), (images.shape[-2], images.shape[-1])
        uniform = draws.uniform(2 * _ATTEMPTS).reshape(count, 2, _ATTEMPTS)
        sides = rectangle_sizes(uniform, size, self.scale, self.ratio)
        draws.tell(height=sides[:, 0], width=sides[:, 1])
        return torch.where(
            rectangles(draws.uniform(2), sides, size), self._cover(images, draws), images
        )

    def _cover(self, images: Tensor, draws: Draws) -> Tensor:
        if self.value != "noise":
            return torch.full_like(images, self.value)
        return pixel_uniform(draws.words(2), images[0].numel()).view(images.shape).to(images.dtype)
