"""Tone curves, fixed or read off the image's own histogram."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field
from torch import Tensor

from augcompress.augmentations.base import PixelAugmentation, Shares
from augcompress.augmentations.draws import Draws, between
from augcompress.augmentations.pixel_draws import blockwise
from augcompress.augmentations.tone import autocontrast, equalize, invert, posterize, solarize

_Bits = Annotated[int, Field(ge=1, le=8)]


def _fewest_first(bits: tuple[int, int]) -> tuple[int, int]:
    if bits[0] > bits[1]:
        raise ValueError(f"is upside down; write the fewer bits first: [{bits[1]}, {bits[0]}]")
    return bits


class Posterize(PixelAugmentation):
    """Keep only the first bits of every value (AutoAugment, Cubuk et al. 2019, arXiv:1805.09501,
    whose range the default is).

    Values are torchvision's on float images: rounded down to a multiple of 2^-bits, so that eight
    bits still darken by up to 1/256.
    """

    label_safety: ClassVar[str] = "classes told apart by fine shades (skin, X-ray, sky)"

    kind: Literal["posterize"] = "posterize"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples that are posterized."""
    bits: Annotated[tuple[_Bits, _Bits], AfterValidator(_fewest_first)] = (4, 8)
    """Bits that are kept: every whole number in this range, ends included, is equally likely."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        bits = between((self.bits[0], self.bits[1] + 1), draws.uniform(1)[:, 0]).floor()
        draws.tell(bits=bits)
        return blockwise(posterize, images, bits)


class Solarize(PixelAugmentation):
    """Turn the bright values, from a threshold on, into their negative (AutoAugment, Cubuk et al.
    2019, arXiv:1805.09501, whose range the default is).

    As in torchvision the threshold itself is bright: at 1, pure white still turns black.
    """

    label_safety: ClassVar[str] = "classes told apart by brightness or colour (day and night)"

    kind: Literal["solarize"] = "solarize"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples that are solarized."""
    threshold: Shares = (0.0, 1.0)
    """Value from which on a pixel is inverted, drawn evenly from this range; 0 inverts all."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        threshold = draws.in_range("threshold", self.threshold)
        return blockwise(solarize, images, threshold)


class Invert(PixelAugmentation):
    """Swap dark and bright: the negative (AutoAugment, Cubuk et al. 2019, arXiv:1805.09501)."""

    label_safety: ClassVar[str] = "classes told apart by brightness or colour (chess pieces)"

    kind: Literal["invert"] = "invert"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples that are inverted."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        return invert(images)


class Equalize(PixelAugmentation):
    """Spread the levels of every channel so that all are about equally frequent (AutoAugment, Cubuk
    et al. 2019, arXiv:1805.09501).

    Values are counted in 256 levels, as PIL and torchvision do.  A channel with fewer than 255
    pixels below its brightest level (all channels of images under 16x16) keeps its levels.
    """

    label_safety: ClassVar[str] = "classes told apart by brightness, contrast or tint"

    kind: Literal["equalize"] = "equalize"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples that are equalized."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        return blockwise(equalize, images)


class Autocontrast(PixelAugmentation):
    """Stretch every channel to reach from 0 to 1 (AutoAugment, Cubuk et al. 2019,
    arXiv:1805.09501); a channel of one single value stays."""

    label_safety: ClassVar[str] = "classes told apart by brightness, contrast or tint"

    kind: Literal["autocontrast"] = "autocontrast"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the samples that are stretched."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        return blockwise(autocontrast, images)
