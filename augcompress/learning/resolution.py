"""Progressive resolution: training on small images first."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augcompress.errors import AugcompressError
from augcompress.modules import in_evaluation
from augcompress.spec.sections import Resolution


def share_at(resolution: Sequence[Resolution], epochs_done: float) -> float:
    """Height and width, as a share of their own, when this share of the epochs is finished."""
    return next((one.size for one in resolution if epochs_done < one.until), 1.0)


def side(length: int, share: float) -> int:
    """A side of the smaller image, in pixels."""
    return max(1, round(length * share))


def shrunk(images: Tensor, share: float) -> Tensor:
    """Images `(N,C,H,W)` scaled down, bilinear with a low-pass filter; at a share of 1 the images
    themselves."""
    if share == 1:
        return images
    size = [side(length, share) for length in images.shape[2:]]
    return F.interpolate(images, size=size, mode="bilinear", antialias=True).clamp(0, 1)


def check_takes(
    network: nn.Module, example: Tensor, resolution: Sequence[Resolution], where: str
) -> None:
    """Raises AugcompressError when the network cannot take images of one of the sizes."""
    with in_evaluation(network):
        for position, one in enumerate(resolution):
            _try_size(network, shrunk(example, one.size), f"{where}.resolution.{position}.size")


def _try_size(network: nn.Module, images: Tensor, where: str) -> None:
    try:
        with torch.no_grad():
            network(images)
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:
        height, width = images.shape[2:]
        raise AugcompressError(
            f"{where}: the network cannot take images of {height} x {width}"
            f" ({str(error).splitlines()[0]}); take a larger share, or train at one size"
        ) from error
