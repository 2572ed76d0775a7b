"""LARS as a torch optimiser: each layer steps in proportion to the size of its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def trust_ratios(
    weights: list[Tensor], gradients: list[Tensor], weight_decay: float, coefficient: float
) -> list[Tensor]:
    """`coefficient * |w| / (|g| + weight_decay * |w|)` of each layer, with L2 norms, as scalars.

    1 for a layer of zeros, which would stay zero for ever otherwise.
    """
    size = torch.stack(torch._foreach_norm(weights))  # (layers,)
    pull = torch.stack(torch._foreach_norm(gradients)) + weight_decay * size  # (layers,)
    ratios = torch.where((size > 0) & (pull > 0), coefficient * size / pull, 1.0)
    return list(ratios.unbind())


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling (You et al. 2017, arXiv:1708.03888).

    SGD with momentum whose gradient, weight decay included, is multiplied by the layer's trust
    ratio.  Parameters of one dimension (norms, biases) step as in SGD.  As in torch's SGD, and
    unlike the paper, the learning rate stands outside the momentum: a change of it acts at once.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        nesterov: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "nesterov": nesterov,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; returns what `closure`, which computes gradients anew, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self._update(weights, group)
        return loss

    def _update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """Move weights against their scaled gradients, gathered with momentum."""
        moves = scaled_gradients(weights, group["weight_decay"], group["trust_coefficient"])
        buffers = [self._buffer(weight) for weight in weights]
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, moves)
        if group["nesterov"]:
            torch._foreach_add_(moves, buffers, alpha=group["momentum"])
        else:
            moves = buffers
        torch._foreach_add_(weights, moves, alpha=-group["lr"])

    def _buffer(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        return state["momentum_buffer"]


def scaled_gradients(
    weights: list[Tensor], weight_decay: float, coefficient: float
) -> list[Tensor]:
    """Gradients with weight decay added, those of layers multiplied by their trust ratios; new
    tensors."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    moves = list(torch._foreach_add(gradients, weights, alpha=weight_decay))
    layers = [place for place, weight in enumerate(weights) if weight.ndim > 1]
    if layers:
        ratios = trust_ratios(
            [weights[place] for place in layers],
            [gradients[place] for place in layers],
            weight_decay,
            coefficient,
        )
        torch._foreach_mul_([moves[place] for place in layers], ratios)
    return moves
