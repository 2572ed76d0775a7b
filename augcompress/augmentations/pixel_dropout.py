"""Pixel dropout."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

from torch import Tensor

from augcompress.augmentations.base import Augmentation, AugmentationFacts, PixelWorker, Shares
from augcompress.augmentations.blocks import blockwise
from augcompress.augmentations.covering import Value, colour_of
from augcompress.augmentations.draws import Draws
from augcompress.augmentations.pixel_draws import pixel_uniform


def drop_pixels(images: Tensor, keys: Tensor, share: Tensor, colour: Tensor) -> Tensor:
    """`colour` `(N,C)` in a `share` `(N,)` of the pixels; `keys` `(N,2)` decide which."""
    uniform = pixel_uniform(keys, images[0, 0].numel())
    lost = uniform.lt_(share[:, None]).view(len(images), 1, *images.shape[2:]).to(images.dtype)
    return images * (1 - lost) + colour[:, :, None, None] * lost  # exact, as `lost` is 1 or 0


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
