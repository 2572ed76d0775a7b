"""A data set as found, and as it is split for a run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from augcompress.batch import Batch, ImageInput
from augcompress.datasets.copies import Copies
from augcompress.datasets.splits import FileSplit, Split, Stored, made_anew


@dataclass(frozen=True)
class DataFacts:
    """What a data set must know of the run."""

    seed: int
    """Draws the validation part and the subset."""
    at_most: int | None = None
    """Train on no more images than this, where there are more; None: on all."""
    stored: Stored = made_anew
    """Finds again what has been decoded before."""


@dataclass(frozen=True, eq=False)
class Source:
    """A data set as found, before a validation part is cut."""

    classes: list[str]
    """Class names; a label is a position in this list."""
    train: Split
    test: Split
    """Empty where the source has none; its validation images are then the test part."""
    resizing: dict[str, Any]
    """Evaluation preprocessing, for `load_image`."""
    skipped: list[str] = field(default_factory=list)
    """Corrupt files that were left out."""
    validation: Split | None = None
    """Validation images that the source brings; None: they are cut from another part."""
    notes: list[str] = field(default_factory=list)
    """What a user should know of the source, in sentences."""

    def decoded(self, stored: Stored) -> Source:
        """The source with the images decoded that shall be held in memory; what parts share, once.

        Raises AugcompressError naming one that cannot be decoded.
        """
        images: dict[int, Tensor] = {}

        def part(split: Any) -> Any:
            if not isinstance(split, FileSplit) or not split.in_memory:
                return split
            if id(split.files) not in images:
                images[id(split.files)] = split.decoded(stored)
            return split.held(images[id(split.files)])

        parts = (part(split) for split in (self.train, self.test, self.validation))
        return replace(self, **dict(zip(("train", "test", "validation"), parts, strict=True)))


@dataclass(frozen=True, eq=False)
class Data:
    """A data set, split and described."""

    classes: list[str]
    """Class names; a label is a position in this list."""
    channels: int
    size: tuple[int, int]
    """Height and width of every image."""
    train: Split
    validation: Split
    test: Split
    unlabelled: Split
    """The training images before `keep`, `subset` and `at_most` thin them out: for learning without
    labels, which are there and not to be looked at."""
    mean: list[float]
    """Per channel, of pixels in [0,1] in `train`: subtracted."""
    std: list[float]
    """Per channel, of pixels in [0,1] in `train`: divided by."""
    resizing: dict[str, Any]
    """Evaluation preprocessing as JSON data, for `load_image`."""
    all_classes: list[str]
    """Class names of the source, before `classes` chose some of them."""
    copies: Copies = field(default_factory=Copies)
    """Samples that are there more than once."""
    skipped: list[str] = field(default_factory=list)
    """Corrupt files that were left out."""
    notes: list[str] = field(default_factory=list)
    """What a user should know of the source, in sentences."""

    @property
    def input(self) -> ImageInput:
        """What a network for these data takes."""
        return ImageInput(self.channels, self.size)

    @property
    def source_size(self) -> int:
        """Rows of a table that is looked up by the `Batch.index` of training samples: one more than
        the largest."""
        return int(self.train.index.max()) + 1

    def encode(self, batch: Batch) -> Batch:
        """Raw inputs as tensors, after augmentation; images are that already."""
        return batch

    def ready(self, batch: Batch, device: torch.device | str) -> Batch:
        """The batch as networks and files take it: encoded, on `device`, images in [0,1] and in
        channels-last memory.  A batch that is ready stays as it is.

        Every batch goes to a network this way: in training, validation, calibration and parity.
        """
        moved = self.encode(batch).to(device).scaled()
        if not isinstance(moved.inputs, Tensor):
            return moved
        return moved.with_images(moved.inputs.contiguous(memory_format=torch.channels_last))
