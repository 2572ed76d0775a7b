"""Structured pruning: channels are really removed."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from augcompress.compressions.base import (
    History,
    LayerSelection,
    NetworkCompression,
    Prepared,
    Probe,
    stored_weights,
)
from augcompress.compressions.dependencies import (
    ROOTS,
    Removal,
    dependency_graph,
    prunable,
    remove,
    resize,
    sizes_of,
    torch_pruning_at_work,
    verify_removal,
    without_channels_at_work,
)
from augcompress.errors import AugcompressError, LimitError
from augcompress.evidence import Measurement
from augcompress.modules import in_evaluation

if TYPE_CHECKING:
    import onnx
    import torch_pruning as tp


@dataclass(frozen=True)
class ChannelBlock:
    """Channels that leave together, so that what is left is a multiple of `round_to`."""

    score: float
    root: str
    channels: tuple[int, ...]


def blocks_of(root: str, importance: Tensor, round_to: int, scope: str) -> list[ChannelBlock]:
    """A root layer's channels, least important first, cut into blocks that can be removed in turn.

    At least `round_to` channels stay.  The score is the block's largest importance so far (scope
    global), or the share of the layer that is gone with it (scope layer).
    """
    order = importance.argsort(stable=True).tolist()
    blocks, start, floor = [], 0, 0.0
    total = len(order)
    while total - start > round_to:
        end = start + ((total - start) % round_to or round_to)
        floor = max(floor, float(importance[order[start:end]].mean()))
        score = floor if scope == "global" else end / total
        blocks.append(ChannelBlock(score, root, tuple(sorted(order[start:end]))))
        start = end
    return blocks


def together(blocks: list[ChannelBlock]) -> Removal:
    """The channels of several blocks, by root layer."""
    removal: Removal = {}
    for block in blocks:
        removal.setdefault(block.root, []).extend(block.channels)
    return {root: sorted(channels) for root, channels in removal.items()}


class Channels(NetworkCompression):
    """Remove whole channels, with every layer that depends on them (DepGraph, Fang et al. 2023,
    arXiv:2301.12900), until a share of the original MACs is left.

    Importance is summed up per channel over all layers of its group and divided by the group's
    mean.  Channels leave in blocks, least important first, so that widths stay multiples of
    `round_to`; the fewest blocks that reach the target are taken, so that the result may lie below
    it.  The network's outputs, its inputs and everything coupled to a padding shortcut (option A of
    the CIFAR ResNets) keep their width.
    """

    reshapes: ClassVar[bool] = True
    kind: Literal["channels"] = "channels"
    importance: Literal["l1", "l2", "bn_scale", "taylor", "random"] = "l2"
    """l1, l2: norm of the weights (Li et al. 2017, arXiv:1608.08710); bn_scale: batch norm's scale
    (Liu et al. 2017, arXiv:1708.06519); taylor: |weight times gradient| (Molchanov et al. 2019,
    arXiv:1906.10771); random: the control."""
    macs: float = Field(0.5, gt=0, lt=1)
    """Share of the original network's MACs to keep, after the last round."""
    scope: Literal["global", "layer"] = "global"
    """Compare channels across all layers, or take about the same share of each."""
    round_to: int = Field(8, ge=1)
    """Widths of pruned layers are multiples of this: runtimes pad channels."""
    batches: int = Field(8, ge=1)
    """Training batches whose gradients `taylor` looks at."""
    seed: int = Field(0, ge=0)
    """Seed of `random`."""
    layers: LayerSelection = LayerSelection()
    """Convolutions and dense layers that may lose output channels."""

    def prepare(self, network: nn.Module, probe: Probe, *, round: int = 0) -> Prepared:
        """A copy without the channels of this round.

        Raises AugcompressError when the target cannot be reached, or when removing would not be
        the same as masking.
        """
        network = copy.deepcopy(network)
        share = 1 - (1 - self.macs) * (round + 1) / self.rounds
        with in_evaluation(network):
            blocks = self._blocks(network, probe)
            gone = self._fewest(network, probe, blocks, share)
            pruned = remove(network, probe.example, gone)
            verify_removal(network, pruned, probe.example, gone)
        _restore_modes(network, pruned)
        return Prepared(pruned, _history(network, pruned, gone, share, probe))

    def unreachable(
        self, network: nn.Module, example: Tensor, macs: Callable[[nn.Module], float]
    ) -> str:
        with in_evaluation(network):
            groups = prunable(
                dependency_graph(network, example), set(self.layers.choose(network, ROOTS).values())
            )
            every = [
                block
                for root, group in groups.items()
                for block in blocks_of(
                    root, torch.zeros(len(group[0].idxs)), self.round_to, self.scope
                )
            ]
            smallest = remove(network, example, together(every))
            with without_channels_at_work():
                least = macs(smallest) / macs(network)
        wrong = self._too_little(least, self.macs)
        return f"macs: {wrong}" if wrong else ""

    def _too_little(self, least: float, share: float) -> str:
        if least <= share:
            return ""
        return (
            f"{share:.3g} cannot be reached, {least:.3g} is the least with widths of at least"
            f" round_to={self.round_to}; raise macs, lower round_to or include more layers"
        )

    def replay(self, network: nn.Module, history: History) -> nn.Module:
        """Resize the layers; their weights are zero until the state dict is loaded."""
        for name, sizes in history["sizes"].items():
            resize(_layer(network, name), sizes)
        return network

    def check(
        self, network: nn.Module, history: History, probe: Probe | None = None
    ) -> list[Measurement]:
        """Every pruned layer has its promised width, and the network its promised MACs.

        Raises LimitError when not.
        """
        now = sizes_of(network)
        for name, sizes in history["sizes"].items():
            if now.get(name) != sizes:
                raise LimitError(
                    f"channels: {name} has {now.get(name)}, {sizes} was promised; prune again"
                )
        kept = _macs_kept(network, history, probe)
        conditions = {"counts": "multiply-adds", "round_to": self.round_to}
        return [Measurement(name="macs_kept", value=kept, better="lower", conditions=conditions)]

    def check_file(self, graph: onnx.ModelProto, history: History) -> list[Measurement]:
        """Every pruned layer that the file has by its name has its promised width there, too.

        Raises LimitError when not.
        """
        stored = {name: list(one.dims) for name, one in stored_weights(graph).items()}
        for name, sizes in history["sizes"].items():
            width = sizes.get("out_channels", sizes.get("out_features"))
            if name in stored and width is not None and stored[name][0] != width:
                raise LimitError(
                    f"channels: {name} has {stored[name][0]} channels in the file, {width} were"
                    " promised; export it again"
                )
        return []

    def _blocks(self, network: nn.Module, probe: Probe) -> list[ChannelBlock]:
        """What can be removed, in the order in which it goes."""
        graph = dependency_graph(network, probe.example)
        chosen = set(self.layers.choose(network, ROOTS).values())
        if self.importance == "taylor":
            accumulate_gradients(network, probe, self.batches)
        blocks = []
        for root, group in prunable(graph, chosen).items():
            with torch_pruning_at_work():
                scores = self._scores(root, group)
            blocks += blocks_of(root, scores, self.round_to, self.scope)
        network.zero_grad(set_to_none=True)
        return sorted(blocks, key=lambda block: block.score)  # stable: earlier layers first

    def _scores(self, root: str, group: tp.dependency.Group) -> Tensor:
        if self.importance == "random":
            generator = torch.Generator().manual_seed(self.seed ^ zlib.crc32(root.encode()))
            return torch.rand(len(group[0].idxs), generator=generator)
        scores = scorer_of(self.importance)(group)
        if scores is None:
            raise AugcompressError(
                f"channels: {root} has no batch norm for importance bn_scale; use l2"
            )
        return scores.detach().nan_to_num().cpu()

    def _fewest(
        self, network: nn.Module, probe: Probe, blocks: list[ChannelBlock], share: float
    ) -> Removal:
        """The fewest leading blocks without which `share` of the original cost is left."""
        original = probe.original("macs")

        def cost(count: int) -> float:
            pruned = remove(network, probe.example, together(blocks[:count]))
            with without_channels_at_work():
                return probe.cost(pruned, "macs")

        if wrong := self._too_little(cost(len(blocks)) / original, share):
            raise AugcompressError(f"channels: macs {wrong}")
        low, high = 0, len(blocks)
        while low < high:
            middle = (low + high) // 2
            if cost(middle) <= share * original:
                high = middle
            else:
                low = middle + 1
        return together(blocks[:low])


