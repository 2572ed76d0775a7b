"""Flips, crops and affine moves: one matrix for each sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import (
    FilledGeometricAugmentation,
    GeometricAugmentation,
    Limits,
    Shares,
    above_zero,
)
from augcompress.augmentations.draws import Draws, between
from augcompress.augmentations.matrices import (
    affine_matrices,
    mirrors,
    quarter_turns,
    rotations,
    shears,
    translations,
    windows,
    zooms,
)

_ATTEMPTS = 10

ZoomRange = Annotated[
    Limits, above_zero("a zoom must be above 0; raise the lower end, 1 keeps the size")
]
"""The two ends of a range of zooms, 1 keeping the size."""


def crop_shifts(uniform: Tensor, padding: int) -> Tensor:
    """Whole numbers in -padding..padding from uniforms in [0,1)."""
    return (uniform * (2 * padding + 1)).floor() - padding


def turns(uniform: Tensor) -> Tensor:
    """1, 2 or 3, int64, from uniforms in [0,1)."""
    return 1 + (3 * uniform).long().clamp_max_(2)


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


class HorizontalFlip(GeometricAugmentation):
    """Swap left and right (Krizhevsky et al. 2012, doi:10.1145/3065386)."""

    label_safety: ClassVar[str] = (
        "digits, letters, traffic signs: anything that reads one way round"
    )
    whole: ClassVar[bool] = True

    kind: Literal["horizontal_flip"] = "horizontal_flip"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples that are mirrored."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        return mirrors(draws)


class VerticalFlip(GeometricAugmentation):
    """Swap top and bottom, where neither is special: in the sky (Dieleman et al. 2015,
    doi:10.1093/mnras/stv632), under a microscope, seen from above."""

    label_safety: ClassVar[str] = "digits, letters, and whatever has an upper side (6 and 9, faces)"
    whole: ClassVar[bool] = True

    kind: Literal["vertical_flip"] = "vertical_flip"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples that are turned upside down."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        return mirrors(draws, axis=1)


class RandomCrop(FilledGeometricAugmentation):
    """Pad every side and cut out a window of the old size at random (He et al. 2016,
    arXiv:1512.03385, section 4.2).  Whole pixels: nothing is interpolated."""

    label_safety: ClassVar[str] = "images whose deciding detail touches the edge and may be cut off"
    neutral: ClassVar[Mapping[str, Any]] = {"padding": 0}
    whole: ClassVar[bool] = True

    kind: Literal["random_crop"] = "random_crop"
    padding: int = Field(4, ge=0)
    """Pixels added on every side: the largest shift."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        shifts = crop_shifts(draws.uniform(2), self.padding)
        draws.tell(right=-shifts[:, 0], down=-shifts[:, 1])
        return translations(shifts)


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
    ratio: Annotated[
        Limits, above_zero("a width-to-height ratio must be above 0; raise the lower end")
    ] = (3 / 4, 4 / 3)
    """Width of the window divided by its height, drawn evenly in its logarithm."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        uniform = draws.uniform(2 * _ATTEMPTS).reshape(len(draws), 2, _ATTEMPTS)
        corner, sides = drawn_windows(uniform, draws.uniform(2), size, self.scale, self.ratio)
        draws.tell(left=corner[:, 0], top=corner[:, 1], width=sides[:, 0], height=sides[:, 1])
        return windows(corner, sides, size)


class Rotate(FilledGeometricAugmentation):
    """Rotate about the centre (Simard et al. 2003, doi:10.1109/ICDAR.2003.1227801), bilinear, the
    image's size kept."""

    label_safety: ClassVar[str] = "classes that differ by angle (6 and 9, arrows), if it is wide"
    neutral: ClassVar[Mapping[str, Any]] = {"degrees": 0.0}

    kind: Literal["rotate"] = "rotate"
    degrees: float = Field(15.0, ge=0, le=180)
    """The angle, drawn evenly from -degrees to degrees."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        angle = draws.in_range("degrees", (-self.degrees, self.degrees))
        return rotations(angle)


class Rotate90(FilledGeometricAugmentation):
    """Turn by one, two or three quarters, equally likely (the rotations of Gidaris et al. 2018,
    arXiv:1803.07728, here without telling the network).

    Square images are copied exactly.  The size is kept, so of others a quarter turn cuts off two
    ends and fills two sides; where height and width differ by an odd number it interpolates.
    """

    label_safety: ClassVar[str] = "whatever has an upper side: digits, letters, faces, vehicles"

    kind: Literal["rotate90"] = "rotate90"
    probability: float = Field(0.75, ge=0, le=1)
    """Share of the samples that are turned; 0.75 makes all four positions equally likely."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        quarters = turns(draws.uniform(1)[:, 0])
        draws.tell(quarters=quarters)
        return quarter_turns(quarters)


