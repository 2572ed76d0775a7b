"""A network's layers from input to output, as a forward pass meets them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from augcompress.models.head import Head
from augcompress.modules import in_evaluation


def backbone_layers(network: nn.Module, example: Tensor, head: Head) -> list[nn.Module]:
    """The modules below the head that hold parameters of their own, from input to output.

    Their order is that in which a forward pass of `example` `(N,C,H,W)`, on the network's device,
    enters them: a container with parameters (a class token, a layer scale) stands before what is in
    it.  A module that the pass does not enter, as where only its weights are used, follows the one
    registered before it.  Each parameter belongs to one of these modules directly or to the head,
    whose parameters one of them may hold, too; one that several modules share belongs to each.
    The pass runs in evaluation mode without gradients; modes are put back.
    """
    named = dict(network.named_parameters())
    above = {id(named[name]) for name in head.parameters}
    entered = _entries(network, example)
    found, moment = [], 0
    for place, module in enumerate(network.modules()):
        moment = entered.get(module, moment)
        if any(id(own) not in above for own in module.parameters(recurse=False)):
            found.append((moment, place, module))
    return [module for _, _, module in sorted(found, key=lambda each: each[:2])]


def _entries(network: nn.Module, example: Tensor) -> dict[nn.Module, int]:
    """When a forward pass first enters each module, from 1."""
    entered: dict[nn.Module, int] = {}

    def enter(module: nn.Module, inputs: Any) -> None:
        entered.setdefault(module, len(entered) + 1)

    handles = [module.register_forward_pre_hook(enter) for module in network.modules()]
    try:
        with in_evaluation(network), torch.no_grad():
            network(example)
    finally:
        for handle in handles:
            handle.remove()
    return entered
