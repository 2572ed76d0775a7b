"""Colour jitter: of brightness, contrast, saturation and hue, or in another colour space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import PixelAugmentation
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.pixel_draws import blockwise

_FROM_RGB = [
    [0.299, 0.587, 0.114],
    [-0.147108, -0.288804, 0.435912],  # 0.492 (B - Y)
    [0.614777, -0.514799, -0.099978],  # 0.877 (R - Y)
]

_Strength = Annotated[float, Field(ge=0, le=1)]


def luma(images: Tensor) -> Tensor:
    """Grey `(N,1,H,W)` of RGB images (ITU-R BT.601 weights); of others, the mean over channels."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    red, green, blue = images.split(1, dim=1)
    weights = images.new_tensor([0.2989, 0.587, 0.114])
    return (red * weights[0]).add_(green * weights[1]).add_(blue * weights[2])


def blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """`factor` of the images `(N,C,H,W)`, the rest of `other`; a factor above 1 goes beyond."""
    factor = factor.view(-1, 1, 1, 1).to(images.dtype)
    return (factor * images).add_((1 - factor) * other).clamp_(0, 1)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Towards black; `factor` `(N,)`, 1 keeps."""
    return (factor.view(-1, 1, 1, 1).to(images.dtype) * images).clamp_(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Towards each image's mean grey; `factor` `(N,)`, 1 keeps."""
    grey = luma(images)
    if len(grey) == 1:  # torch would split the sum of a single one between threads, and round so
        grey = grey.expand(2, -1, -1, -1)
    return blend(images, grey.mean((1, 2, 3), keepdim=True)[: len(images)], factor)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Towards grey, pixel by pixel; `factor` `(N,)`, 1 keeps."""
    return blend(images, luma(images), factor)


def hue_of(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in sixths of the circle, chroma and value (HSV) of RGB images, each `(N,H,W)`."""
    red, green, blue = images.unbind(1)
    value = images.amax(1)
    chroma = value - images.amin(1)
    divisor = chroma.clone().eq_(0).add_(chroma)
    is_red = red.clone().eq_(value)  # 1 or 0: `where` is several times slower on such masks
    is_green = green.clone().eq_(value).mul_(1 - is_red)
    hue = (green - blue).div_(divisor).mul_(is_red)
    hue.add_((blue - red).div_(divisor).add_(2).mul_(is_green))
    is_blue = (1 - is_red).sub_(is_green)
    hue.add_((red - green).div_(divisor).add_(4).mul_(is_blue))
    return hue, chroma, value


def colours_of(hue: Tensor, chroma: Tensor, value: Tensor) -> Tensor:
    """RGB `(N,3,H,W)` from what `hue_of` gives; the hue in sixths may be any number."""
    place = hue.new_tensor([5, 3, 1]).view(3, 1, 1) + hue[:, None]  # (N, 3, H, W)
    place.sub_((place / 6).floor_(), alpha=6)  # next to a whole circle it may stay: share is 0
    share = torch.minimum(place, 4 - place).clamp_(0, 1)
    return share.mul_(chroma[:, None]).neg_().add_(value[:, None]).clamp_(0, 1)


