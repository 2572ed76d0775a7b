"""Cutout."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from augcompress.augmentations.base import Augmentation, AugmentationFacts, PixelWorker
from augcompress.augmentations.covering import Value, box_masks, colour_of, overwrite, places
from augcompress.augmentations.draws import Draws


def squares(centre: Tensor, side: int, size: tuple[int, int]) -> Tensor:
    """Masks `(N,1,H,W)` of squares about the pixels `centre` `(N,2)`; what hangs over the edge is
    lost.  An even side reaches one pixel further up and left than down and right."""
    start = centre - side // 2
    return box_masks(start, start + side, size)


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
        size = (images.shape[-2], images.shape[-1])
        centre, side = places(draws.uniform(2), size), round(self.side * min(size))
        draws.tell(row=centre[:, 0], column=centre[:, 1])
        return overwrite(images, squares(centre, side, size), colour)

    def build(self, facts: AugmentationFacts) -> PixelWorker:
        change = partial(self.change, colour=colour_of(self.value, facts))
        return PixelWorker(change, self.probability)
