"""A classifier's head: the dense layer that makes the logits, taken off and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from augcompress.errors import AugcompressError
from augcompress.models import head_name
from augcompress.networks.checkpoint import Network


def dense_head(network: Network, where: str) -> tuple[str, nn.Linear]:
    """The head's name and the head.

    Raises AugcompressError where the logits come from anything but a dense layer with a bias.
    """
    name = head_name(network.module)
    head = network.module.get_submodule(name)
    classes = len(network.classes)
    if isinstance(head, nn.Linear) and head.bias is not None and head.out_features == classes:
        return name, head
    raise AugcompressError(
        f"{where}: {network.model.kind} has no dense layer as its head, below which its features"
        " would be; choose another model"
    )


@contextmanager
def headless(network: Network, where: str) -> Iterator[int]:
    """Inside, the network gives the features `(N,D)` that its head is otherwise given; yields D."""
    name, head = dense_head(network, where)
    network.module.set_submodule(name, nn.Identity())
    try:
        yield head.in_features
    finally:
        network.module.set_submodule(name, head)


@torch.no_grad()
def set_head(network: Network, weight: Tensor, bias: Tensor, *, where: str) -> None:
    """Make the head answer `features @ weight.T + bias`; `weight` `(classes,D)`."""
    _, head = dense_head(network, where)
    head.weight.copy_(weight)
    head.bias.copy_(bias)
