"""Which layers learn, and how fast: frozen backbones that thaw, parameter groups."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Any

from pydantic import Field
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from augcompress.component import Section
from augcompress.errors import AugcompressError


class Freeze(Section):
    """Only the head learns at first; then the layers below it thaw from the top (Howard and Ruder
    2018, arXiv:1801.06146, gradual unfreezing).

    A frozen layer keeps its weights and, where it is a batch norm, its statistics.
    """

    epochs: int | None = Field(1, ge=1)
    """Epochs in which only the head learns; None: all of them."""
    steps: int = Field(1, ge=1)
    """The layers below the head thaw in so many equal steps, one an epoch."""

    def frozen(self, layers: Sequence[nn.Module], epoch: int) -> Sequence[nn.Module]:
        """Those of `layers`, from input to output, that do not learn in an epoch, from 0."""
        if self.epochs is None:
            return layers
        steps_left = self.steps - max(0, epoch - self.epochs + 1)
        return layers[: len(layers) * max(0, steps_left) // self.steps]


def parameter_groups(
    module: nn.Module,
    weight_decay: float,
    *,
    decay: str = "weights",
    no_decay: Sequence[str] = (),
    backbone: Sequence[nn.Module] = (),
    head: Sequence[nn.Parameter] = (),
    backbone_lr_scale: float = 1.0,
    where: str = "",
) -> list[dict[str, Any]]:
    """Parameters by what the optimiser does to them: `weight_decay` and `lr_scale`.

    `decay="weights"` spares what has one dimension, norms and biases; `all` nothing.  Names that
    match a glob in `no_decay` are spared too.  Of the `backbone`'s layers, what belongs to the
    `head` is learned at its rate.  Raises AugcompressError for a glob without a match, and where
    nothing learns.
    """
    below = _own(backbone, head)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    unmatched = set(no_decay)
    for name, parameter in module.named_parameters():
        matching = {glob for glob in no_decay if fnmatch(name, glob) or fnmatch(name, f"*.{glob}")}
        unmatched -= matching
        if parameter.requires_grad:
            decays = not matching and (decay == "all" or parameter.ndim > 1)
            groups.setdefault((id(parameter) not in below, decays), []).append(parameter)
    if unmatched:
        raise AugcompressError(
            f"{where and f'{where}.'}training.no_decay: {sorted(unmatched)[0]!r} matches no"
            " parameter; take the name from the network's model.safetensors, or a glob such as"
            " *.bias"
        )
    if not groups:
        raise AugcompressError(
            f"{where or 'training'}: no parameter learns: the network has none, or requires_grad is"
            " false for all; let some learn, or set training: null for a teacher as it is"
        )
    return [
        {
            "params": parameters,
            "weight_decay": weight_decay if decays else 0.0,
            "lr_scale": 1.0 if fresh else backbone_lr_scale,
        }
        for (fresh, decays), parameters in sorted(groups.items(), reverse=True)
    ]


def set_learning(
    groups: Sequence[dict[str, Any]],
    backbone: Sequence[nn.Module],
    frozen: Sequence[nn.Module],
    batch_norm: str,
    head: Sequence[nn.Parameter] = (),
) -> None:
    """Let every parameter of the optimiser learn but those of `frozen` layers that do not belong to
    the `head`; batch norms of frozen layers, or with `batch_norm="frozen"` of the whole backbone,
    keep their statistics."""
    still = _own(frozen, head)
    for group in groups:
        for parameter in group["params"]:
            parameter.requires_grad_(id(parameter) not in still)
    for layer in backbone if batch_norm == "frozen" else frozen:
        if isinstance(layer, _BatchNorm):
            layer.eval()


def _own(layers: Sequence[nn.Module], head: Sequence[nn.Parameter]) -> set[int]:
    """Identities of the layers' own parameters, without those of the head."""
    own = {id(one) for layer in layers for one in layer.parameters(recurse=False)}
    return own - {id(one) for one in head}