def adjust_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the colour circle of RGB images by `turn` `(N,)`, in whole circles."""
    hue, chroma, value = hue_of(images)
    return colours_of(hue + 6 * turn.view(-1, 1, 1).to(images.dtype), chroma, value)


_JITTERS = {
    "brightness": adjust_brightness,
    "contrast": adjust_contrast,
    "saturation": adjust_saturation,
    "hue": adjust_hue,
}


def factors(uniform: Tensor, strength: float) -> Tensor:
    """Even draws from max(0, 1 - strength) to 1 + strength."""
    low = max(0.0, 1 - strength)
    return low + (1 + strength - low) * uniform


def adjusted(channel: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    """`(N,H,W)` times `factor` `(N,)`, plus `shift` `(N,)`."""
    factor, shift = (value.view(-1, 1, 1).to(channel.dtype) for value in (factor, shift))
    return channel * factor + shift


def adjust_hsv(images: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    """RGB images with hue (in circles), saturation and value scaled and shifted; `factor` and
    `shift` `(N,3)`.  Saturation and value stop at 0 and 1, the hue goes round."""
    hue, chroma, value = hue_of(images)
    saturation = chroma / (value + (value == 0))
    channels = (hue.remainder(6) / 6, saturation, value)
    hue, saturation, value = (
        adjusted(channel, factor[:, place], shift[:, place])
        for place, channel in enumerate(channels)
    )
    saturation, value = saturation.clamp_(0, 1), value.clamp_(0, 1)
    return colours_of(6 * hue, saturation * value, value)


def adjust_yuv(images: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    """RGB images with Y, U and V (ITU-R BT.601, U and V about 0) scaled and shifted; `factor` and
    `shift` `(N,3)`."""
    from_rgb = torch.tensor(_FROM_RGB, dtype=torch.float64)
    to_rgb = torch.linalg.inv(from_rgb).float().to(images.device)
    from_rgb = from_rgb.float().to(images.device)
    changes = ((factor - 1)[:, None] * to_rgb) @ from_rgb  # (N, 3, 3), zero at a factor of 1
    moved = (to_rgb @ shift[:, :, None]).to(images.dtype)  # (N, 3, 1)
    pixels = images.flatten(2)
    result = pixels + changes.to(images.dtype) @ pixels + moved
    return result.clamp_(0, 1).view(images.shape)


class ColorJitter(PixelAugmentation):
    """Change brightness, contrast, saturation and hue, each image by factors of its own.  Where a
    recipe names some of the four, the others are off; where it names none, all have their defaults.

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
        strengths = (self.brightness, self.contrast, self.saturation)
        drawn = [factors(one, s) for one, s in zip(uniform.unbind(1), strengths, strict=False)]
        drawn.append((2 * uniform[:, 3] - 1) * self.hue)
        kept = 4 if images.shape[1] == 3 else 2
        draws.tell(None, **dict(zip(_JITTERS, drawn[:kept], strict=False)))
        return blockwise(self._changed, images, *drawn[:kept])

    def _changed(self, images: Tensor, *drawn: Tensor) -> Tensor:
        strengths = (self.brightness, self.contrast, self.saturation, self.hue)
        for adjust, own, strength in zip(_JITTERS.values(), drawn, strengths, strict=False):
            images = adjust(images, own) if strength else images
        return images


class ColorSpaceJitter(PixelAugmentation):
    """Scale and shift the channels of another colour space, each image by draws of its own.  Where
    a recipe names one of the two, the other is off; where it names none, both have their defaults.

    Images that are not RGB have brightness alone: all their channels are changed as value (HSV) or
    Y (YUV) would be.
    """

    label_safety: ClassVar[str] = "classes told apart by colour or brightness (ripeness, stains)"
    neutral: ClassVar[Mapping[str, Any]] = {"scale": (0.0,) * 3, "shift": (0.0,) * 3}

    kind: Literal["color_space_jitter"] = "color_space_jitter"
    space: Literal["hsv", "yuv"] = "hsv"
    """HSV: hue in circles, saturation and value from 0 to 1; YUV: brightness Y from 0 to 1, U and V
    about 0 (ITU-R BT.601)."""
    scale: tuple[_Strength, _Strength, _Strength] = (0.0, 0.2, 0.2)
    """For each channel of the space, the factor is drawn evenly from 1 - scale to 1 + scale."""
    shift: tuple[_Strength, _Strength, _Strength] = (0.05, 0.05, 0.05)
    """For each channel of the space, what is added is drawn evenly from -shift to shift."""

    def change(self, images: Tensor, draws: Draws) -> Tensor:
        signed = 2 * draws.uniform(6) - 1
        factor = 1 + signed[:, :3] * signed.new_tensor(self.scale)
        shift = signed[:, 3:] * signed.new_tensor(self.shift)
        draws.tell(factor=factor, shift=shift)
        if images.shape[1] == 3:
            adjust = adjust_hsv if self.space == "hsv" else adjust_yuv
            return blockwise(adjust, images, factor, shift)
        brightness = 2 if self.space == "hsv" else 0
        factor, shift = (v[:, brightness, None, None, None] for v in (factor, shift))
        return (images * factor.to(images.dtype) + shift.to(images.dtype)).clamp_(0, 1)
