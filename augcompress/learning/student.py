"""Learners: student, teachers, objectives and augmentation put together for `fit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from augcompress.augmentations import build_pipeline
from augcompress.batch import Batch, Progress
from augcompress.compressions import Prepared
from augcompress.datasets import class_counts
from augcompress.errors import AugcompressError
from augcompress.learning.resolution import check_takes, share_at, shrunk
from augcompress.models import Head, backbone_layers, find_head, place, require_logits
from augcompress.modules import in_evaluation
from augcompress.networks import Outputs, Teacher
from augcompress.objectives import (
    MatchedLayers,
    ObjectiveFacts,
    Taps,
    View,
    forward_with_features,
    stage_ends,
)
from augcompress.running import PLAIN, Context
from augcompress.scoring import loss_of
from augcompress.spec import Sampling
from augcompress.training import Learner, Score


class StudentLearner(Learner):
    """One student under any objectives; without teachers it is plain training."""

    def __init__(
        self,
        student: nn.Module,
        setup: TrainingSetup,
        context: Context,
        score: Callable[[nn.Module], Score],
    ) -> None:
        super().__init__()
        place(student, context.device)
        self.student = student
        self.setup, self.seed, self._score = setup, context.spec.seed, score
        self.progress, self.gather = Progress(), context.processes.gather
        self.ready, self.names = context.ready, names_of(setup.objectives)
        self.teachers = tuple(setup.teachers)
        self.example = context.example().to(context.device)
        self.setup = setup = replace(setup, objectives=self.with_layers(setup))
        wanted = [objective.taps() for objective in setup.objectives]
        self.student_layers = tuple(name for taps in wanted for name in taps.student)
        self.teacher_layers = tuple(name for taps in wanted for name in taps.teacher)
        self.reaches_all = not all(taps.student for taps in wanted)  # layers may end below the head
        where, facts_of_data = f"{setup.where}.augment", context.augmentation_facts
        self.augment = build_pipeline(list(setup.augmentations), facts_of_data, where)
        self.loss = loss_of(student, self.resized_ready)
        self.emphasis = emphasis_of(context, setup.sampling)
        facts = self.objective_facts(context)
        self.objectives = nn.ModuleDict(
            {
                f"{position}_{objective.kind}": objective.build(facts)
                for position, objective in enumerate(setup.objectives)
            }
        ).to(context.device)

    def with_layers(self, setup: TrainingSetup) -> list[Any]:
        """The objectives, with the layers that those read which name none.

        Raises AugcompressError when the teachers lack what an objective needs.
        """
        for position, objective in enumerate(setup.objectives):
            check_teachers(objective, self.teachers, f"{setup.where}.objectives.{position}")
        if not any(isinstance(objective, MatchedLayers) for objective in setup.objectives):
            return list(setup.objectives)
        with torch.no_grad(), in_evaluation(self.student):
            example = self.ready_example()
            ours, theirs = (
                stage_ends(self.student, example.inputs),
                self.teachers[0].stage_ends(example),
            )
        return [
            one.with_layers(ours, theirs) if isinstance(one, MatchedLayers) else one
            for one in setup.objectives
        ]

    def ready_example(self) -> Batch:
        """A pair of images as networks take them."""
        return self.ready(Batch(self.example, None, torch.arange(len(self.example))))

    def objective_facts(self, context: Context) -> ObjectiveFacts:
        """Shapes of the tapped features, from a real pair of images.

        Raises AugcompressError when a network cannot take images of a size that training has.
        """
        where, resolution = self.setup.where, self.setup.sampling.resolution
        example = self.ready_example()
        with torch.no_grad(), in_evaluation(self.student):
            networks: list[Callable[[Batch], Outputs]] = [self.student_outputs, *self.teachers]
            for network in networks:
                check_takes(network, example, resolution, f"{where}.sampling")
            return ObjectiveFacts(
                samples=context.data.source_size,
                classes=len(context.data.classes),
                student_shapes=shapes_of(self.student_outputs, self.student_layers, example),
                teacher_shapes=tuple(
                    shapes_of(teacher, self.teacher_layers, example) for teacher in self.teachers
                ),
            )

    def student_outputs(self, batch: Batch, layers: Sequence[str] = ()) -> Outputs:
        """Logits and the outputs of the named layers, like a teacher's.

        Raises AugcompressError when the network gives anything else.
        """
        logits, features = forward_with_features(self.student, batch.inputs, layers)
        require_logits(logits, len(batch), f"{self.setup.where}: the network")
        return logits.float(), features

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted losses by objective, and the penalties of what is being compressed."""
        with torch.no_grad(), torch.autocast(batch.index.device.type, enabled=False):
            seen = self.resized_ready(self.augmented(batch))
            same = self.setup.teacher_view == "same"
            teacher_batch = seen if same else self.resized_ready(batch.scaled())
        logits, features = self.student_outputs(seen, self.student_layers)
        outputs = [teacher(teacher_batch, self.teacher_layers) for teacher in self.teachers]
        view = View(
            student_logits=logits,
            teacher_logits=[teacher_logits for teacher_logits, _ in outputs],
            targets=seen.targets,
            index=seen.index,
            student_features=features,
            teacher_features=[teacher_features for _, teacher_features in outputs],
            gather=self.gather,
        )
        with torch.autocast(logits.device.type, enabled=False):
            modules = self.objectives.values()
            weighted = zip(self.setup.objectives, modules, strict=True)
            losses = [objective.weight * module(view) for objective, module in weighted]
            named = dict(zip(self.names, losses, strict=True))
            require_scalars(named, self.setup.where)
            for prepared in self.setup.prepared:
                for name, penalty in prepared.penalties().items():
                    named[name] = named[name] + penalty if name in named else penalty
            return named

    def augmented(self, clean: Batch) -> Batch:
        """The batch as it is learned from, in its full size; images in [0,1]."""
        if not self.setup.augmentations:
            return clean.scaled()
        emphasis = None
        if self.emphasis is not None and clean.targets is not None:
            emphasis = clean.targets @ self.emphasis.to(clean.targets)
        return self.augment(
            clean, seed=self.seed, progress=self.progress, loss=self.loss, emphasis=emphasis
        )

    def resized_ready(self, batch: Batch) -> Batch:
        """The batch ready for networks, at the image size of this epoch."""
        share = share_at(self.setup.sampling.resolution, self.progress.epochs_done)
        return self.ready(batch if share == 1 else batch.with_images(shrunk(batch.images(), share)))

    def score(self) -> Score:
        """On validation."""
        settled = all(prepared.settled for prepared in self.setup.prepared)
        return replace(self._score(self.student), settled=settled)

    def backbone(self) -> Sequence[nn.Module]:
        head = self._head
        return backbone_layers(self.student, self.example, head) if head.layers else ()

    def head(self) -> Sequence[nn.Parameter]:
        return [self.student.get_parameter(name) for name in self._head.parameters]

    @cached_property
    def _head(self) -> Head:
        return find_head(self.student, self.example)

    def networks(self) -> Sequence[nn.Module]:
        """Student and teachers.

        Raises AugcompressError when an objective reads their layers, which compiled ones hide.
        """
        if self.student_layers or self.teacher_layers:
            readers = [o.kind for o in self.setup.objectives if o.taps() != Taps()]
            raise AugcompressError(
                f"{self.setup.where}.training.compile: objective {readers[0]} reads layers inside"
                " the networks, which compiled ones hide; leave compile out"
            )
        return (self.student, *(one for teacher in self.teachers for one in teacher.networks))

    def on_progress(self, progress: Progress) -> None:
        self.progress = progress
        for prepared in self.setup.prepared:
            prepared.on_progress(progress)

    def after_backward(self) -> None:
        for prepared in self.setup.prepared:
            prepared.after_backward()

    def after_step(self) -> None:
        for prepared in self.setup.prepared:
            prepared.after_step()


