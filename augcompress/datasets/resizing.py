"""Settings of data sets whose images are decoded and resized."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from augcompress.component import NotInKey
from augcompress.datasets.base import DatasetSettings
from augcompress.datasets.drawing import FIXED_SEED, stratified
from augcompress.datasets.splits import decoded_bytes
from augcompress.errors import AugcompressError
from augcompress.inference import direct, scaled_from

CROPPED_FROM = 96
"""Images of this side or more are resized by 256/224 and centre-cropped, as is the custom for
ImageNet; smaller ones are resized directly."""


class ResizedImages(DatasetSettings):
    """Images that are decoded, resized and centre-cropped to one size."""

    size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = None
    """Side, or (height, width), of the images that networks see, in pixels.  None: that of the
    published weights that the student starts from, or else the teacher; then `resize`, `fit` and
    `interpolation` are theirs too, where the recipe gives none."""
    fit: Literal["crop", "stretch"] | None = None
    """How an image becomes one of that size: `crop` resizes it, with its proportions, and takes the
    middle; `stretch` resizes it to the size directly.  None: `crop` from 96 pixels on or with
    `resize`, else `stretch`."""
    resize: PositiveInt | None = None
    """Shorter side before the centre crop, in pixels.  None: size · 256/224."""
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    """How images are resampled."""
    mode: Literal["RGB", "L"] = "RGB"
    """Colour (3 channels) or grey (1 channel)."""
    decoding: Literal["auto", "full"] = "auto"
    """`auto`: a JPEG image is decoded at 1/2, 1/4 or 1/8 of its size where that is still at least
    twice the size it is resized to: several times as fast on photographs of a camera, and about a
    grey level different.  `full`: every pixel.  `predict` and `predict.py` do the same."""
    corrupt: Literal["error", "skip"] = "error"
    """What to do about an image that cannot be decoded: stop and name it, or leave it out and count
    it."""
    in_memory_mb: Annotated[int, NotInKey()] = Field(1024, ge=0)
    """Splits smaller than this when decoded are held in memory; larger ones are decoded anew in
    each epoch.  In MiB."""

    @model_validator(mode="after")
    def crop_fits_into_resize(self) -> ResizedImages:
        if self.size is None or self.resize is None:
            return self
        if self.resize < max(self._size()):
            raise ValueError(
                f"resize: {self.resize} is less than the size; give at least {max(self._size())}"
            )
        if self.fit == "stretch":
            raise ValueError("resize is the shorter side before a crop; leave it out, or fit")
        return self

    def resizing(self) -> dict[str, Any]:
        """The evaluation preprocessing, for `load_image`."""
        size = self._size()
        resizing = direct(size, self.mode, self.interpolation)
        usual = "crop" if self.resize is not None or max(size) >= CROPPED_FROM else "stretch"
        if (self.fit or usual) == "crop":
            side = self.resize or round(max(size) * 256 / 224)
            resizing |= {"resize": side, "crop": list(size)}
        least = scaled_from(resizing) if self.decoding == "auto" else None
        return resizing | ({} if least is None else {"scaled_decoding": least})

    def fits_into_memory(self, count: int) -> bool:
        """Are so many images held decoded?"""
        return decoded_bytes(count, self.resizing()) < self.in_memory_mb << 20

    def _size(self) -> tuple[int, int]:
        if self.size is None:
            raise AugcompressError("data.size: is missing; give it in pixels: data.size=64")
        return (self.size, self.size) if isinstance(self.size, int) else self.size


def draw_test(labels: np.ndarray, share: float, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Places of the test images, a stratified share, the same for every seed; and of the others.

    Raises AugcompressError, naming the setting `where`, when there are no test images.
    """
    test, train = stratified(labels, round(share * len(labels)), FIXED_SEED)
    if not len(test):
        raise AugcompressError(
            f"{where}: {share} of {len(labels)} images leaves none to test; add images"
        )
    return test, train
