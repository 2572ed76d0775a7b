"""What the training stages share: the engine, the fit, the checkpoint, its measurements."""

from __future__ import annotations

from pathlib import Path

from augcompress.assembly.artifacts import WEIGHTS, Network, save_network
from augcompress.assembly.context import Context
from augcompress.assembly.learners import Lesson, StudentLearner
from augcompress.assembly.scoring import accuracy, accuracy_scorer, costs, network_answer, predict
from augcompress.assembly.stage import Output
from augcompress.datasets import Batches
from augcompress.errors import AugcompressError
from augcompress.records import Measurement
from augcompress.training import Engine, Training, fit, resolve_precision


def engine_for(context: Context, stage: str, training: Training | None, folder: Path) -> Engine:
    """Where and how a stage trains."""
    precision = training.precision if training is not None else "fp32"
    return Engine(
        device=context.device,
        precision=resolve_precision(precision, context.device),
        where=stage,
        reporter=context.reporter,
        state=folder / "state",
        log=folder / "log.jsonl",
        processes=context.processes,
    )


def train(
    context: Context, network: Network, lesson: Lesson, training: Training, folder: Path
) -> list[str]:
    """Fit a network in place; says how it went."""
    engine = engine_for(context, lesson.where, training, folder)
    learner = StudentLearner(network.module, lesson, context, accuracy_scorer(context, engine))
    batches = batches_for(context, lesson, training)
    result = fit(learner, batches, training, engine)
    return [
        f"best epoch {result.best_epoch} of {result.epochs} (on validation), {engine.precision}"
    ]


def batches_for(context: Context, lesson: Lesson, training: Training) -> Batches:
    """This process's batches for a lesson.

    Raises AugcompressError when they leave an augmentation nothing to mix with.
    """
    world = context.processes.world
    mixing = [one.kind for one in lesson.augmentations if getattr(one, "mixes", False)]
    if mixing and training.batch_size // world < 2:
        raise AugcompressError(
            f"{lesson.where}.training.batch_size: {training.batch_size} leaves {mixing[0]} no"
            f" second image in each of {world} processes; raise it, or leave {mixing[0]} out"
        )
    return context.training_batches(
        training.batch_size, context.processes, lesson.where, lesson.sampling
    )


def finish(
    context: Context,
    network: Network,
    folder: Path,
    notes: list[str],
    extra: list[Measurement] | None = None,
) -> Output:
    """Save the network and measure it on validation."""
    save_network(network, folder)
    found = predict(network_answer(network.module, context.device), context, "validation")
    rows = accuracy(found, WEIGHTS) + costs(network, context, WEIGHTS) + (extra or [])
    return Output(WEIGHTS, rows, found, notes)