class Translate(FilledGeometricAugmentation):
    """Shift along x and y (Simard et al. 2003, doi:10.1109/ICDAR.2003.1227801), bilinear, not
    rounded to whole pixels; `random_crop` shifts by whole ones."""

    label_safety: ClassVar[str] = "images whose deciding detail touches the edge and may leave"
    neutral: ClassVar[Mapping[str, Any]] = {"fraction": 0.0}

    kind: Literal["translate"] = "translate"
    fraction: float = Field(0.1, ge=0, le=1)
    """The shift, each way drawn evenly from -fraction to fraction of the image's width and of its
    height."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        share = between((-self.fraction, self.fraction), draws.uniform(2))
        shift = share * torch.tensor([size[1], size[0]], device=share.device)
        draws.tell(right=shift[:, 0], down=shift[:, 1])
        return translations(-shift)


class Scale(FilledGeometricAugmentation):
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

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        zoom = draws.in_range("zoom", self.zoom)
        return zooms(zoom)


class Shear(FilledGeometricAugmentation):
    """Slant the picture about its centre (Simard et al. 2003, doi:10.1109/ICDAR.2003.1227801),
    bilinear; along x first, then along y, as torchvision's `affine` does.  Where a recipe names one
    of the two, the other is off; where it names none, both have their defaults."""

    label_safety: ClassVar[str] = "classes that differ by slant (/ and |)"
    neutral: ClassVar[Mapping[str, Any]] = {"x": 0.0, "y": 0.0}

    kind: Literal["shear"] = "shear"
    x: float = Field(10.0, ge=0, lt=90)
    """Slant along x, drawn evenly from -x to x degrees."""
    y: float = Field(0.0, ge=0, lt=90)
    """Slant along y, drawn evenly from -y to y degrees."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        uniform = draws.uniform(2)
        reach = torch.tensor([self.x, self.y], device=uniform.device)
        along_x, along_y = ((2 * uniform - 1) * reach).unbind(1)
        draws.tell(x=along_x, y=along_y)
        return shears(along_x, along_y)


class Affine(FilledGeometricAugmentation):
    """Rotate about the centre, shift, zoom and shear, each drawn evenly from its range (Simard et
    al. 2003, doi:10.1109/ICDAR.2003.1227801).

    Where a recipe names some of the four, the others are off; where it names none, all have their
    defaults.  Bilinear, without a low-pass filter.  Meaning and signs are torchvision's
    `RandomAffine`; unlike there, a shift is not rounded to whole pixels.
    """

    label_safety: ClassVar[str] = "classes that differ by angle, place or size (6 and 9, arrows)"
    neutral: ClassVar[Mapping[str, Any]] = {
        "degrees": 0.0,
        "translate": 0.0,
        "scale": (1.0, 1.0),
        "shear": 0.0,
    }

    kind: Literal["affine"] = "affine"
    degrees: float = Field(10.0, ge=0, le=180)
    """Rotation, from -degrees to degrees."""
    translate: float = Field(0.1, ge=0, le=1)
    """Shift, each way, at most this share of the image's width and height."""
    scale: ZoomRange = (0.9, 1.1)
    """Zoom range; 1 keeps the size."""
    shear: float = Field(0.0, ge=0, lt=90)
    """Shear along x, from -shear to shear, in degrees."""

    def transforms(self, draws: Draws, size: tuple[int, int]) -> Tensor:
        uniform = draws.uniform(5)
        signed = 2 * uniform - 1
        reach = torch.tensor([size[1], size[0]], device=uniform.device) * self.translate
        low, high = self.scale
        angle, shift = signed[:, 0] * self.degrees, signed[:, 1:3] * reach
        scale, shear = low + (high - low) * uniform[:, 3], signed[:, 4] * self.shear
        draws.tell(degrees=angle, right=shift[:, 0], down=shift[:, 1], scale=scale, shear=shear)
        return affine_matrices(angle, shift, scale, shear)
