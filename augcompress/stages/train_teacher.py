"""train-teacher: the network to learn from, trained, or taken from weights that fit."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from augcompress.learning import TrainingSetup, finish, train
from augcompress.networks import new_network, open_network
from augcompress.running import Context, Input, Inputs, Output, Sources, Stage, training_reads
from augcompress.spec import require_section


def inputs(sources: Sources) -> dict[str, Input]:
    """What the network starts from: what `pretrain` learned, or weights that the recipe names."""
    if sources.context.spec.starts_pretrained("train_teacher"):
        return {"pretrained": sources.artifact_of("pretrain")}
    weights = require_section(sources.context.spec, "train_teacher").weights
    return {} if weights is None else {"weights": sources.file(weights)}


def body(context: Context, inputs: Inputs, folder: Path) -> Output:
    """Build, load, train, measure."""
    section = require_section(context.spec, "train_teacher")
    head: Literal["strict", "replace"] = "strict" if section.training is None else "replace"
    if "pretrained" in inputs:
        network = open_network(context, inputs["pretrained"].path, section.model, "train_teacher")
        context.seed_everything("train_teacher")
    else:
        network = new_network(context, section.model, section.weights, "train_teacher", head)
    if section.training is None:
        return finish(context, network, folder, ["weights taken as they are"])
    setup = TrainingSetup(
        "train_teacher",
        section.objectives,
        context.spec.augmentations("train_teacher"),
        sampling=context.spec.sampling("train_teacher"),
    )
    notes = train(context, network, setup, section.training, folder)
    return finish(context, network, folder, notes)


STAGE = Stage(
    "train_teacher",
    inputs,
    body,
    makes="network",
    builds=lambda spec: require_section(spec, "train_teacher").model,
    reads=training_reads("train_teacher"),
    starts_fresh=True,
    trains=True,
    on_demand=lambda section: section.training is None,  # weights that fit need no training
    version=4,
)
