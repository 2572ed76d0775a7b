"""Several processes that train one learner: who is who, and how they hear of each other."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        tensor = tensor.contiguous()
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor)
        context.rows = slice(dist.get_rank() * len(tensor), (dist.get_rank() + 1) * len(tensor))
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total[context.rows]


@dataclass(frozen=True)
class Processes:
    """The processes of one training; the one process that there usually is, by default.

    A process group must have been initialised where `world` is above 1.
    """

    rank: int = 0
    """Number of this process, from 0."""
    world: int = 1
    """Count of processes."""

    @property
    def leads(self) -> bool:
        """Does this process write files and scores?  One does."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """What to call instead of `module`, so that gradients are averaged over the processes.

        Parameters and buffers become those of the first process.
        """
        if self.world == 1:
            return module
        self.align(module)
        if not any(parameter.requires_grad for parameter in module.parameters()):
            return module
        with warnings.catch_warnings():  # the argument's new name is younger than torch 2.11
            warnings.simplefilter("ignore", FutureWarning)
            return nn.parallel.DistributedDataParallel(module, broadcast_buffers=False)

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensors of all processes, one below the other; they must be of equal shape.

        Gradients flow back into the process that gave the rows.
        """
        if self.world == 1:
            return tensor
        return _Gather.apply(tensor)

    def first(self, value: Callable[[], float], device: torch.device | str = "cpu") -> float:
        """`value()` of the first process, in all of them; the others do not compute it."""
        if self.world == 1:
            return value()
        told = torch.tensor(value() if self.leads else 0.0, dtype=torch.float64, device=device)
        dist.broadcast(told, 0)
        return float(told)

    @torch.no_grad()
    def align(self, module: nn.Module) -> None:
        """Give all processes the state of the first: running statistics differ between them."""
        if self.world > 1:
            for value in (*module.parameters(), *module.buffers()):
                dist.broadcast(value.data, 0)


ALONE = Processes()
