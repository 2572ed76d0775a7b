"""Random resized crop."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from augcompress.augmentations.base import GeometricAugmentation, Limits, Shares, above_zero
from augcompress.augmentations.draws import Draws, between
from augcompress.augmentations.matrices import windows

_ATTEMPTS = 10


def largest_window(size: tuple[int, int], ratio: tuple[float, float]) -> tuple[int, int]:
    """Width and height of the largest window whose width / height is in range."""
    height, width = size
    if width / height < ratio[0]:
        return width, round(width / ratio[0])
    return min(width, round(height * ratio[1])), height


def drawn_windows(
    uniform: Tensor,
    place: Tensor,
    size: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    """Corners (column, row) and sides (width, height) in pixels, `(N,2)` each.

    `uniform` `(N, 2, attempts)` draws the area, evenly, and width/height, evenly in its logarithm:
    the first attempt that fits into the image counts, `place` `(N,2)` puts it there; where none
    fits, it is the largest window, in the centre.
    """
    area = between(scale, uniform[:, 0]) * size[0] * size[1]
    aspect = between((math.log(ratio[0]), math.log(ratio[1])), uniform[:, 1]).exp()
    exact = torch.stack(((area * aspect).sqrt(), (area / aspect).sqrt()), dim=1)
    sides, whole = exact.round(), exact.new_tensor([size[1], size[0]])
    fits = (sides >= 1) & (exact <= whole[:, None])
    fits = fits.all(1, keepdim=True)  # (N, 1, attempts)
    first = fits.int().argmax(2, keepdim=True).expand(-1, 2, 1)
    found, last_resort = fits.any(2), sides.new_tensor(largest_window(size, ratio))
    chosen = torch.where(found, sides.gather(2, first)[..., 0], last_resort)
    room = whole - chosen
    return torch.where(found, place * (room + 1), room / 2).floor(), chosen


class ResizedCrop(GeometricAugmentation):
    """Cut out a window of random area and shape and enlarge it to the image's size (Szegedy et al.
    2015, arXiv:1409.4842, section 6).

    Windows are drawn as by torchvision's `RandomResizedCrop`, but that one which is wider or higher
    than the image before its sides are rounded does not fit, so that at a scale of 1 the image
    stays.  Enlarging is bilinear; unlike there, a pixel at the window's edge is interpolated with
    its true neighbour outside of the window.
    """

    label_safety: ClassVar[str] = (
        "small objects, which a small window may miss; classes of one size"
    )

    kind: Literal["resized_crop"] = "resized_crop"
    scale: Shares = (0.08, 1.0)
    """Area of the window, as a share of the image's, drawn evenly; at 1 the image stays, if its own
    shape is within `ratio`."""
    ratio: Annotated[Limits, above_zero("a width-to-height ratio must be above 0")] = (3 / 4, 4 / 3)
    """Width of the window divided by its height, drawn evenly in its logarithm."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        uniform = draws.uniform(2 * _ATTEMPTS).reshape(len(draws), 2, _ATTEMPTS)
        corner, sides = drawn_windows(uniform, draws.uniform(2), size, self.scale, self.ratio)
        draws.tell(left=corner[:, 0], top=corner[:, 1], width=sides[:, 0], height=sides[:, 1])
        return windows(corner, sides, size)
