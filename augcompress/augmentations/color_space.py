"""Colour-space jitter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import PixelAugmentation
from augcompress.augmentations.blocks import blockwise
from augcompress.augmentations.color_jitter import colours_of, hue_of
from augcompress.augmentations.draws import Draws

_FROM_RGB = [
    [0.299, 0.587, 0.114],
    [-0.147108, -0.288804, 0.435912],  # 0.492 (B - Y)
    [0.614777, -0.514799, -0.099978],  # 0.877 (R - Y)
]

_Strength = Annotated[float, Field(ge=0, le=1)]


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


class ColorSpaceJitter(PixelAugmentation):
    """Scale and shift the channels of another colour space, each image by draws of its own.

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
