"""prune: steps that make the network smaller, each followed by fine-tuning."""

from __future__ import annotations

from pathlib import Path

from augcompress.learning import TrainingSetup, engine_for, finish, make_probe, shrink
from augcompress.networks import (
    WEIGHTS,
    Teacher,
    load_network,
    open_network,
    open_teacher,
    save_network,
)
from augcompress.running import Context, Input, Inputs, Output, Sources, Stage, training_reads
from augcompress.spec import PruneSection, require_section


def inputs(sources: Sources) -> dict[str, Input]:
    """The network to prune, and the teacher where an objective follows one."""
    section = require_section(sources.context.spec, "prune")
    found = {"source": sources.source("prune")}
    follows = needs_teacher(section) and section.teacher == "train_teacher"
    if follows and (teacher := sources.teacher()) is not None:
        found["teacher"] = teacher
    return found


def needs_teacher(section: PruneSection) -> bool:
    """Does fine-tuning follow a teacher?"""
    return section.training is not None and any(o.needs_teacher for o in section.objectives)


def body(context: Context, inputs: Inputs, folder: Path) -> Output:
    """Open, shrink, assert the promises on the reopened network, measure."""
    section = require_section(context.spec, "prune")
    network = open_network(context, inputs["source"].path, None, "prune")
    setup = TrainingSetup(
        "prune",
        section.objectives,
        context.spec.augmentations("prune"),
        teachers(context, inputs),
        sampling=context.spec.sampling("prune"),
    )
    engine = engine_for(context, "prune", section.training, folder)
    network = shrink(context, section, network, setup, engine, folder)
    context.processes.rank_zero_only(lambda: save_network(network, folder))
    reopened = load_network(folder / WEIGHTS)
    probe = make_probe(context, engine)
    promises = [
        row
        for applied in reopened.standing()
        for row in applied.compression.check(reopened.module, applied.history, probe)
    ]
    return finish(context, reopened, folder, [], promises)


def teachers(context: Context, inputs: Inputs) -> list[Teacher]:
    """The recipe's teacher, the network before pruning, or none where none is followed."""
    section = require_section(context.spec, "prune")
    if not needs_teacher(section):
        return []
    role = "source" if section.teacher == "unpruned" else "teacher"
    if role not in inputs:
        return []
    return [open_teacher(context, inputs[role].path, None, "prune.teacher")]


STAGE = Stage(
    "prune",
    inputs,
    body,
    makes="network",
    reads=training_reads("prune"),
    trains=True,
    version=3,
)
