"""The one training loop: teacher, student, fine-tuning and QAT all use `fit`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from augcompress.batch import Batch, Progress
from augcompress.component import Component, Section
from augcompress.errors import AugcompressError
from augcompress.memory import keep_freed_memory
from augcompress.processes import ALONE, Processes
from augcompress.records import Reporter, SilentReporter
from augcompress.rundir import write_aside

FETCH_EVERY = 20  # steps between two looks at the losses: each look waits for the device


class Sgd(Component):
    """Stochastic gradient descent with Nesterov momentum (Sutskever et al. 2013)."""

    kind: Literal["sgd"] = "sgd"
    lr: float = Field(0.1, gt=0)
    """Peak learning rate."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum."""
    nesterov: bool = True
    """Nesterov's form of momentum."""
    weight_decay: float = Field(5e-4, ge=0)
    """L2 penalty of weights; norms and biases have none."""

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimiser over parameter groups."""
        nesterov = self.nesterov and self.momentum > 0
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=nesterov)


class AdamW(Component):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

    kind: Literal["adamw"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of the two moment estimates."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled decay of weights; norms and biases have none."""

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The optimiser over parameter groups."""
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas)


Optimizer = Annotated[Sgd | AdamW, Field(discriminator="kind")]


class Cosine(Component):
    """Linear warm-up, then half a cosine down to zero (Loshchilov and Hutter 2017)."""

    kind: Literal["cosine"] = "cosine"
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the training during which the rate rises from zero."""

    def factor(self, done: float) -> float:
        """Learning rate over its peak, when `done` (0 to 1) of the training is over."""
        if done < self.warmup:
            return done / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup)))


class Constant(Component):
    """The same learning rate throughout."""

    kind: Literal["constant"] = "constant"

    def factor(self, done: float) -> float:
        """Always 1."""
        return 1.0


class MultiStep(Component):
    """The rate is multiplied by `gamma` at each milestone."""

    kind: Literal["multi_step"] = "multi_step"
    milestones: tuple[float, ...] = (0.5, 0.75)
    """Shares of the training after which the rate drops."""
    gamma: float = Field(0.1, gt=0, le=1)
    """Factor of each drop."""

    def factor(self, done: float) -> float:
        """Learning rate over its peak, when `done` (0 to 1) of the training is over."""
        return self.gamma ** sum(done >= milestone for milestone in self.milestones)


Schedule = Annotated[Cosine | Constant | MultiStep, Field(discriminator="kind")]


class Training(Section):
    """How a network is trained."""

    epochs: int = Field(10, ge=1)
    """Passes over the training split."""
    batch_size: int = Field(128, ge=1)
    """Samples in an optimiser step."""
    optimizer: Optimizer = Sgd()
    """Update rule."""
    schedule: Schedule = Cosine()
    """Learning rate over time."""
    gradient_clip: float | None = Field(None, gt=0)
    """Largest norm of the gradient; None does not clip."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto` takes bfloat16 autocast where the device computes in it, else fp32."""


@dataclass(frozen=True)
class Engine:
    """Where and how training runs, and to whom it reports: given by the stage."""

    device: torch.device
    precision: Literal["fp32", "bf16"] = "fp32"
    where: str = "training"
    """The recipe's section, for messages."""
    reporter: Reporter = field(default_factory=SilentReporter)
    state: Path | None = None
    """Folder of the resume state; None keeps none."""
    log: Path | None = None
    """JSON lines, one an epoch."""
    save_every_s: float = 60.0
    """Seconds between two states inside an epoch; the end of an epoch always writes one.  Several
    processes have no common clock and write at the end of epochs only."""
    processes: Processes = ALONE
    """Who trains along; the first process scores and writes."""

    def autocast(self) -> AbstractContextManager:
        """Mixed precision for the forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


CPU = Engine(torch.device("cpu"))


class Learner(nn.Module):
    """What `fit` trains: students and the objectives' own modules in, named losses out.

    Frozen teachers are kept outside the module tree: they have no gradients and no state.
    """

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted losses by name; their sum is minimised."""
        raise TypeError(f"{type(self).__name__} has no forward")

    def score(self) -> float:
        """Validation score, the higher the better; the best epoch's weights are kept."""
        raise TypeError(f"{type(self).__name__} has no score")

    def on_progress(self, progress: Progress) -> None:
        """Called before each step."""

    def after_backward(self) -> None:
        """Called when gradients are there and before the optimiser reads them."""

    def after_step(self) -> None:
        """Called when the optimiser has changed the weights: masks and clips go here."""


