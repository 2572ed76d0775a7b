"""What a network must do before anything is asked of it: logits for images, alone and in company,
the same each time; and in which memory it takes them."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from augcompress.errors import AugcompressError, cause
from augcompress.models.base import ModelFacts
from augcompress.modules import in_evaluation

CLOSE = 1e-2
"""Largest difference of an image's logits alone and in company, relative to the largest one."""
REPEATS = 8
"""Runs of which one shows that a network is random."""
_ROUNDING = 1e-5  # of features, where a fresh head makes next to nothing of them
_NOT_TAKEN = (RuntimeError, ValueError, TypeError, AssertionError)


@torch.no_grad()
def check_logits(network: nn.Module, facts: ModelFacts, where: str) -> None:
    """Run a grey image through the network in evaluation mode, alone and beside one of noise; modes
    and torch's stream are put back.

    Raises AugcompressError unless it gives logits `(N,classes)`, the same ones each time and
    whatever else is in the batch.
    """
    grey = facts.example()
    noise = torch.rand(grey.shape, generator=torch.Generator().manual_seed(0))
    both = torch.cat([grey, noise])
    with in_evaluation(network), torch.random.fork_rng(devices=[]):
        _require_running_statistics(network, where)
        alone, beside = [_logits(network, images, facts, where) for images in (grey, both)]
        if _far(alone, beside[:1]):
            again = [_logits(network, grey, facts, where) for _ in range(REPEATS)]
            why = (
                "an image has other logits each time; draw random numbers only where self.training"
                " is true"
                if any(not torch.equal(alone, each) for each in again)
                else "an image has other logits when there are others in its batch; let each"
                " image's depend on nothing else, as with batch norm's running statistics"
            )
            raise AugcompressError(f"{where}: in evaluation mode, {why}")


def _far(one: Tensor, other: Tensor) -> bool:
    return float((one - other).abs().max()) > CLOSE * float(one.abs().max()) + _ROUNDING


def _logits(network: nn.Module, images: Tensor, facts: ModelFacts, where: str) -> Tensor:
    """What the network gives for images, which must be logits."""
    try:
        logits = network(images)
    except _NOT_TAKEN as error:
        if len(images) > 1:
            raise AugcompressError(
                f"{where}: takes one image but not {len(images)} at once ({cause(error)});"
                " leave the first dimension free, as x.flatten(1) does"
            ) from error
        height, width = facts.input.size
        raise AugcompressError(
            f"{where}: cannot take images of {facts.input.channels} x {height} x {width}"
            f" ({cause(error)}); resize the images or choose another model"
        ) from error
    require_logits(logits, len(images), where, facts.classes)
    return logits


def require_logits(logits: object, count: int, where: str, classes: int | None = None) -> None:
    """Raises AugcompressError unless they are logits `(count,classes)`."""
    found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if isinstance(logits, Tensor) and not logits.is_floating_point():
        found = str(logits.dtype)
    fits = isinstance(found, tuple) and len(found) == 2 and found[0] == count
    if not fits or (classes is not None and found != (count, classes)):
        images = "one image" if count == 1 else f"{count} images"
        raise AugcompressError(
            f"{where}: gives {found} for {images}, not logits ({count}, {classes or 'classes'});"
            " let the network return one tensor of logits, in training as in evaluation"
        )


def _require_running_statistics(network: nn.Module, where: str) -> None:
    """Raises AugcompressError naming a batch norm that uses the batch's statistics now."""
    for name, layer in network.named_modules():
        if isinstance(layer, _BatchNorm) and (layer.training or layer.running_mean is None):
            raise AugcompressError(
                f"{where}: batch norm {name.removeprefix('body.')} uses the statistics of its batch"
                " in evaluation mode, so that an image's logits depend on the others; let eval()"
                " reach it, and leave track_running_stats on"
            )


@torch.no_grad()
def takes_channels_last(network: nn.Module, facts: ModelFacts) -> bool:
    """Does the network run on images, and with filters, in channels-last memory?  Not where its
    code counts on the usual order, as `view` behind a convolution does.

    The network is left as it is.
    """
    images = facts.example().repeat(2, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    network.to(memory_format=torch.channels_last)
    try:
        with in_evaluation(network), torch.random.fork_rng(devices=[]):
            network(images)
    except Exception:  # a user's own code may raise anything
        return False
    finally:
        network.to(memory_format=torch.contiguous_format)
    return True


def check_batch_of_one(network: nn.Module, example: Tensor, where: str) -> None:
    """Raises AugcompressError when batches of one image leave a batch norm in training a single
    value per channel, of which there is no variance: where the features are 1 x 1.

    `example` are images `(N,C,H,W)` on the network's device, `where` names the setting; `network`
    and its statistics are left as they are.
    """
    learning = copy.deepcopy(network).train()
    try:
        with torch.no_grad():
            learning(example[:1])
    except ValueError as error:
        raise AugcompressError(
            f"{where}: a batch of one image leaves batch norm a single value per channel"
            f" ({cause(error)}); raise it, or take batch_norm: frozen"
        ) from error