def scorer_of(importance: str) -> Any:
    """Torch-Pruning's measure of a group's channels."""
    from torch_pruning import importance as known

    return {
        "l1": known.GroupMagnitudeImportance(p=1),
        "l2": known.GroupMagnitudeImportance(p=2),
        "bn_scale": known.BNScaleImportance(),
        "taylor": known.GroupTaylorImportance(),
    }[importance]


def accumulate_gradients(network: nn.Module, probe: Probe, batches: int) -> None:
    """Sum the loss's gradients over a few training batches.

    Raises AugcompressError when a layer got none.
    """
    network.zero_grad(set_to_none=True)
    with torch.enable_grad():
        for batch in islice(probe.batches(), batches):
            probe.loss(network, batch).backward()
    for name, parameter in network.named_parameters():
        if parameter.grad is None:
            raise AugcompressError(
                f"channels: {name} gets no gradient from the loss; use importance l2"
            )


def _history(
    network: nn.Module, pruned: nn.Module, gone: Removal, share: float, probe: Probe
) -> History:
    before = sizes_of(network)
    changed = {name: now for name, now in sizes_of(pruned).items() if now != before[name]}
    return {
        "sizes": changed,
        "removed": gone,
        "target": share,
        "macs": float(probe.cost(pruned, "macs")),
        "original_macs": float(probe.original("macs")),
    }


def _macs_kept(network: nn.Module, history: History, probe: Probe | None) -> float:
    macs = history["macs"] if probe is None else probe.cost(network, "macs")
    kept = macs / history["original_macs"]
    if kept > history["target"]:
        raise LimitError(
            f"channels: {kept:.4g} of the original MACs are left, at most {history['target']:.4g}"
            " was promised; prune again"
        )
    return kept


def _restore_modes(source: nn.Module, target: nn.Module) -> None:
    for ours, theirs in zip(source.modules(), target.modules(), strict=True):
        theirs.training = ours.training


def _layer(network: nn.Module, name: str) -> nn.Module:
    try:
        return network.get_submodule(name)
    except AttributeError as error:
        raise AugcompressError(
            f"channels: the network has no layer {name}; rebuild the model it was pruned from"
        ) from error
