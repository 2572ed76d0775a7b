"""Colour jitter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import PixelAugmentation
from augcompress.augmentations.draws import Draws


def luma(images: Tensor) -> Tensor:
    """Grey `(N,1,H,W)` of RGB images (ITU-R BT.601 weights); of others, the mean over channels."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    return (images * images.new_tensor([0.2989, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)


def blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """`factor` of the images `(N,C,H,W)`, the rest of `other`; a factor above 1 goes beyond."""
    factor = factor.view(-1, 1, 1, 1).to(images.dtype)
    return (factor * images + (1 - factor) * other).clamp_(0, 1)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Towards black; `factor` `(N,)`, 1 keeps."""
    return blend(images, torch.zeros_like(images), factor)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Towards each image's mean grey; `factor` `(N,)`, 1 keeps."""
    return blend(images, luma(images).mean((1, 2, 3), keepdim=True), factor)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Towards grey, pixel by pixel; `factor` `(N,)`, 1 keeps."""
    return blend(images, luma(images), factor)


def hue_of(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in sixths of the circle, chroma and value (HSV) of RGB images, each `(N,H,W)`."""
    red, green, blue = images.unbind(1)
    value, chroma = images.amax(1), images.amax(1) - images.amin(1)
    divisor = chroma + (chroma == 0)
    from_red, from_green = (green - blue) / divisor, 2 + (blue - red) / divisor
    from_blue = 4 + (red - green) / divisor
    is_red = (value == red).to(value.dtype)  # 1 or 0: `where` is several times slower on such masks
    is_green = (value == green).to(value.dtype) * (1 - is_red)
    hue = from_red * is_red + from_green * is_green + from_blue * (1 - is_red - is_green)
    return hue, chroma, value


def colours_of(hue: Tensor, chroma: Tensor, value: Tensor) -> Tensor:
    """RGB `(N,3,H,W)` from what `hue_of` gives; the hue in sixths may be any number."""
    place = hue.new_tensor([5, 3, 1]).view(3, 1, 1) + hue[:, None]  # (N, 3, H, W)
    place = place.remainder(6)
    share = torch.minimum(place, 4 - place).clamp_(0, 1)
    return (value[:, None] - chroma[:, None] * share).clamp_(0, 1)


def adjust_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the colour circle of RGB images by `turn` `(N,)`, in whole circles."""
    hue, chroma, value = hue_of(images)
    return colours_of(hue + 6 * turn.view(-1, 1, 1).to(images.dtype), chroma, value)


def factors(uniform: Tensor, strength: float) -> Tensor:
    """Even draws from max(0, 1 - strength) to 1 + strength."""
    low = max(0.0, 1 - strength)
    return low + (1 + strength - low) * uniform


class ColorJitter(PixelAugmentation):
    """Change brightness, contrast, saturation and hue, each image by factors of its own.

    Meaning of the factors as in torchvision's `ColorJitter`; the defaults are SimCLR's for CIFAR-10
    (Chen et al. 2020, arXiv:2002.05709, strength 0.5).  Unlike torchvision the order is always
    brightness, contrast, saturation, hue.  Images that are not RGB skip saturation and hue.
    """

    label_safety: ClassVar[str] = "classes told apart by colour or brightness (ripeness, stains)"
    neutral: ClassVar[Mapping[str, Any]] = {
        "brightness": 0.0,
        "contrast": 0.0,
        "saturation": 0.0,
        "hue": 0.0,
    }

    kind: Literal["color_jitter"] = "color_jitter"
    brightness: float = Field(0.4, ge=0)
    """Factor from max(0, 1 - brightness) to 1 + brightness; 0 turns it off."""
    contrast: float = Field(0.4, ge=0)
    """Factor from max(0, 1 - contrast) to 1 + contrast; 0 turns it off."""
    saturation: float = Field(0.4, ge=0)
    """Factor from max(0, 1 - saturation) to 1 + saturation; 0 turns it off."""
    hue: float = Field(0.1, ge=0, le=0.5)
    """Turn of the colour circle, from -hue to hue circles; 0 turns it off."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        uniform = draws.uniform(4)
        brightness = factors(uniform[:, 0], self.brightness)
        contrast = factors(uniform[:, 1], self.contrast)
        draws.tell(brightness=brightness, contrast=contrast)
        if self.brightness:
            images = adjust_brightness(images, brightness)
        if self.contrast:
            images = adjust_contrast(images, contrast)
        return self._change_colour(images, uniform, draws) if images.shape[1] == 3 else images

    def _change_colour(self, images: Tensor, uniform: Tensor, draws: Draws) -> Tensor:
        saturation = factors(uniform[:, 2], self.saturation)
        turn = (2 * uniform[:, 3] - 1) * self.hue
        draws.tell(saturation=saturation, hue=turn)
        if self.saturation:
            images = adjust_saturation(images, saturation)
        if self.hue:
            images = adjust_hue(images, turn)
        return images
