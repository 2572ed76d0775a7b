"""Learners: student, teachers, objectives and augmentation put together for `fit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from augcompress.assembly.artifacts import images_of
from augcompress.assembly.context import Context
from augcompress.augmentations import build_pipeline
from augcompress.batch import Batch, Progress
from augcompress.errors import AugcompressError
from augcompress.objectives import FeatureTaps, ObjectiveFacts, View
from augcompress.training import Learner


@dataclass(frozen=True)
class Lesson:
    """What a student learns from: a stage's objectives, augmentations and teachers."""

    where: str
    objectives: Sequence[Any]
    augmentations: Sequence[Any]
    teachers: Sequence[nn.Module] = ()
    teacher_view: str = "same"
    after_step: Sequence[Callable[[], None]] = ()


class StudentLearner(Learner):
    """One student under any objectives; without teachers it is plain training."""

    def __init__(
        self,
        student: nn.Module,
        lesson: Lesson,
        context: Context,
        score: Callable[[nn.Module], float],
    ) -> None:
        super().__init__()
        student.to(context.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.student = student
        self.lesson, self.seed, self._score = lesson, context.spec.seed, score
        self.progress, self.gather = Progress(), context.processes.gather
        self.encode = context.data.encode
        self.teachers = tuple(freeze(t, context.device) for t in lesson.teachers)  # no submodules
        wanted = [objective.taps() for objective in lesson.objectives]
        self.student_layers = tuple(name for taps in wanted for name in taps.student)
        self.teacher_layers = tuple(name for taps in wanted for name in taps.teacher)
        self.augment = build_pipeline(list(lesson.augmentations), context.augmentation_facts)
        facts = self.objective_facts(context)
        self.objectives = nn.ModuleDict(
            {
                f"{position}_{objective.kind}": objective.build(facts)
                for position, objective in enumerate(lesson.objectives)
            }
        ).to(context.device)

    def objective_facts(self, context: Context) -> ObjectiveFacts:
        """Shapes of the tapped features, from a real pair of images.

        Raises AugcompressError when an objective needs a teacher and there is none.
        """
        for position, objective in enumerate(self.lesson.objectives):
            if getattr(objective, "needs_teacher", False) and not self.teachers:
                raise AugcompressError(
                    f"{self.lesson.where}.objectives.{position}: {objective.kind} needs a teacher"
                    " and there is none; add train_teacher or give --teacher"
                )
        example = context.example().to(context.device)
        with torch.no_grad():
            student = shapes_of(self.student, self.student_layers, example)
            teachers = [shapes_of(t, self.teacher_layers, example) for t in self.teachers]
        return ObjectiveFacts(
            samples=len(context.data.train),
            classes=len(context.data.classes),
            student_shapes=student,
            teacher_shapes=teachers[0] if teachers else {},
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted losses by objective."""
        clean = batch.scaled()
        with torch.no_grad(), torch.autocast(clean.index.device.type, enabled=False):
            seen = self.encode(self.augment(clean, seed=self.seed, progress=self.progress))
        logits, features = observed(self.student, self.student_layers, seen.images())
        same = self.lesson.teacher_view == "same"
        shown = (seen if same else self.encode(clean)).images()
        with torch.no_grad():
            taught = [observed(t, self.teacher_layers, shown) for t in self.teachers]
        view = View(
            student_logits=logits,
            teacher_logits=[teacher_logits for teacher_logits, _ in taught],
            targets=seen.targets,
            index=seen.index,
            student_features=features,
            teacher_features=[teacher_features for _, teacher_features in taught],
            gather=self.gather,
        )
        with torch.autocast(logits.device.type, enabled=False):
            modules = self.objectives.values()
            weighted = zip(self.lesson.objectives, modules, strict=True)
            losses = [objective.weight * module(view) for objective, module in weighted]
            return dict(zip(names_of(self.lesson.objectives), losses, strict=True))

    def score(self) -> float:
        """Top-1 on validation."""
        return self._score(self.student)

    def on_progress(self, progress: Progress) -> None:
        self.progress = progress

    def after_step(self) -> None:
        for hold in self.lesson.after_step:
            hold()


def names_of(objectives: Sequence[Any]) -> list[str]:
    """The kinds of the objectives, numbered where a kind stands more than once."""
    kinds = [objective.kind for objective in objectives]
    return [f"{k}_{i}" if kinds.count(k) > 1 else k for i, k in enumerate(kinds)]


def freeze(module: nn.Module, device: torch.device) -> nn.Module:
    """A teacher: evaluation mode, no gradients."""
    module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module.eval().requires_grad_(False)


def observed(
    network: nn.Module, layers: Sequence[str], images: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits `(N,classes)` in fp32, and the outputs of the named layers."""
    with FeatureTaps(network, layers) as taps:
        logits = network(images_of(images))
        return logits.float(), taps.take()


def shapes_of(
    network: nn.Module, layers: Sequence[str], example: Tensor
) -> dict[str, tuple[int, ...]]:
    """Shapes of the named layers' outputs, without the batch."""
    was_training = network.training
    _, features = observed(network.eval(), layers, example)
    network.train(was_training)
    return {name: tuple(value.shape[1:]) for name, value in features.items()}
