"""distill: a student learns from the labels and from a teacher."""

from __future__ import annotations

from pathlib import Path

from augcompress.learning import TrainingSetup, finish, train
from augcompress.networks import new_network, open_network
from augcompress.running import Context, Input, Inputs, Output, Sources, Stage, training_reads
from augcompress.spec import require_section


def inputs(sources: Sources) -> dict[str, Input]:
    """The teacher, where an objective follows one; what the student starts from, or the network
    that learns again."""
    section = require_section(sources.context.spec, "distill")
    found = {}
    follows = any(objective.needs_teacher for objective in section.objectives)
    if follows and (teacher := sources.teacher()) is not None:
        found["teacher"] = teacher
    if section.student is None or (
        sources.target == "distill" and sources.context.source is not None
    ):
        found["source"] = sources.source("distill")
    elif sources.context.spec.starts_pretrained("distill"):
        found["source"] = sources.artifact_of("pretrain")
    elif section.weights is not None:
        found["weights"] = sources.file(section.weights)
    return found


def body(context: Context, inputs: Inputs, folder: Path) -> Output:
    """Open the teacher, make or open the student, train, measure."""
    section = require_section(context.spec, "distill")
    teacher_section = context.spec.train_teacher
    teachers = []
    if "teacher" in inputs:
        model = teacher_section.model if teacher_section is not None else None
        teacher = open_network(context, inputs["teacher"].path, model, "distill.teacher")
        teachers.append(teacher.module)
    if "source" in inputs:
        network = open_network(
            context, inputs["source"].path, section.student, "distill", "replace"
        )
    else:
        network = new_network(context, section.student, section.weights, "distill")
    context.seed_everything("distill")
    setup = TrainingSetup(
        "distill",
        section.objectives,
        context.spec.augmentations("distill"),
        teachers,
        section.teacher_view,
        network.mask_hooks(),
        context.spec.sampling("distill"),
    )
    notes = train(context, network, setup, section.training, folder)
    return finish(context, network, folder, notes)


STAGE = Stage(
    "distill",
    inputs,
    body,
    makes="network",
    reads=training_reads("distill"),
    trains=True,
    version=2,
)
