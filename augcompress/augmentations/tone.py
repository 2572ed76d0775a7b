"""Tone: new levels for old ones, by a fixed curve or by one read off the image itself.

All take images `(N,C,H,W)` in [0,1] and give images of the same kind; values are those of
`torchvision.transforms.v2.functional` on float images.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LEVELS = 256
_TO_LEVEL = 255.999  # floor(value * this) brings k/255 back to k, and 1 to 255


def invert(images: Tensor) -> Tensor:
    """The negative."""
    return 1 - images


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """The first `bits` `(N,)`, whole numbers from 0 to 8, of every value: rounded down to a
    multiple of 2^-bits, 1 to the highest below 1.  Eight bits keep a value to 1/256."""
    levels = (1 << bits.long()).to(images.dtype).view(-1, 1, 1, 1)
    result = (images * levels).floor_()
    return torch.minimum(result, levels - 1, out=result).mul_(1 / levels)  # exact: powers of two


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """The negative of the values from `threshold` `(N,)` on; at 1, of pure white alone."""
    threshold = threshold.view(-1, 1, 1, 1).to(images.dtype)
    bright = images.clone().ge_(threshold)  # 1 or 0
    return bright.sub_(images).abs_()  # `where` is several times slower on masks like this


def autocontrast(images: Tensor) -> Tensor:
    """Every channel stretched to reach from 0 to 1; one without any contrast stays."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    flat = high == low
    low, span = low.masked_fill(flat, 0), (high - low).masked_fill(flat, 1)
    return (images - low).div_(span).clamp_(0, 1)


def equalize(images: Tensor) -> Tensor:
    """Every channel with its 256 levels spread so that all are about equally frequent.

    The rule is PIL's: with `step` = 1/255 of the pixels below the brightest level, a level becomes
    (pixels below it + step/2) / step, in whole numbers.  A channel whose step is 0 stays.
    """
    levels = (images.flatten(2).float() * _TO_LEVEL).int()  # (N, C, H*W)
    curve = equalizing_curve(levels).to(images.dtype)
    return curve.gather(2, levels.long()).view(images.shape)


def equalizing_curve(levels: Tensor) -> Tensor:
    """The new value in [0,1] of each of the 256 levels: float32 `(N,C,256)`; from the levels
    `(N,C,pixels)` int32 of all pixels.  Counts are whole numbers, exact in float32 to 2^24."""
    rows, same = levels.flatten(0, 1), torch.arange(_LEVELS, device=levels.device)
    first = _LEVELS * torch.arange(len(rows), dtype=levels.dtype, device=levels.device)
    counts = (rows + first[:, None]).flatten().bincount(minlength=_LEVELS * len(rows))
    counts = counts.view(*levels.shape[:2], _LEVELS).float()
    brightest = counts.gather(2, (same * (counts > 0)).amax(2, keepdim=True))
    step = ((levels.shape[2] - brightest) / (_LEVELS - 1)).floor_()  # (N, C, 1)
    below = counts.cumsum(2) - counts
    spread = ((below + (step / 2).floor_()) / step.clamp_min(1)).floor_().clamp_max_(_LEVELS - 1)
    return torch.where(step > 0, spread, same) / (_LEVELS - 1)


def adjust_sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Away from a 3x3 blur with a weight of 5 in its centre and 1 around; `factor` `(N,)`: 0 is the
    blur, 1 keeps.  The outermost pixels stay, and so do images of two rows or columns and fewer."""
    if min(images.shape[2:]) < 3:
        return images.clone()
    result = images.clone()
    inner = result[:, :, 1:-1, 1:-1]
    rows = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    blurred = box.add_(inner, alpha=4).div_(13)
    inner.add_(blurred.sub_(inner).mul_((1 - factor).view(-1, 1, 1, 1).to(images.dtype)))
    return result.clamp_(0, 1)
