"""distill: a student learns from the labels and from a teacher."""

from __future__ import annotations

from pathlib import Path

from augcompress.learning import TrainingSetup, finish, train
from augcompress.networks import Teacher, cached, new_network, open_network, open_teacher
from augcompress.running import Context, Input, Inputs, Output, Sources, Stage, training_reads
from augcompress.spec import DistillSection, require_section


def inputs(sources: Sources) -> dict[str, Input]:
    """The teachers, where an objective follows one; what the student starts from, or the network
    that learns again."""
    section = require_section(sources.context.spec, "distill")
    found = teacher_inputs(sources, section)
    if section.student is None or (
        sources.target == "distill" and sources.context.source is not None
    ):
        found["source"] = sources.source("distill")
    elif sources.context.spec.starts_pretrained("distill"):
        found["source"] = sources.artifact_of("pretrain")
    elif section.weights is not None:
        found["weights"] = sources.file(section.weights)
    return found


def teacher_inputs(sources: Sources, section: DistillSection) -> dict[str, Input]:
    """`teacher`, or `teacher_0`, `teacher_1`, …; none where no objective follows one."""
    if not any(objective.needs_teacher for objective in section.objectives):
        return {}
    if section.teachers is None or sources.context.teacher is not None:
        teacher = sources.teacher()
        return {} if teacher is None else {"teacher": teacher}
    found = [
        sources.artifact_of("train_teacher") if one.file is None else sources.file(one.file)
        for one in section.teachers
    ]
    if len(found) == 1:
        return {"teacher": found[0]}
    return {f"teacher_{place}": teacher for place, teacher in enumerate(found)}


def open_teachers(context: Context, section: DistillSection, inputs: Inputs) -> list[Teacher]:
    """The teachers, in the recipe's order."""
    paths = [one.path for role, one in inputs.items() if role.startswith("teacher")]
    named = section.teachers if context.teacher is None else None
    models = [None] * len(paths) if named is None else [one.model for one in named]
    teachers = [
        open_teacher(context, path, model, "distill.teacher")
        for path, model in zip(paths, models, strict=False)
    ]
    if section.cache_teachers:
        return [cached(context, teacher) for teacher in teachers]
    return teachers


def body(context: Context, inputs: Inputs, folder: Path) -> Output:
    """Open the teachers, make or open the student, train, measure."""
    section = require_section(context.spec, "distill")
    teachers = open_teachers(context, section, inputs)
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
    builds=lambda spec: require_section(spec, "distill").student,
    reads=training_reads("distill"),
    trains=True,
    version=4,
)
