"""Unstructured pruning by magnitude."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from augcompress.compressions.base import (
    WEIGHTED,
    History,
    LayerSelection,
    NetworkCompression,
    Prepared,
    Probe,
    count_zeros,
)
from augcompress.errors import AugcompressError, LimitError
from augcompress.evidence import Measurement

if TYPE_CHECKING:
    import onnx

PRUNABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


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

    def __init__(self, network: nn.Module, masks: dict[str, Tensor], round: int = 0) -> None:
        """`masks`: layer's name to a boolean tensor `(out,in,…)`, True where the weight is zero."""
        super().__init__(network)
        self.masks, self.round = masks, round

    @torch.no_grad()
    def after_step(self) -> None:
        """Zero what the optimiser moved."""
        for name, mask in self.masks.items():
            _weight(self.network, name).masked_fill_(mask, 0.0)

    def convert(self) -> tuple[nn.Module, History]:
        """The same network: its zeros are its masks."""
        self.after_step()
        layers = {name: mask.numel() for name, mask in self.masks.items()}
        return self.network, {"round": self.round, "layers": layers}


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
    layers: LayerSelection = LayerSelection()
    """Convolutions and dense layers to prune."""

    def prepare(self, network: nn.Module, probe: Probe, *, round: int = 0) -> Masked:
        """A copy with this round's share of weights at zero; earlier zeros stay."""
        network = copy.deepcopy(network)
        layers = self.layers.choose(network, PRUNABLE)
        share = cubic_sparsity(self.sparsity, round, self.rounds)
        weights = [_weight(network, name) for name in layers]
        if self.scope == "global":
            masks = smallest(weights, share)
        else:
            masks = [smallest([weight], share)[0] for weight in weights]
        masked = Masked(network, dict(zip(layers, masks, strict=True)), round)
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
        return Masked(network, masks)

    def check(
        self, network: nn.Module, history: History, probe: Probe | None = None
    ) -> list[Measurement]:
        """At least as many zeros in the chosen layers as the recipe's sparsity says.

        Raises LimitError when there are fewer.
        """
        weights = [_weight(network, name) for name in self.layers.choose(network, PRUNABLE)]
        zeros = sum(int((weight == 0).sum()) for weight in weights)
        total = sum(weight.numel() for weight in weights)
        promised = self._promised([weight.numel() for weight in weights], history)
        if zeros < promised:
            raise LimitError(
                f"magnitude: {zeros} of {total} weights are zero, {promised} were promised;"
                " keep the masks while training"
            )
        conditions = {"scope": self.scope, "layers": len(weights), "weights": total}
        return [
            Measurement(
                name="sparsity", value=zeros / total, better="higher", conditions=conditions
            )
        ]

    def check_file(self, graph: onnx.ModelProto, history: History) -> list[Measurement]:
        """At least as many zeros among the chosen layers' weights in the file, in int8 those that
        equal the zero point.  Nodes that lost their layer's name count where a layer is missing.

        Raises LimitError when there are fewer.
        """
        layers, found = history["layers"], count_zeros(graph)
        nameless = [name for name in found if name.partition("_")[0] in WEIGHTED]
        counted = list(layers) if set(layers) <= set(found) else [*layers, *nameless]
        zeros = sum(found.get(name, 0) for name in counted)
        promised = self._promised(list(layers.values()), history)
        if zeros < promised:
            raise LimitError(
                f"magnitude: {zeros} stored weights are zero, {promised} were promised;"
                " export it again"
            )
        return []

    def _promised(self, sizes: list[int], history: History) -> int:
        """Zeros among layers of these sizes after the history's round."""
        share = cubic_sparsity(self.sparsity, history["round"], self.rounds)
        parts = sizes if self.scope == "layer" else [sum(sizes)]
        return sum(int(share * size + 0.5) for size in parts)


def _weight(network: nn.Module, name: str) -> Tensor:
    try:
        return network.get_parameter(f"{name}.weight")
    except AttributeError as error:
        raise AugcompressError(
            f"magnitude: the network has no layer {name}; use the recipe it was pruned with"
        ) from error
