"""Several processes that train one learner: ranks, and collective operations between them."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from augcompress.errors import (
    BUG,
    INTERRUPTED,
    AugcompressError,
    failure_elsewhere,
    is_interruption,
)

T = TypeVar("T")


class StoppedElsewhere(AugcompressError):
    """Another process has stopped and says why; this one has nothing to add and stops as well."""


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

    A process group must have been initialised where `world` is above 1.  All processes must call
    the same methods in the same order.
    """

    rank: int = 0
    """Number of this process, from 0."""
    world: int = 1
    """Count of processes."""
    patient: Any = field(default=None, repr=False, compare=False)
    """Process group (gloo) that may wait for days: for what the first process does while the
    others have nothing to do.  None: the default group."""

    @property
    def is_rank_zero(self) -> bool:
        """Does this process write files and scores?  Only rank 0 does."""
        return self.rank == 0

    def wrap(self, module: nn.Module, *, unused: bool = False) -> nn.Module:
        """What to call instead of `module`, so that gradients are averaged over the processes.

        Parameters and buffers become those of the first process.  To be called again when other
        parameters are trained than before; the earlier wrapper must not be used any more.
        `unused`: the losses may not reach all parameters, which takes a search at every step.
        """
        if self.world == 1:
            return module
        self.broadcast_state(module)
        if not any(parameter.requires_grad for parameter in module.parameters()):
            return module
        with warnings.catch_warnings():  # the argument's new name is younger than torch 2.11
            warnings.simplefilter("ignore", FutureWarning)
            return nn.parallel.DistributedDataParallel(
                module, broadcast_buffers=False, find_unused_parameters=unused
            )

    def no_sync(self, wrapped: nn.Module) -> AbstractContextManager:
        """Inside, gradients are accumulated in each process without averaging."""
        if isinstance(wrapped, nn.parallel.DistributedDataParallel):
            return wrapped.no_sync()
        return contextlib.nullcontext()

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensors of all processes, one below the other; they must be of equal shape.

        Gradients flow back into the process that gave the rows.
        """
        if self.world == 1:
            return tensor
        return _Gather.apply(tensor)

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in every one of them; without gradients."""
        if self.world == 1:
            return tensor
        added = tensor.detach().clone()
        dist.all_reduce(added, group=self._group(added.device))
        return added

    def all_reduce_any(self, flag: bool, device: torch.device | str = "cpu") -> bool:
        """Is the flag True in any process?  On the CPU, this does not wait for an accelerator."""
        if self.world == 1:
            return flag
        vote = torch.tensor(int(flag), dtype=torch.int32, device=device)
        dist.all_reduce(vote, dist.ReduceOp.MAX, group=self._group(vote.device))
        return bool(vote)

    def broadcast(self, action: Callable[[], T]) -> T:
        """What `action` returns in rank 0, in every process; it must be picklable.

        The others wait for it, for days if need be.  Where it fails, all processes raise: rank 0
        its error, the others StoppedElsewhere with the same exit code.
        """
        if self.world == 1:
            return action()
        return self._from_rank_zero(action, keep=False)

    def rank_zero_only(self, action: Callable[[], T]) -> T | None:
        """Run `action` in rank 0 while the others wait, like `broadcast`; only rank 0 gets what it
        returns, the others None."""
        if self.world == 1:
            return action()
        return self._from_rank_zero(action, keep=True)

    def _from_rank_zero(self, action: Callable[[], Any], keep: bool) -> Any:
        if self.is_rank_zero:
            try:
                found = action()
            except BaseException as error:
                self._broadcast_message([exit_code_of(error), None])
                raise
            self._broadcast_message([0, None if keep else found])
            return found
        code, result = self._broadcast_message([0, None])
        if code:
            raise StoppedElsewhere("another process has stopped", exit_code=code)
        return result

    def _broadcast_message(self, message: list[Any]) -> list[Any]:
        """The first process's message."""
        dist.broadcast_object_list(message, 0, group=self.patient)
        return message

    def _group(self, device: torch.device) -> Any:
        return self.patient if device.type == "cpu" else None

    @torch.no_grad()
    def broadcast_state(self, module: nn.Module) -> None:
        """Give all processes the state of rank 0: running statistics differ between them."""
        if self.world > 1:
            for value in (*module.parameters(), *module.buffers()):
                dist.broadcast(value.data, 0)

    @contextmanager
    def synchronised(self, module: nn.Module, device: torch.device | str) -> Iterator[None]:
        """Batch norms take their statistics over the batch of all processes inside (several CUDA
        devices only: elsewhere nothing changes); the original layers stand again after it."""
        if self.world == 1 or torch.device(device).type != "cuda":
            yield
            return
        replaced = synchronise_norms(module)
        try:
            yield
        finally:
            restore_norms(replaced)


ALONE = Processes()


def exit_code_of(error: BaseException) -> int:
    """The exit code of a process that ends with this error."""
    if is_interruption(error):
        return INTERRUPTED
    return getattr(failure_elsewhere(error) or error, "exit_code", BUG)


Replaced = list[tuple[nn.Module, str, nn.Module]]
"""The module that holds a layer, the layer's name in it, and the layer that stood there."""


def synchronise_norms(module: nn.Module) -> Replaced:
    """Put SyncBatchNorm in the place of every batch norm below `module`, over the same tensors."""
    replaced: Replaced = []
    made: dict[nn.Module, nn.Module] = {}  # a layer may stand in two places
    for parent in list(module.modules()):
        for name, child in list(parent._modules.items()):  # children come once only
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                made.setdefault(child, synchronised_norm(child))
                replaced.append((parent, name, child))
                setattr(parent, name, made[child])
    return replaced


def synchronised_norm(norm: nn.Module) -> nn.Module:
    """SyncBatchNorm over the tensors of a batch norm; timm's norms hold their activation and have
    a counterpart of their own."""
    if type(norm).__module__.startswith("timm."):
        return importlib.import_module("timm.layers").convert_sync_batchnorm(norm)
    return nn.SyncBatchNorm.convert_sync_batchnorm(norm)


def restore_norms(replaced: Replaced) -> None:
    """Undo `synchronise_norms`; modes and tensors are those of the layers that go."""
    for parent, name, norm in replaced:
        current = getattr(parent, name)
        norm.training = current.training
        norm._buffers.update({k: current._buffers[k] for k in norm._buffers})
        norm._parameters.update({k: current._parameters[k] for k in norm._parameters})
        setattr(parent, name, norm)
