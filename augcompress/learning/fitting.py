"""What the training stages share: the engine, the fit, the checkpoint, its measurements."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from augcompress import measures
from augcompress.datasets import Batches
from augcompress.errors import AugcompressError
from augcompress.evidence import Measurement
from augcompress.learning.student import StudentLearner, TrainingSetup
from augcompress.models import check_batch_of_one, runs_channels_last, unused_parameters
from augcompress.networks import WEIGHTS, Network, save_network
from augcompress.running import Context, Output, rank_zero_only
from augcompress.scoring import accuracy, costs, predict, predict_with_network, scorer
from augcompress.training import Engine, FitResult, Training, cpu_threads, fit, resolve_precision

EVENTS = "events"
"""Folder of TensorBoard's event files in a stage's folder."""
NAMED = 4
"""Parameters that a sentence names."""


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
        events=folder / EVENTS if training is not None and training.tensorboard else None,
        processes=context.processes,
    )


def train(
    context: Context, network: Network, setup: TrainingSetup, training: Training, folder: Path
) -> list[str]:
    """Fit a network in place; says how it went."""
    engine = engine_for(context, setup.where, training, folder)
    result = learn(context, network.module, setup, training, engine)
    return [how_it_went(result, training, engine), *remarks(context, network.module)]


def learn(
    context: Context, module: nn.Module, setup: TrainingSetup, training: Training, engine: Engine
) -> FitResult:
    """Train a network in place, as its setup says.

    Raises AugcompressError when batches are too small for what is asked of them.
    """
    learner = StudentLearner(module, setup, context, scorer(context, engine, training.select_by))
    for remark in remarks(context, module):
        context.reporter.message(f"{setup.where}: {remark}")
    if unused_parameters(module, learner.example):
        learner.reaches_all = False
    batches = batches_for(context, setup, training)
    at_a_time = training.batch_size // (context.processes.world * training.accumulation)
    if at_a_time == 1 and training.batch_norm != "frozen":
        check_batch_of_one(module, learner.example, f"{setup.where}.training.batch_size")
    if engine.device.type != "cpu":
        return fit(learner, batches, training, engine)
    with cpu_threads(training.batch_size * macs_of_sample(learner) / context.processes.world):
        return fit(learner, batches, training, engine)


def macs_of_sample(learner: StudentLearner) -> float:
    """Multiply-adds that a sample takes in training: the student forward, and backward by weights
    and by inputs; the teachers' networks forward."""
    taught = [network for teacher in learner.setup.teachers for network in teacher.networks]
    teaching = sum(measures.macs(one, learner.example).value for one in taught)
    return 3 * measures.macs(learner.student, learner.example).value + teaching


def remarks(context: Context, module: nn.Module) -> list[str]:
    """What a user should know of a network that is trained, in sentences."""
    found, idle = [], unused_parameters(module, context.example())
    if not runs_channels_last(module):
        found.append(
            "trained without channels-last memory, which is slower, as the network's code does not"
            " take it; write x.flatten(1) or x.reshape in place of x.view"
        )
    if idle:
        named = ", ".join(idle[:NAMED]) + (" …" if len(idle) > NAMED else "")
        found.append(
            f"{len(idle)} parameters have no part in the logits ({named}); take them out of the"
            " network, or use them"
        )
    return found


def how_it_went(result: FitResult, training: Training, engine: Engine) -> str:
    """A sentence for people."""
    weights = "moving average of the weights, " if result.averaged else ""
    by = "" if training.select_by == "top1" else f"{training.select_by} "
    notes = [f"{weights}best epoch {result.best_epoch} of {result.epochs} ({by}on validation)"]
    if result.epochs < training.epochs:
        notes.append(f"stopped early, {training.epochs} were planned")
    if result.pieces > training.accumulation:
        notes.append(f"each batch in {result.pieces} pieces, as memory ran out")
    return ", ".join([*notes, engine.precision])


def batches_for(context: Context, setup: TrainingSetup, training: Training) -> Batches:
    """This process's batches.

    Raises AugcompressError when they leave an augmentation nothing to mix with.
    """
    world = context.processes.world
    mixing = [one.kind for one in setup.augmentations if getattr(one, "mixes", False)]
    if mixing and training.batch_size // world // training.accumulation < 2:
        raise AugcompressError(
            f"{setup.where}.training.batch_size: {training.batch_size} leaves {mixing[0]} no"
            f" second image in each of {world} processes and {training.accumulation} pieces; raise"
            f" it, or leave {mixing[0]} out"
        )
    return context.training_batches(
        training.batch_size, context.processes, setup.where, setup.sampling
    )


def finish(
    context: Context,
    network: Network,
    folder: Path,
    notes: list[str],
    extra: list[Measurement] | None = None,
) -> Output:
    """Save the network and measure it on validation; of several processes, the first does."""
    measured = rank_zero_only(
        context, lambda: _finish(context, network, folder, notes, extra or [])
    )
    return measured or Output(WEIGHTS)


def _finish(
    context: Context, network: Network, folder: Path, notes: list[str], extra: list[Measurement]
) -> Output:
    save_network(network, folder)
    found = predict(predict_with_network(network.module, context), context, "validation")
    rows = accuracy(found, WEIGHTS) + costs(network, context, WEIGHTS) + extra
    return Output(WEIGHTS, rows, found, notes)
