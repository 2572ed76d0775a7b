"""Layers that lose channels together: removing them, masking them, and that both are the same."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from augcompress.errors import AugcompressError, first_line
from augcompress.modules import in_evaluation

if TYPE_CHECKING:
    import torch_pruning as tp

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
ROOTS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
SIZES = ("in_channels", "out_channels", "groups", "in_features", "out_features", "num_features")
TOLERANCE = 1e-4  # removing against masking, relative to the outputs: another summation order

Removal = dict[str, list[int]]
"""Root layer's name to the output channels that it loses."""


def sizes_of(network: nn.Module) -> dict[str, dict[str, int]]:
    """The channel counts of every layer that has some."""
    found = {}
    for name, layer in network.named_modules():
        if isinstance(layer, ROOTS + BATCH_NORMS):
            found[name] = {key: int(getattr(layer, key)) for key in SIZES if hasattr(layer, key)}
    return found


def dependency_graph(network: nn.Module, example: Tensor) -> tp.DependencyGraph:
    """Which layers lose channels together (DepGraph, Fang et al. 2023, arXiv:2301.12900).

    Raises AugcompressError when the network cannot be traced.
    """
    from torch_pruning import DependencyGraph

    network.requires_grad_(True)
    with torch_pruning_at_work(), torch.enable_grad():
        return DependencyGraph().build_dependency(network, example, verbose=False)


@contextmanager
def torch_pruning_at_work() -> Iterator[None]:
    """Whatever goes wrong inside becomes an AugcompressError that names Torch-Pruning."""
    with _told("Torch-Pruning cannot follow this network", "use magnitude, or another model"):
        yield


@contextmanager
def without_channels_at_work() -> Iterator[None]:
    """Whatever goes wrong inside becomes an AugcompressError of a network that was pruned."""
    problem = "the network does not run without the channels that Torch-Pruning has removed"
    with _told(problem, "exclude layers under layers, or use magnitude"):
        yield


@contextmanager
def _told(problem: str, advice: str) -> Iterator[None]:
    try:
        yield
    except AugcompressError:
        raise
    except Exception as error:  # others' code may raise anything
        raise AugcompressError(
            f"channels: {problem} ({type(error).__name__}: {first_line(error)}); {advice}"
        ) from error


def _group(graph: tp.DependencyGraph, layer: nn.Module, channels: list[int]) -> tp.dependency.Group:
    pruner = graph.get_pruner_of_module(layer)
    return graph.get_pruning_group(layer, pruner.prune_out_channels, channels)


def _loses_outputs(graph: tp.DependencyGraph, group: tp.dependency.Group) -> list[nn.Module]:
    return [dep.layer for dep, _ in group if graph.is_out_channel_pruning_fn(dep.pruning_fn)]


def _is_safe(graph: tp.DependencyGraph, group: tp.dependency.Group, chosen: set[nn.Module]) -> bool:
    """May this group of coupled layers lose channels?

    Not when it reaches the network's outputs; holds a layer that was not chosen, a grouped
    convolution, or parameters other than those of convolutions, dense layers and batch norms;
    or couples layers of different widths.  The last are networks with padding shortcuts (option A
    of He et al. 2015): Torch-Pruning loses the offset of the padded channels.
    """
    layers = [dep.layer for dep, _ in group]
    losing = [layer for layer in _loses_outputs(graph, group) if isinstance(layer, ROOTS)]
    plain = all(
        isinstance(layer, ROOTS + BATCH_NORMS) or not _parameters(layer) for layer in layers
    )
    grouped = any(getattr(layer, "groups", 1) not in (1, _width(layer)) for layer in layers)
    ends = any(
        not dep.target.outputs and graph.is_out_channel_pruning_fn(dep.pruning_fn)
        for dep, _ in group
    )
    same = len({_width(layer) for layer in losing}) == 1
    return plain and not grouped and not ends and same and chosen.issuperset(losing)


def _parameters(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Parameter) or any(True for _ in layer.parameters())


def _width(layer: nn.Module) -> int:
    return int(getattr(layer, "out_channels", getattr(layer, "out_features", 0)))


def prunable(graph: tp.DependencyGraph, chosen: set[nn.Module]) -> dict[str, tp.dependency.Group]:
    """Groups of coupled layers that may lose channels, by the name of their root layer."""
    names = {layer: name for name, layer in graph.model.named_modules()}
    with torch_pruning_at_work():
        groups = graph.get_all_groups(root_module_types=ROOTS)
        return {names[g[0].dep.layer]: g for g in groups if _is_safe(graph, g, chosen)}


def remove(network: nn.Module, example: Tensor, removal: Removal) -> nn.Module:
    """A copy of `network` without these channels."""
    network = copy.deepcopy(network)
    graph = dependency_graph(network, example)
    with torch_pruning_at_work():
        for root, channels in removal.items():
            _group(graph, network.get_submodule(root), channels).prune()
    return network.requires_grad_(True)


@torch.no_grad()
def mask(network: nn.Module, example: Tensor, removal: Removal) -> nn.Module:
    """A copy of `network` where these channels are zero after each layer of their group."""
    network = copy.deepcopy(network)
    graph = dependency_graph(network, example)
    for root, channels in removal.items():
        for dep, indices in _group(graph, network.get_submodule(root), channels):
            if isinstance(dep.layer, ROOTS + BATCH_NORMS) and graph.is_out_channel_pruning_fn(
                dep.pruning_fn
            ):
                for tensor in (dep.layer.weight, dep.layer.bias, _mean(dep.layer)):
                    if tensor is not None:
                        tensor[list(indices)] = 0.0
    return network


def _mean(layer: nn.Module) -> Tensor | None:
    return getattr(layer, "running_mean", None)


@torch.no_grad()
def verify_removal(network: nn.Module, pruned: nn.Module, example: Tensor, gone: Removal) -> None:
    """Removing channels must equal masking them, in evaluation mode.

    Raises AugcompressError where it does not.
    """
    masked = mask(network, example, gone)
    with in_evaluation(masked), in_evaluation(pruned), without_channels_at_work():
        want, got = masked(example), pruned(example)
    worst = float("inf") if got.shape != want.shape else float((got - want).abs().max())
    if not worst <= TOLERANCE * max(1.0, float(want.abs().max())):
        raise AugcompressError(
            f"channels: removing channels of {', '.join(list(gone)[:3])} is not the same as masking"
            f" them (outputs differ by {worst:.2g}); exclude them under layers"
        )


def resize(layer: nn.Module, sizes: dict[str, int]) -> None:
    """Give a layer other channel counts and zeros for weights."""
    for key, size in sizes.items():
        setattr(layer, key, size)
    shape = _weight_shape(layer)
    for name in ("weight", "bias", "running_mean", "running_var"):
        tensor = getattr(layer, name, None)
        if isinstance(tensor, Tensor):
            zeros = tensor.new_zeros(shape if name == "weight" else shape[:1])
            setattr(layer, name, nn.Parameter(zeros) if isinstance(tensor, nn.Parameter) else zeros)


def _weight_shape(layer: Any) -> tuple[int, ...]:
    if isinstance(layer, BATCH_NORMS):
        return (layer.num_features,)
    if isinstance(layer, nn.Linear):
        return (layer.out_features, layer.in_features)
    return (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
