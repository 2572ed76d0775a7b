"""Unstructured pruning by magnitude."""

from __future__ import annotations

import copy
from typing import Literal

import onnx
import torch
from onnx import numpy_helper
from pydantic import Field
from torch import Tensor, nn

from augcompress.compressions.base import (
    History,
    Layers,
    NetworkCompression,
    Prepared,
    Probe,
)
from augcompress.compressions.stored import stored_weights
from augcompress.errors import AugcompressError, LimitError
from augcompress.evidence import Measurement

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def cubic_sparsity(final: float, round: int, rounds: int) -> float:
    """Sparsity after round `round` (from 0): the cubic schedule of Zhu and Gupta 2017
    (arXiv:1710.01878), from 0 to `final`."""
    return final * (1 - (1 - (round + 1) / rounds) ** 3)


def smallest(weights: list[Tensor], share: float) -> list[Tensor]:
    """Boolean tensors, True at the `share` of all weights that is smallest in magnitude.

    Exactly `floor(share * n + 0.5)` are True; among equals the first ones.
    """
    flat = torch.cat([weight.detach().abs().flatten() for weight in weights])
    count = int(share * flat.numel() + 0.5)
    zero = torch.zeros_like(flat, dtype=torch.bool)
    zero[flat.argsort(stable=True)[:count]] = True
    parts = zero.split([weight.numel() for weight in weights])
    return [part.view_as(weight) for part, weight in zip(parts, weights, strict=True)]


class Masked(Prepared):
    """A network whose pruned weights stay at zero."""

    def __init__(self, network: nn.Module, masks: dict[str, Tensor], sparsity: float) -> None:
        """`masks`: layer's name to a boolean tensor, True where the weight is zero."""
        super().__init__(network)
        self.masks, self.sparsity = masks, sparsity

    @torch.no_grad()
    def after_step(self) -> None:
        """Zero what the optimiser moved."""
        for name, mask in self.masks.items():
            _weight(self.network, name).masked_fill_(mask, 0.0)

    def convert(self) -> tuple[nn.Module, History]:
        """The same network: its zeros are its masks."""
        self.after_step()
        history = {
            "sparsity": self.sparsity,
            "zeros": sum(int(mask.sum()) for mask in self.masks.values()),
            "weights": sum(mask.numel() for mask in self.masks.values()),
            "layers": list(self.masks),
        }
        return self.network, history


class Magnitude(NetworkCompression):
    """Set the smallest weights to zero (Han et al. 2015, arXiv:1506.02626).

    With several `rounds` gradually, by the cubic schedule of Zhu and Gupta 2017
    (arXiv:1710.01878).  Zeros are stored like any other number: the file does not get smaller by
    itself, nor does a dense runtime get faster.
    """

    kind: Literal["magnitude"] = "magnitude"
    sparsity: float = Field(0.5, gt=0, lt=1)
    """Share of the chosen layers' weights (no biases) that become zero."""
    scope: Literal["global", "layer"] = "global"
    """Compare weights across all layers, or take the same share of each."""
    layers: Layers = Layers()
    """Convolutions and dense layers to prune."""

    def prepare(
        self, network: nn.Module, probe: Probe, *, round: int = 0, original_cost: float
    ) -> Masked:
        """A copy with this round's share of weights at zero; earlier zeros stay."""
        network = copy.deepcopy(network)
        layers = self.layers.choose(network, WEIGHTED)
        share = cubic_sparsity(self.sparsity, round, self.rounds)
        weights = [_weight(network, name) for name in layers]
        if self.scope == "global":
            masks = smallest(weights, share)
        else:
            masks = [smallest([weight], share)[0] for weight in weights]
        masked = Masked(network, dict(zip(layers, masks, strict=True)), share)
        masked.after_step()
        return masked

    def replay(self, network: nn.Module, history: History) -> nn.Module:
        """The architecture is the same."""
        for name in history["layers"]:
            _weight(network, name)
        return network

    def mask_hooks(self, network: nn.Module, history: History) -> Masked:
        """Keeps the zeros that the network has now."""
        masks = {name: _weight(network, name).detach() == 0 for name in history["layers"]}
        return Masked(network, masks, history["sparsity"])

    def check(
        self, network: nn.Module, history: History, probe: Probe | None = None
    ) -> list[Measurement]:
        """At least as many zeros as promised.

        Raises LimitError when there are fewer.
        """
        weights = [_weight(network, name) for name in history["layers"]]
        zeros = sum(int((weight == 0).sum()) for weight in weights)
        total = sum(weight.numel() for weight in weights)
        if zeros < history["zeros"]:
            raise LimitError(
                f"magnitude: {zeros} of {total} weights are zero, {history['zeros']} were promised;"
                " hold the masks while training"
            )
        conditions = {"scope": self.scope, "layers": len(weights), "weights": total}
        return [
            Measurement(
                name="sparsity", value=zeros / total, better="higher", conditions=conditions
            )
        ]

    def check_file(self, graph: onnx.ModelProto, history: History) -> list[Measurement]:
        """At least as many zeros among the weights that the file stores.

        Raises LimitError when there are fewer.
        """
        arrays = [numpy_helper.to_array(one) for one in stored_weights(graph).values()]
        zeros = sum(int((array == 0).sum()) for array in arrays)
        if zeros < history["zeros"]:
            raise LimitError(
                f"magnitude: {zeros} stored weights are zero, {history['zeros']} were promised;"
                " export it again"
            )
        return []


def _weight(network: nn.Module, name: str) -> Tensor:
    try:
        return network.get_parameter(f"{name}.weight")
    except AttributeError as error:
        raise AugcompressError(
            f"magnitude: the network has no layer {name}; use the recipe it was pruned with"
        ) from error