class EpochBatches(Protocol):
    """Batches of one epoch after the other; `start_step` skips without decoding."""

    def __len__(self) -> int: ...
    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class FitResult:
    """How training went."""

    epochs: int
    best_epoch: int
    best_score: float
    seconds: float


def resolve_precision(precision: str, device: torch.device) -> Literal["fp32", "bf16"]:
    """`auto` as bf16 where `device` has the instructions, else fp32."""
    if precision != "auto":
        return "bf16" if precision == "bf16" else "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"


def decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups: matrices and kernels decay, norms and biases do not."""
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def fit(
    learner: Learner,
    batches: EpochBatches,
    training: Training,
    engine: Engine = CPU,
) -> FitResult:
    """Train `learner` and leave it with the weights of its best epoch on validation.

    Resumes from `engine.state` to the result of an undisturbed run (same thread count).
    Raises AugcompressError when the data is smaller than a batch or a loss is not finite.
    """
    if len(batches) == 0:
        raise AugcompressError(
            f"{engine.where}.training.batch_size: {training.batch_size} is more than the training"
            " split holds; lower it"
        )
    if engine.device.type == "cpu":
        keep_freed_memory()
    run = _Run(learner, batches, training, engine)
    run.restore()
    engine.reporter.start(engine.where, training.epochs * len(batches), "batch")
    engine.reporter.advance(run.epoch * len(batches) + run.step)
    while run.epoch < training.epochs:
        run.one_epoch()
    engine.reporter.finish()
    put_state(learner, run.best_state)
    return FitResult(training.epochs, run.best_epoch, run.best_score, run.seconds)


def put_state(module: nn.Module, values: dict[str, Tensor]) -> None:
    """Load values by name; the versions that some layers keep beside them come from `module`."""
    state = module.state_dict()
    state.update(values)
    module.load_state_dict(state)


class _Run:
    """The moving parts of one `fit`, all of which the resume state holds."""

    def __init__(
        self, learner: Learner, batches: EpochBatches, training: Training, engine: Engine
    ) -> None:
        self.learner, self.batches, self.training, self.engine = learner, batches, training, engine
        learner.to(engine.device)
        self.together = engine.processes.wrap(learner)  # state and hooks stay the learner's own
        groups = decay_groups(learner, training.optimizer.weight_decay)
        self.optimizer = training.optimizer.build(groups)
        self.epoch = self.step = 0  # finished epochs, finished steps of the running epoch
        self.best_epoch, self.best_score = -1, -math.inf
        self.best_state: dict[str, Tensor] = {}
        self.sums: dict[str, Tensor] = {}
        self.lines: list[dict[str, Any]] = []
        self.seconds, self.saved_at = 0.0, time.monotonic()

    def one_epoch(self) -> None:
        """All remaining steps of an epoch, then its validation score."""
        started = time.monotonic()
        self.learner.train()
        for batch in self.batches.epoch(self.epoch, self.step):
            self.one_step(batch.to(self.engine.device))
            self.step += 1
            if self.step % FETCH_EVERY == 0:
                self.check_finite()
            alone = self.engine.processes.world == 1
            if alone and time.monotonic() - self.saved_at > self.engine.save_every_s:
                self.save()
            self.engine.reporter.advance(1)
        self.check_finite()
        self.finish_epoch(time.monotonic() - started)

    def one_step(self, batch: Batch) -> None:
        """Forward, backward, update."""
        progress = self.progress()
        self.learner.on_progress(progress)
        for group in self.optimizer.param_groups:
            done = progress.fraction + 0.5 / self.total_steps  # the middle of this step
            group["lr"] = self.training.optimizer.lr * self.training.schedule.factor(done)
        with self.engine.autocast():
            losses = self.together(batch)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.learner.after_backward()
        if self.training.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.learner.parameters(), self.training.gradient_clip)
        self.optimizer.step()
        self.learner.after_step()
        for name, loss in losses.items():
            self.sums[name] = self.sums.get(name, 0) + loss.detach().float()

    @property
    def total_steps(self) -> int:
        return self.training.epochs * len(self.batches)

    def progress(self) -> Progress:
        """Where training stands before the next step."""
        step = self.epoch * len(self.batches) + self.step
        epochs_done = self.epoch / self.training.epochs
        return Progress(self.epoch, step, step / self.total_steps, epochs_done)

    def check_finite(self) -> None:
        """Raises AugcompressError naming the loss that is NaN or infinite."""
        for name, total in self.sums.items():
            if not math.isfinite(float(total)):
                raise AugcompressError(
                    f"{self.engine.where}: loss {name} is not finite in epoch {self.epoch + 1}, by"
                    f" step {self.step}; lower training.optimizer.lr or set"
                    " training.gradient_clip: 1"
                )

    def finish_epoch(self, seconds: float) -> None:
        """Score, keep the best, log, save."""
        means = {name: float(total) / len(self.batches) for name, total in self.sums.items()}
        self.learner.eval()
        self.engine.processes.align(self.learner)  # running statistics are each process's own
        score = self.engine.processes.first(self.learner.score, self.engine.device)
        self.epoch, self.step, self.sums = self.epoch + 1, 0, {}
        if score > self.best_score:
            self.best_epoch, self.best_score = self.epoch, score
            self.best_state = {k: v.detach().clone() for k, v in self.learner.state_dict().items()}
        self.seconds += seconds
        rate = self.optimizer.param_groups[0]["lr"]
        line = {"epoch": self.epoch, "losses": means, "validation_top1": score, "lr": rate}
        self.lines.append({**line, "seconds": round(seconds, 3)})
        self.engine.reporter.advance(0, validation=score, **means)
        self.write_log()
        self.save()

    def write_log(self) -> None:
        """One JSON line an epoch."""
        if self.engine.log is not None and self.engine.processes.leads:
            with write_aside(self.engine.log) as aside:
                aside.write_text("".join(json.dumps(row) + "\n" for row in self.lines))

    def save(self) -> None:
        """Write the resume state, aside and renamed."""
        self.saved_at = time.monotonic()
        if self.engine.state is None:
            return
        random = self.engine.processes.gather(torch.get_rng_state()[None].to(self.engine.device))
        if not self.engine.processes.leads:
            return
        state = {
            "learner": self.learner.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_state": self.best_state,
            "counts": [self.epoch, self.step, self.best_epoch],
            "scores": [self.best_score, self.seconds],
            "sums": self.sums,
            "lines": json.dumps(self.lines),
            "random": random,
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        with write_aside(self.engine.state / "fit.pt") as aside:
            torch.save(state, aside)

    def restore(self) -> None:
        """Continue from the resume state, where there is one."""
        path = None if self.engine.state is None else self.engine.state / "fit.pt"
        if path is None or not path.exists():
            return
        state = torch.load(path, map_location=self.engine.device, weights_only=True)
        put_state(self.learner, state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best_state = state["best_state"]
        self.epoch, self.step, self.best_epoch = state["counts"]
        self.best_score, self.seconds = state["scores"]
        self.sums, self.lines = state["sums"], json.loads(state["lines"])
        random = state["random"].cpu()  # a row a process
        row = self.engine.processes.rank % len(random)
        torch.set_rng_state(random[row].clone())  # torch crashes on a view
        if state["random_cuda"]:
            torch.cuda.set_rng_state_all([s.cpu() for s in state["random_cuda"]])
        self.write_log()
        self.engine.reporter.message(
            f"resuming {self.engine.where} at epoch {self.epoch + 1}, step {self.step}"
        )
