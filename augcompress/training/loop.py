"""The one training loop: teacher, student, fine-tuning, QAT and pretraining all use `fit`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from augcompress.batch import Batch, Progress
from augcompress.errors import AugcompressError
from augcompress.system import keep_freed_memory
from augcompress.training.averaging import Average, tensors_of
from augcompress.training.compiling import compiled
from augcompress.training.engine import CPU, Engine
from augcompress.training.freezing import parameter_groups, set_learning
from augcompress.training.interruption import Interruption, postponed
from augcompress.training.learner import EpochBatches, Learner, Score
from augcompress.training.logs import Log, score_fields
from augcompress.training.prefetch import prefetched
from augcompress.training.settings import Training
from augcompress.training.state import (
    put_state,
    random_state,
    read_state,
    set_random_state,
    write_state,
)
from augcompress.training.updating import Update

FETCH_EVERY = 20  # steps between two looks at the losses: each look waits for the device


@dataclass(frozen=True)
class FitResult:
    """How training went."""

    epochs: int
    """Epochs that were trained: fewer than asked for where it stopped early."""
    best_epoch: int
    """The epoch whose weights the network has, from 1."""
    best_score: float
    """The higher the better: negative, where the measure is one of which less is better."""
    seconds: float
    averaged: bool = False
    """Are the weights the moving average?"""
    best_student: int = 0
    """Of a learner with several students, the number of the best one in that epoch."""
    pieces: int = 1
    """Pieces that each batch was taken in, in the end."""


def fit(
    learner: Learner, batches: EpochBatches, training: Training, engine: Engine = CPU
) -> FitResult:
    """Train `learner` and leave it with the weights of its best epoch on validation.

    Resumes from `engine.state` to the result of an undisturbed run (same thread count).
    Raises AugcompressError when the data is smaller than a batch, memory runs out or a loss is not
    finite, and KeyboardInterrupt when SIGTERM or Ctrl-C asked to stop; the state is written then.
    """
    if len(batches) == 0:
        raise AugcompressError(
            f"{engine.where}.training.batch_size: {training.batch_size} is more than the training"
            " split holds; lower it"
        )
    if engine.device.type == "cpu":
        keep_freed_memory()
    learner.to(engine.device)
    with ExitStack() as around:
        interruption = around.enter_context(postponed())
        around.enter_context(engine.processes.synchronised(learner, engine.device))
        if training.compile:
            around.enter_context(compiled(learner.networks(), engine.where))
        run = _Run(learner, batches, training, engine, interruption)
        around.callback(run.log.close)
        around.callback(run.release)
        run.restore()
        total = training.epochs * len(batches)
        engine.reporter.start(engine.where, total, "batch", epochs=training.epochs)
        engine.reporter.advance(run.epoch * len(batches) + run.step)
        while not run.over:
            run.one_epoch()
        engine.reporter.finish()
    put_state(learner, run.best_state)
    return run.result()


class _Run:
    """The moving parts of one `fit`, all of which the resume state holds."""

    def __init__(
        self,
        learner: Learner,
        batches: EpochBatches,
        training: Training,
        engine: Engine,
        interruption: Interruption,
    ) -> None:
        self.learner, self.batches, self.training, self.engine = learner, batches, training, engine
        self.interruption, self.processes = interruption, engine.processes
        self.backbone, self.head = parts_of(learner, training, engine.where)
        groups = parameter_groups(
            learner,
            training.optimizer.weight_decay,
            decay=training.decay,
            no_decay=training.no_decay,
            backbone=self.backbone,
            head=self.head,
            backbone_lr_scale=training.backbone_lr_scale,
            where=engine.where,
        )
        self.update = Update(learner, training.optimizer.build(groups), training, engine)
        self.average = None if training.ema is None else Average(learner, training.ema)
        writes = self.processes.is_rank_zero
        self.log = Log(engine.log if writes else None, engine.events if writes else None)
        self.epoch = self.step = 0  # finished epochs, finished steps of the running epoch
        self.best_epoch, self.best_score, self.best_averaged = -1, -math.inf, False
        self.best_student = 0
        self.best_state: dict[str, Tensor] = {}
        self.improved_epoch, self.improved_score = 0, -math.inf  # for early stopping
        self.sums: dict[str, Tensor] = {}
        self.seconds, self.saved_at = 0.0, time.monotonic()

    @property
    def over(self) -> bool:
        """All epochs are done, or validation has got no better for too long."""
        stopping = self.training.early_stopping
        waited = self.epoch - self.improved_epoch
        exhausted = stopping is not None and waited >= stopping.patience
        return self.epoch >= self.training.epochs or exhausted

    def result(self) -> FitResult:
        """How it went, after the last epoch."""
        return FitResult(
            epochs=self.epoch,
            best_epoch=self.best_epoch,
            best_score=self.best_score,
            seconds=self.seconds,
            averaged=self.best_averaged,
            best_student=self.best_student,
            pieces=self.update.pieces,
        )

    def release(self) -> None:
        """Let what was frozen learn again: the next training decides for itself."""
        set_learning(self.update.optimizer.param_groups, (), (), "running")

    def one_epoch(self) -> None:
        """All remaining steps of an epoch, then its validation score."""
        self.begin_epoch()
        started, samples = time.monotonic(), 0
        source = self.batches.epoch(self.epoch, self.step)
        for batch in prefetched(source, self.engine.device):
            self.one_step(batch)
            self.step += 1
            samples += len(batch)
            self.engine.reporter.advance(1)
            self.between_steps()
        self.check_finite()
        self.finish_epoch(time.monotonic() - started, samples * self.processes.world)
        self.stop_where_asked()

    def begin_epoch(self) -> None:
        """Decide what learns in this epoch."""
        self.learner.train()
        freeze = self.training.freeze
        frozen = () if freeze is None else freeze.frozen(self.backbone, self.epoch)
        groups = self.update.optimizer.param_groups
        set_learning(groups, self.backbone, frozen, self.training.batch_norm, self.head)
        self.update.learn(len(frozen))

    def one_step(self, batch: Batch) -> None:
        """Forward, backward, update."""
        progress = self.progress()
        self.learner.on_progress(progress)
        done = progress.fraction + 0.5 / self.total_steps  # the middle of this step
        self.update.set_rate(self.training.schedule.factor(done, self.training.epochs))
        losses = self.update.step(batch)
        self.learner.after_step()
        if self.average is not None:
            self.average.update()
        for name, loss in losses.items():
            self.sums[name] = self.sums.get(name, 0) + loss

    @property
    def total_steps(self) -> int:
        return self.training.epochs * len(self.batches)

    def progress(self) -> Progress:
        """Where training stands before the next step."""
        step = self.epoch * len(self.batches) + self.step
        epochs_done = self.epoch / self.training.epochs
        return Progress(self.epoch, step, step / self.total_steps, epochs_done)

    def between_steps(self) -> None:
        """Look at the losses now and then, write the state when it is time, stop where asked.

        Several processes do so at the same steps, as all of them take part."""
        looking = self.step % FETCH_EVERY == 0
        if looking:
            self.check_finite()
            self.show({name: float(total) / self.step for name, total in self.sums.items()})
        if looking or self.processes.world == 1:
            waited = time.monotonic() - self.saved_at
            due = waited > self.engine.save_every_s or self.interruption.asked
            if self.processes.all_reduce_any(due, self.engine.device):
                self.check_finite()
                self.save()
                self.stop_where_asked()

    def show(self, losses: dict[str, float], **scores: float) -> None:
        """Means of an epoch so far, with their sum."""
        self.engine.reporter.advance(0, **{**losses, "loss": sum(losses.values()), **scores})

    def stop_where_asked(self) -> None:
        """Raises KeyboardInterrupt in all processes when one was asked to stop."""
        if self.processes.all_reduce_any(self.interruption.asked, self.engine.device):
            raise KeyboardInterrupt

    def check_finite(self) -> None:
        """Raises AugcompressError naming the loss that is NaN or infinite."""
        for name, total in self.sums.items():
            if not math.isfinite(float(total)):
                raise AugcompressError(
                    f"{self.engine.where}: loss {name} is not finite in epoch {self.epoch + 1}, by"
                    f" step {self.step}; lower training.optimizer.lr or set"
                    " training.gradient_clip: 1"
                )

    def check_weights(self) -> None:
        """Raises AugcompressError when the last step has spoilt the weights."""
        floats = [v for v in tensors_of(self.learner).values() if v.is_floating_point()]
        if not math.isfinite(float(torch.stack(torch._foreach_norm(floats)).sum())):
            raise AugcompressError(
                f"{self.engine.where}: weights are not finite after epoch {self.epoch + 1}; lower"
                " training.optimizer.lr or set training.gradient_clip: 1"
            )

    def mean_sums(self) -> dict[str, Tensor]:
        """The sums of the losses, averaged over the processes."""
        if self.processes.world == 1 or not self.sums:
            return self.sums
        sums = self.processes.all_reduce_sum(torch.stack(list(self.sums.values())))
        return dict(zip(self.sums, sums / self.processes.world, strict=True))

    def finish_epoch(self, seconds: float, samples: int) -> None:
        """Score, keep the best, log, save."""
        self.check_weights()
        means = {n: float(total) / len(self.batches) for n, total in self.mean_sums().items()}
        self.epoch, self.step, self.sums = self.epoch + 1, 0, {}
        score, averaged = self.score()
        self.seconds += seconds
        self.note_progress(max(one.sort_key for one in (score, averaged) if one is not None))
        if not score.settled:
            self.improved_epoch, self.improved_score = self.epoch, -math.inf
        shown = "validation" if score.n is not None else f"validation_{score.name}"
        self.show(means, **{shown: score.value})
        self.log.add(
            {
                "epoch": self.epoch,
                "losses": means,
                **score_fields(score, averaged),
                "lr": self.update.rate,
                "images_per_s": round(samples / max(seconds, 1e-9), 1),
                "seconds": round(seconds, 3),
            }
        )
        self.save()

    def score(self) -> tuple[Score, Score | None]:
        """Validation scores of the weights and of their average; the best state is kept."""
        self.learner.eval()
        self.processes.broadcast_state(self.learner)  # running statistics are each process's own
        score, averaged = self.learner.score(), None
        self.keep_if_best(score, averaged=False)
        if self.average is not None:
            with self.average.in_place():
                self.processes.broadcast_state(self.learner)
                averaged = self.learner.score()
                self.keep_if_best(averaged, averaged=True)
        return score, averaged

    def keep_if_best(self, score: Score, *, averaged: bool) -> None:
        """Copy the state that the learner has now, if there was none better."""
        settled = score.settled or self.epoch == self.training.epochs
        if settled and score.sort_key > self.best_score:
            self.best_epoch, self.best_score = self.epoch, score.sort_key
            self.best_averaged, self.best_student = averaged, score.student
            self.best_state = {k: v.clone() for k, v in tensors_of(self.learner).items()}

    def note_progress(self, score: float) -> None:
        """Remember when validation last got better by enough, for early stopping."""
        stopping = self.training.early_stopping
        if score > self.improved_score + (0.0 if stopping is None else stopping.min_delta):
            self.improved_epoch, self.improved_score = self.epoch, score

    def save(self) -> None:
        """Write the resume state."""
        self.saved_at = time.monotonic()
        if self.engine.state is None:
            return
        random = random_state(self.processes, self.engine.device)
        self.sums = self.mean_sums()
        if self.processes.is_rank_zero:
            write_state(self.engine.state, {**self.state(), "random": random})

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on, but for torch's streams."""
        return {
            "learner": self.learner.state_dict(),
            "update": self.update.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "best_state": self.best_state,
            "best_averaged": self.best_averaged,
            "best_student": self.best_student,
            "counts": [self.epoch, self.step, self.best_epoch, self.improved_epoch],
            "scores": [self.best_score, self.improved_score, self.seconds],
            "sums": self.sums,
            "lines": json.dumps(self.log.lines),
        }

    def restore(self) -> None:
        """Continue from the resume state, where there is one."""
        folder = self.engine.state
        state = None if folder is None else read_state(folder, self.engine.reporter)
        self.log.begin([] if state is None else json.loads(state["lines"]))
        if state is None:
            return
        put_state(self.learner, state["learner"])
        self.update.load_state_dict(state["update"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        device = self.engine.device
        self.best_state = {name: value.to(device) for name, value in state["best_state"].items()}
        self.best_averaged, self.best_student = state["best_averaged"], state["best_student"]
        self.epoch, self.step, self.best_epoch, self.improved_epoch = state["counts"]
        self.best_score, self.improved_score, self.seconds = state["scores"]
        self.sums = {name: value.to(device) for name, value in state["sums"].items()}
        set_random_state(state["random"], self.processes, device)
        self.engine.reporter.message(
            f"resuming {self.engine.where} at epoch {self.epoch + 1}, step {self.step}"
        )


def parts_of(
    learner: Learner, training: Training, where: str
) -> tuple[Sequence[nn.Module], Sequence[nn.Parameter]]:
    """The layers below the head, and the head, where something is asked of them.

    Raises AugcompressError when there are none.
    """
    asked = {
        "freeze": training.freeze is not None,
        "backbone_lr_scale": training.backbone_lr_scale != 1,
        "batch_norm": training.batch_norm == "frozen",
    }
    wanted = [name for name, given in asked.items() if given]
    if not wanted:
        return (), ()
    layers = learner.backbone()
    if not layers:
        raise AugcompressError(
            f"{where}.training.{wanted[0]}: the network has no layers below its head; leave it out"
        )
    return layers, learner.head()
