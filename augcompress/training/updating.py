"""One optimiser step: a batch in, gradients in pieces, clipped, applied."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from augcompress.batch import Batch
from augcompress.errors import AugcompressError, first_line
from augcompress.training.engine import Engine
from augcompress.training.learner import Learner
from augcompress.training.settings import Training

_UNTRAINABLE = ("an inplace operation", "does not require grad", "a second time")
"""What autograd says of networks and objectives that cannot be trained."""


class Update:
    """The optimiser, and everything between a batch and its step."""

    def __init__(
        self, learner: Learner, optimizer: torch.optim.Optimizer, training: Training, engine: Engine
    ) -> None:
        self.learner, self.optimizer = learner, optimizer
        self.training, self.engine = training, engine
        self.scaler = torch.amp.GradScaler(engine.device.type, enabled=engine.precision == "fp16")
        self.pieces = training.accumulation
        """Pieces that a batch is taken in; more after memory ran out."""
        self.rate = training.optimizer.lr
        self._together: nn.Module | None = None
        self._frozen = -1

    def learn(self, frozen: int) -> None:
        """Get ready to train, after `frozen` layers were frozen."""
        if frozen != self._frozen:
            unused = not self.learner.reaches_all
            self._together = self.engine.processes.wrap(self.learner, unused=unused)
            self._frozen = frozen

    def set_rate(self, factor: float) -> None:
        """Set the learning rate to a share of its peak."""
        self.rate = self.training.optimizer.lr * factor
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * group["lr_scale"]

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Change the weights; the losses by name, detached, in fp32.

        Raises AugcompressError when memory runs out.
        """
        losses = self._gradients_within_memory(batch)
        self.scaler.unscale_(self.optimizer)
        self.learner.after_backward()
        if self.training.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.learner.parameters(), self.training.gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.training.max_norm is not None:
            limit_norms(self.optimizer, self.training.max_norm)
        return losses

    def _gradients_within_memory(self, batch: Batch) -> dict[str, Tensor]:
        while True:
            try:
                return self._gradients(batch)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                problem = first_line(error)
            self._take_smaller_pieces(len(batch), problem)  # where the error holds no memory

    def _gradients(self, batch: Batch) -> dict[str, Tensor]:
        """Gradients of the mean loss over the batch, and the losses."""
        assert self._together is not None
        self.optimizer.zero_grad(set_to_none=True)
        pieces = batch.pieces(self.pieces)
        sums: dict[str, Tensor] = {}
        for place, piece in enumerate(pieces):
            last = place == len(pieces) - 1
            with nullcontext() if last else self.engine.processes.no_sync(self._together):
                losses = self._backward(self._together, piece, len(piece) / len(batch))
            for name, loss in losses.items():
                sums[name] = sums[name] + loss if name in sums else loss
        return sums

    def _backward(self, together: nn.Module, piece: Batch, share: float) -> dict[str, Tensor]:
        with self.engine.autocast():
            losses = together(piece)
        losses = {name: loss.float() for name, loss in losses.items()}
        if share != 1:
            losses = {name: loss * share for name, loss in losses.items()}
        total = torch.stack(list(losses.values())).sum()
        try:
            self.scaler.scale(total).backward()
        except RuntimeError as error:
            if any(mark in str(error) for mark in _UNTRAINABLE):
                raise AugcompressError(
                    f"{self.engine.where}: the losses have no gradient: {first_line(error)}; let"
                    " the network and the objectives detach nothing that learns, and change no"
                    " tensor in place that its gradient needs"
                ) from error
            raise
        return {name: loss.detach() for name, loss in losses.items()}

    def _take_smaller_pieces(self, samples: int, problem: str) -> None:
        where, processes = self.engine.where, self.engine.processes
        piece = samples // self.pieces
        if self.training.batch == "whole" or processes.world > 1 or piece < 4:
            advice = (
                "lower training.batch_size, or raise training.accumulation"
                if processes.world > 1 or self.training.batch == "auto"
                else "set training.batch: auto, or lower training.batch_size"
            )
            raise AugcompressError(
                f"{where}: out of memory with {piece} samples at a time ({problem}); {advice}"
            )
        self.pieces *= 2
        if self.engine.device.type == "cuda":
            torch.cuda.empty_cache()
        self.engine.reporter.message(
            f"{where}: out of memory with {piece} samples at a time; going on with"
            f" {samples // self.pieces}, {self.pieces} times a step"
        )

    def state_dict(self) -> dict[str, Any]:
        """What the next steps depend on."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "pieces": self.pieces,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a resume state."""
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.pieces = state["pieces"]


@torch.no_grad()
def limit_norms(optimizer: torch.optim.Optimizer, largest: float) -> None:
    """Scale down the weights that lead to one output, where their L2 norm is above `largest`."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.ndim > 1 and weight.requires_grad:
                weight.copy_(torch.renorm(weight, p=2, dim=0, maxnorm=largest))


def is_out_of_memory(error: RuntimeError) -> bool:
    """Did an allocation fail, on a GPU or in main memory?"""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
