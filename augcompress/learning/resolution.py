"""Progressive resolution: training on small images first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from augcompress.batch import Batch
from augcompress.errors import AugcompressError, cause
from augcompress.networks import resized
from augcompress.spec import Resolution


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
    height, width = (side(length, share) for length in images.shape[2:])
    return resized(images, (height, width))


def check_takes(
    network: Callable[[Batch], object], example: Batch, resolution: Sequence[Resolution], where: str
) -> None:
    """Raises AugcompressError when the network cannot take images of one of the sizes."""
    for position, one in enumerate(resolution):
        smaller = example.with_images(shrunk(example.images(), one.size))
        _try_size(network, smaller, f"{where}.resolution.{position}.size")


def _try_size(network: Callable[[Batch], object], batch: Batch, where: str) -> None:
    try:
        network(batch)
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:
        height, width = batch.images().shape[2:]
        raise AugcompressError(
            f"{where}: the network cannot take images of {height} x {width}"
            f" ({cause(error)}); take a larger share, or train at one size"
        ) from error