def require_scalars(losses: Mapping[str, object], where: str) -> None:
    """Raises AugcompressError when an objective gives anything but one number."""
    for name, loss in losses.items():
        if not isinstance(loss, Tensor) or loss.ndim > 0:
            found = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise AugcompressError(
                f"{where}.objectives: {name} gives {found} and must give a scalar tensor, the mean"
                " over the batch; take its mean"
            )


def emphasis_of(context: Context, sampling: Sampling) -> Tensor | None:
    """Factor of every augmentation's probability for each class, `(classes,)`; None: all 1."""
    if sampling.class_balance is None:
        return None
    counts = class_counts(context.data.train.labels, len(context.data.classes))
    factors = torch.from_numpy(sampling.class_balance.emphasis(counts)).float()
    return None if bool((factors == 1).all()) else factors


def names_of(objectives: Sequence[Any]) -> list[str]:
    """The kinds of the objectives, numbered where a kind stands more than once."""
    kinds = [objective.kind for objective in objectives]
    return [f"{k}_{i}" if kinds.count(k) > 1 else k for i, k in enumerate(kinds)]


def check_teachers(objective: Any, teachers: Sequence[Teacher], where: str) -> None:
    """Raises AugcompressError when the teachers lack what an objective needs."""
    if getattr(objective, "needs_teacher", False) and not teachers:
        raise AugcompressError(
            f"{where}: {objective.kind} needs a teacher and there is none; add train_teacher or"
            " give --teacher"
        )
    reads = getattr(objective, "reads_layers", False) or objective.taps().teacher
    if reads and not all(teacher.gives_features for teacher in teachers):
        raise AugcompressError(
            f"{where}: {objective.kind} reads layers of the teacher, and an ONNX file or a cache"
            " gives logits only; name a checkpoint as the teacher, or leave the objective out"
        )


def shapes_of(
    network: Callable[[Batch, Sequence[str]], Outputs], layers: Sequence[str], example: Batch
) -> dict[str, tuple[int, ...]]:
    """Shapes of the named layers' outputs, without the batch."""
    features = network(example, layers)[1] if layers else {}
    return {name: tuple(value.shape[1:]) for name, value in features.items()}


@dataclass(frozen=True)
class TrainingSetup:
    """A stage's objectives, augmentations, teachers and sampling."""

    where: str
    objectives: Sequence[Any]
    augmentations: Sequence[Any]
    teachers: Sequence[Teacher] = ()
    teacher_view: str = "same"
    prepared: Sequence[Prepared] = ()
    """Compressions of the student whose hooks are called while it is trained."""
    sampling: Sampling = PLAIN
