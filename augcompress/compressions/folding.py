"""Batch norms folded into the convolution before them, for weights whose values are the promise.

The exporter folds them anyway, and spoils such weights; folded first, they arrive as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from augcompress.errors import AugcompressError
from augcompress.modules import in_evaluation

FoldedPairs = list[tuple[str, str]]
"""A convolution's name and that of the batch norm behind it; JSON data."""
CLOSE = 1e-4


def fold_norms(network: nn.Module, example: Tensor) -> FoldedPairs:
    """Fold, in place, every batch norm that takes a convolution's output; says which.

    Raises AugcompressError when the outputs change: something else reads that convolution too.
    """
    with torch.no_grad(), in_evaluation(network):
        before = network(example)
        pairs = _pairs(network, example)
        refold_norms(network, pairs)
        after = network(example)
    allowed = CLOSE * max(1.0, float(before.abs().max()))
    if float((before - after).abs().max()) > allowed:
        raise AugcompressError(
            "folding: the network's outputs change when batch norms are folded; compress a network"
            " in which only they read the convolutions before them"
        )
    return pairs


def refold_norms(network: nn.Module, pairs: FoldedPairs) -> None:
    """Fold these pairs, in place: what `replay` needs before weights are loaded."""
    for convolution, norm in pairs:
        before, after = network.get_submodule(convolution), network.get_submodule(norm)
        assert isinstance(before, nn.Conv2d)
        assert isinstance(after, nn.BatchNorm2d)
        fused = fuse_conv_bn_eval(before.eval(), after.eval())
        network.set_submodule(convolution, fused)
        network.set_submodule(norm, nn.Identity())


def _pairs(network: nn.Module, example: Tensor) -> FoldedPairs:
    """Convolutions and the norms that take their output, each called once."""
    made: dict[int, str] = {}
    kept: list[Tensor] = []  # alive, so that no address is used twice
    calls: list[str] = []
    pairs: FoldedPairs = []
    handles = []

    def watch(name: str, layer: nn.Module) -> None:
        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls.append(name)
            kept.append(output)
            if isinstance(module, nn.Conv2d):
                made[id(output)] = name
            elif id(inputs[0]) in made:
                pairs.append((made[id(inputs[0])], name))

        handles.append(layer.register_forward_hook(note))

    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
            watch(name, layer)
    network(example)
    for handle in handles:
        handle.remove()
    return [pair for pair in pairs if all(calls.count(name) == 1 for name in pair)]
