"""The shrink loop: prepare, train, convert; each round committed before the next begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from augcompress import measures
from augcompress.assembly.artifacts import (
    DESCRIPTION,
    WEIGHTS,
    Applied,
    Network,
    images_of,
    load_network,
    save_network,
)
from augcompress.assembly.context import Context
from augcompress.assembly.fitting import batches_for
from augcompress.assembly.learners import Lesson, StudentLearner
from augcompress.assembly.scoring import accuracy_scorer
from augcompress.batch import Batch
from augcompress.compressions import NetworkCompression, Probe, resolve
from augcompress.rundir import write_aside
from augcompress.spec import PruneSection
from augcompress.training import Engine, fit

PROBE_BATCH = 64
LOG = "log.jsonl"


def shrink(
    context: Context,
    section: PruneSection,
    network: Network,
    lesson: Lesson,
    engine: Engine,
    folder: Path,
) -> Network:
    """Take `network` through all rounds of all steps; finished rounds are read back, not repeated.

    Every round counts its target from the network that the stage began with.
    """
    probe = make_probe(context, engine)
    original_cost = probe.cost(network.module)
    for position, settings in enumerate(section.steps):
        step = resolve(settings, NetworkCompression)
        for turn in range(step.rounds):
            place = folder / "state" / f"step-{position}-round-{turn}"
            if (place / DESCRIPTION).exists():
                network = load_network(place / WEIGHTS)
                continue
            context.reporter.message(f"{step.kind}: round {turn + 1} of {step.rounds}")
            context.seed_everything(f"{lesson.where}-{position}-{turn}")
            network.module.to(context.device)
            prepared = step.prepare(network.module, probe, round=turn, original_cost=original_cost)
            if section.training is not None:
                own = replace(engine, state=place, log=place / LOG)
                tune(context, prepared, network, lesson, section, own)
            module, history = prepared.convert()
            network = network.changed(module.cpu().eval(), Applied(settings, history))
            save_network(network, place)
    join_logs(folder)
    return network


def join_logs(folder: Path) -> None:
    """The rounds' logs, one below the other."""
    logs = sorted(
        (folder / "state").glob(f"step-*/{LOG}"), key=lambda path: path.stat().st_mtime_ns
    )
    if logs:
        with write_aside(folder / LOG) as aside:
            aside.write_text("".join(path.read_text() for path in logs))


def tune(
    context: Context,
    prepared: Any,
    network: Network,
    lesson: Lesson,
    section: PruneSection,
    engine: Engine,
) -> None:
    """Fine-tune a prepared network; what it promised is held after every step."""
    assert section.training is not None
    assert engine.state is not None
    engine.state.mkdir(parents=True, exist_ok=True)
    earlier = replace(network, module=prepared.network).holds()
    held = replace(lesson, after_step=(prepared.after_step, *earlier))
    learner = StudentLearner(prepared.network, held, context, accuracy_scorer(context, engine))
    fit(learner, batches_for(context, lesson, section.training), section.training, engine)


def make_probe(context: Context, engine: Engine) -> Probe:
    """The world as a compression may ask for it."""
    example = context.example()
    size = min(PROBE_BATCH, len(context.data.train))

    def loss(network: nn.Module, batch: Batch) -> Tensor:
        moved = batch.to(engine.device).scaled()
        assert moved.targets is not None
        return F.cross_entropy(network(images_of(moved.images())).float(), moved.targets)

    def cost(network: nn.Module) -> float:
        device = next(network.parameters()).device
        with torch.no_grad():
            return float(measures.count_macs(network, example.to(device)))

    score: Callable[[nn.Module], float] = accuracy_scorer(context, engine)
    return Probe(
        example=example.to(engine.device),
        batches=lambda: context.training_batches(size).epoch(0),
        loss=loss,
        score=score,
        cost=cost,
    )
