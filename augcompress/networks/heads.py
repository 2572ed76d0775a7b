"""A classifier's head: the dense layer that makes the logits, taken off and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from augcompress.errors import AugcompressError
from augcompress.models import find_head
from augcompress.modules import in_evaluation
from augcompress.networks.checkpoint import Network


def dense_head(network: Network, where: str) -> tuple[str, nn.Linear]:
    """The head's name and the head.

    Raises AugcompressError where the logits come from anything but one dense layer with a bias.
    """
    found = find_head(network.module, network.facts.example())
    name = found.layers[0] if len(found.layers) == 1 else ""
    head = network.module.get_submodule(name)
    if isinstance(head, nn.Linear) and head.bias is not None and _is_all(network, name, head):
        return name, head
    made = f"come from {', '.join(found.layers)}" if found.layers else "come from no layer"
    raise AugcompressError(
        f"{where}: {network.model.kind} has no dense layer as its head, below which its features"
        f" would be: its logits {made}; choose another model"
    )


@torch.no_grad()
def _is_all(network: Network, name: str, head: nn.Linear) -> bool:
    """Are the logits what the layer gives for the features `(N,D)` below it, and nothing else?"""
    example = network.facts.example().to(head.weight.device)
    with in_evaluation(network.module):
        logits = network.module(example)
        with _without(network, name, head):
            features = network.module(example)
    same = features.shape[1:] == head.weight.shape[1:] and torch.allclose(head(features), logits)
    return same


@contextmanager
def _without(network: Network, name: str, head: nn.Module) -> Iterator[None]:
    network.module.set_submodule(name, nn.Identity())
    try:
        yield
    finally:
        network.module.set_submodule(name, head)


@contextmanager
def headless(network: Network, where: str) -> Iterator[int]:
    """Inside, the network gives the features `(N,D)` that its head is otherwise given; yields D."""
    name, head = dense_head(network, where)
    with _without(network, name, head):
        yield head.in_features


@torch.no_grad()
def set_head(network: Network, weight: Tensor, bias: Tensor, *, where: str) -> None:
    """Make the head answer `features @ weight.T + bias`; `weight` `(classes,D)`."""
    _, head = dense_head(network, where)
    head.weight.copy_(weight)
    head.bias.copy_(bias)
