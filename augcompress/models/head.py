"""The head: what makes a network's logits, found by following them back through a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from augcompress.modules import in_evaluation

Step = Any
"""A node of autograd's record of a forward pass, which leads from outputs to inputs."""


@dataclass(frozen=True)
class Head:
    """The layers whose output makes the logits, and what scales or shifts them behind these."""

    layers: tuple[str, ...] = ()
    """By name, in the order of registration; several where a network adds up their outputs."""
    parameters: tuple[str, ...] = ()
    """By name; one that several layers share has its first one."""
    classes: Mapping[str, int] = field(default_factory=dict)
    """Tensors of the state dict that have an entry for each class, and in which dimension."""


def find_head(network: nn.Module, example: Tensor) -> Head:
    """The layers that a network's logits `(N,classes)` for images `example` come from without
    another layer between: dense ones, convolutions, or weights of a module of the user's own.

    What counts is the way of the numbers, not the order of registration.  Empty where the logits
    come from no weights.
    """
    with _recorded(network, example) as (logits, images):
        found = {id(one) for one in _last_weights(network, logits.grad_fn, images)}
    parameters = tuple(name for name, one in network.named_parameters() if id(one) in found)
    layers = tuple(dict.fromkeys(map(_owner, parameters)))
    return Head(layers, parameters, _class_dimensions(network, layers, found, logits.shape[1]))


def unused_parameters(network: nn.Module, example: Tensor) -> list[str]:
    """Names of the parameters that have no part in the logits for images `example`."""
    with _recorded(network, example) as (logits, _):
        used = {id(one) for one in _variables(_inwards([logits.grad_fn]))}
    return [name for name, one in network.named_parameters() if id(one) not in used]


@contextmanager
def _recorded(network: nn.Module, example: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits of a forward pass in evaluation mode with autograd's record, which ends in the images
    beside them and in all parameters; the network and torch's stream are left as they are."""
    floats = [one for one in network.parameters() if one.is_floating_point()]
    before = [one.requires_grad for one in floats]
    device = floats[0].device if floats else example.device
    images = example.detach().to(device).clone().requires_grad_()
    try:
        for one in floats:
            one.requires_grad_(True)
        with in_evaluation(network), torch.enable_grad(), torch.random.fork_rng(devices=[]):
            yield network(images * 1), images  # a leaf may not be changed in place
    finally:
        for one, learning in zip(floats, before, strict=True):
            one.requires_grad_(learning)


def _last_weights(network: nn.Module, last: Step, images: Tensor) -> list[Tensor]:
    """The parameters between the logits and the features that they are made of."""
    depending = _depending(last, images)
    matrices = {id(one.weight) for one in network.modules() if isinstance(one, _LAYERS)}

    def own(step: Step) -> list[Tensor]:
        """What a step reads that does not depend on the images: weights, biases, scales."""
        return _variables(_inwards(one for one in _children(step) if one not in depending))

    def mixes(step: Step) -> bool:
        """Does it make new features?  Biases and scales have one dimension, or empty ones."""
        return any(id(w) in matrices or sum(d > 1 for d in w.shape) > 1 for w in own(step))

    behind = _inwards([last], depending, mixes)
    ends = [step for step in behind if mixes(step)]
    inputs = [each for step in ends for each in _children(step)]
    below = set(_inwards(inputs, depending))  # features may reach the logits by a way of their own
    behind = behind if ends else []
    return [weight for step in behind if step not in below for weight in own(step)]


_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _children(step: Step) -> list[Step]:
    return [one for one, _ in step.next_functions if one is not None]


def _inwards(
    starts: Iterable[Step],
    within: Collection[Step] | None = None,
    ends: Callable[[Step], bool] = lambda step: False,
) -> list[Step]:
    """Steps that the given ones lead to and these themselves: only those `within`, and none beyond
    one that `ends` the way."""
    found, waiting = dict[Step, None](), [one for one in starts if one is not None]
    while waiting:
        step = waiting.pop()
        if step in found or (within and step not in within):
            continue
        found[step] = None
        if not ends(step):
            waiting.extend(_children(step))
    return list(found)


def _depending(last: Step, images: Tensor) -> set[Step]:
    """The steps whose outcome depends on the images."""
    readers: dict[Step, list[Step]] = {}
    for step in _inwards([last]):
        for child in _children(step):
            readers.setdefault(child, []).append(step)
    waiting = [step for step in readers if getattr(step, "variable", None) is images]
    found = set[Step]()
    while waiting:
        step = waiting.pop()
        if step not in found:
            found.add(step)
            waiting.extend(readers.get(step, ()))
    return found


def _variables(steps: Iterable[Step]) -> list[Tensor]:
    """The tensors at which the record ends."""
    return [step.variable for step in steps if hasattr(step, "variable")]


def _owner(parameter: str) -> str:
    return parameter.rpartition(".")[0]


def _class_dimensions(
    network: nn.Module, layers: Collection[str], parameters: Collection[int], classes: int
) -> dict[str, int]:
    """Where the tensors of the head's layers have their classes: under all names of a shared one,
    and buffers, too."""
    found = {}
    for name, value in network.state_dict(keep_vars=True).items():
        is_buffer = not isinstance(value, nn.Parameter) and _owner(name) in layers
        if (id(value) in parameters or is_buffer) and classes in value.shape:
            found[name] = list(value.shape).index(classes)
    return found
