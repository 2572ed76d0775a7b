"""The batch: what flows from a data set through augmentation into the networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

Inputs = Tensor | dict[str, Tensor] | list[str]


@dataclass(frozen=True)
class ImageInput:
    """What a network takes: images `(N,channels,*size)` in [0,1]."""

    channels: int
    """1 grey, 3 RGB."""
    size: tuple[int, int]
    """Height and width in pixels."""
    kind: Literal["image"] = "image"


@dataclass(frozen=True)
class Batch:
    """Samples side by side."""

    inputs: Inputs
    """Images `(N,C,H,W)`: uint8 as stored, float in [0,1] after `scaled()`; a dict of tensors for
    encoded text; a list of raw texts before encoding."""
    targets: Tensor | None
    """Soft targets `(N,classes)`, rows sum to 1; None where unlabelled."""
    index: Tensor
    """`(N,)` int64: positions in the source that the split was cut from, the same whatever `subset`
    and `classes` leave out; caches, memory banks and keyed draws hang on it."""
    view: Tensor | None = None
    """`(N,)` int64: which version of its image each sample is, as an epoch may show an image more
    than once: each draws for itself.  None: every one is the first."""
    disposable: bool = False
    """May its images be overwritten?  Where a pipeline has made them itself, between its steps."""

    def __len__(self) -> int:
        return len(self.index)

    def images(self) -> Tensor:
        """The inputs, known to be images."""
        if not isinstance(self.inputs, Tensor):
            raise TypeError("this batch holds no images")
        return self.inputs

    def to(self, device: torch.device | str) -> Batch:
        """The batch on `device` (without waiting, where memory is pinned)."""
        return self._each(lambda value: value.to(device, non_blocking=True))

    def take(self, rows: Tensor | slice) -> Batch:
        """The samples at these places `(M,)`, or in this slice, with all that belongs to them."""
        taken = self._each(lambda value: value[rows])
        if not isinstance(self.inputs, list):
            return taken
        places = range(len(self))[rows] if isinstance(rows, slice) else rows.tolist()
        return replace(taken, inputs=[self.inputs[place] for place in places])

    def pieces(self, count: int) -> list[Batch]:
        """The batch in `count` parts of nearly equal size, in order; views, not copies."""
        if count == 1:
            return [self]
        ends = [len(self) * place // count for place in range(count + 1)]
        return [self.take(slice(start, end)) for start, end in pairwise(ends) if end > start]

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with every tensor changed; texts stay."""
        inputs = self.inputs
        if isinstance(inputs, Tensor):
            inputs = change(inputs)
        elif isinstance(inputs, dict):
            inputs = {name: change(value) for name, value in inputs.items()}
        targets, view = (
            None if value is None else change(value) for value in (self.targets, self.view)
        )
        return Batch(inputs, targets, change(self.index), view)

    def scaled(self) -> Batch:
        """uint8 images become float in [0,1]; everything else stays as it is."""
        if isinstance(self.inputs, Tensor) and self.inputs.dtype == torch.uint8:
            return replace(self, inputs=self.inputs.float().div_(255))
        return self

    def with_images(self, images: Tensor, targets: Tensor | None = None) -> Batch:
        """A copy with other images, and other targets where given."""
        targets = self.targets if targets is None else targets
        return replace(self, inputs=images, targets=targets, disposable=False)


@dataclass(frozen=True)
class Progress:
    """Where training stands; augmentations, ramps and schedules read it."""

    epoch: int = 0
    """Epochs finished."""
    step: int = 0
    """Optimiser steps finished."""
    fraction: float = 0.0
    """Share of the whole training that is done, 0 to 1."""
    epochs_done: float = 1.0
    """Share of the epochs that are finished, 0 to 1: the same throughout an epoch, so that what
    hangs on it (ramps, resolution) does not depend on the step.  1, all ramps at their end, where
    nothing is trained."""
