"""A few samples at a time, so that intermediate results stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_VALUES = 1 << 18  # of a block's images: 1 MiB in float32


def blockwise(change: Callable[..., Tensor], images: Tensor, *others: Tensor) -> Tensor:
    """`change(images, *others)` where every sample is changed by itself: on a CPU block by block,
    which is up to three times faster on large batches; elsewhere at once.

    `others` have the samples along their first dimension, as the images do.
    """
    block = max(1, _VALUES // max(1, images[0].numel())) if images.is_cpu else len(images)
    if block >= len(images):
        return change(images, *others)
    parts = zip(*(tensor.split(block) for tensor in (images, *others)), strict=True)
    return torch.cat([change(*part) for part in parts])
