"""The whole recipe as one tree."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from augcompress.augmentations import AnyAugmentation
from augcompress.component import Plugin, Section, key_of
from augcompress.compressions import misplaced, wrong_place
from augcompress.datasets import Dataset
from augcompress.errors import AugcompressError
from augcompress.evidence import OF_SHIPPED_FILES, ORDER, Limit, StageName, unknown_measure
from augcompress.spec.search import Search
from augcompress.spec.sections import (
    AugmentSection,
    DistillSection,
    EvaluateSection,
    ExportSection,
    ForeignSection,
    PretrainSection,
    PruneSection,
    QuantizeSection,
    Sampling,
    TrainTeacherSection,
)
from augcompress.storage import digest_json


class Spec(Section):
    """A whole recipe."""

    version: Literal[1]
    """Version of the recipe's format."""
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """Names the run directory."""
    seed: int = Field(0, ge=0)
    """Seed of splits, initial weights, order and augmentation."""
    pipeline: tuple[StageName, ...] | None = Field(None, min_length=1)
    """Order of the stages, each at most once; None takes the sections that are there, in order."""
    data: Dataset
    """Images and labels."""
    augment: AugmentSection = AugmentSection()
    """Augmentation."""
    pretrain: PretrainSection | None = None
    """Features learned without labels."""
    train_teacher: TrainTeacherSection | None = None
    """Teacher."""
    distill: DistillSection | None = None
    """Student."""
    prune: PruneSection | None = None
    """Pruning."""
    quantize: QuantizeSection | None = None
    """Quantisation."""
    export: ExportSection = ExportSection()
    """The shipped files."""
    evaluate: EvaluateSection = EvaluateSection()
    """Measuring."""
    limits: tuple[Limit, ...] = ()
    """Promises that the run must keep."""
    foreign: ForeignSection = ForeignSection()
    """How an ONNX file from elsewhere wants its images."""
    search: Search | None = None
    """Variants of this recipe, for `augcompress search`."""

    @model_validator(mode="after")
    def pipeline_names_sections_once(self) -> Spec:
        """Each stage at most once, with its section, and the network level before the graph's."""
        stages = self.stages()
        for stage in stages:
            if stages.count(stage) > 1:
                raise ValueError(f"pipeline: {stage} stands twice; each stage runs at most once")
            if getattr(self, stage) is None:
                raise ValueError(f"pipeline: {stage} has no section; write one or leave it out")
        graph = [s for s in stages if s in ("quantize", "export")]
        network = [s for s in stages if s in ("pretrain", "train_teacher", "distill", "prune")]
        if graph and network and stages.index(graph[0]) < stages.index(network[-1]):
            raise ValueError(
                f"pipeline: {network[-1]} trains a network and cannot follow {graph[0]},"
                " which makes a graph; put it before"
            )
        return self

    @model_validator(mode="after")
    def network_steps_come_before_graph_steps(self) -> Spec:
        """A graph is no network any more, and `prune` makes none."""
        for name, section in (("prune", self.prune), ("quantize", self.quantize)):
            steps = () if section is None else section.steps
            if (place := misplaced(steps, graphs=name != "prune")) is not None:
                raise ValueError(f"{name}.steps.{place}: {wrong_place(steps[place])}")
        return self

    @model_validator(mode="after")
    def what_is_pretrained_is_trained_next(self) -> Spec:
        """A network of the recipe starts from what `pretrain` learned, and from nothing else."""
        stages = self.stages()
        if self.pretrain is None or "pretrain" not in stages:
            return self
        stage, field = self.pretrain.trains()
        section = getattr(self, stage)
        if getattr(section, field, None) is None:
            raise ValueError(
                f"pretrain.network: {self.pretrain.network} is {stage}.{field}, which the recipe"
                " does not have; name it, or pretrain the other network"
            )
        if section.weights is not None:
            raise ValueError(
                f"{stage}.weights: the network starts from pretrain already; leave out one of them"
            )
        if stage in stages and stages.index(stage) < stages.index("pretrain"):
            raise ValueError(
                f"pipeline: pretrain learns what {stage} starts from; put it before {stage}"
            )
        return self

    @model_validator(mode="after")
    def batches_hold_repeats_and_partners(self) -> Spec:
        """A batch has whole groups of repeats, and at least two images where some are mixed."""
        for stage in ("train_teacher", "distill", "prune", "quantize"):
            training = getattr(getattr(self, stage), "training", None)
            if training is None:
                continue
            wrong = f"{stage}.training.batch_size: {training.batch_size}"
            repeat = self.sampling(stage).repeat
            if training.batch_size % repeat:
                raise ValueError(f"{wrong} is no multiple of sampling.repeat {repeat}; make it one")
            mixing = [one.kind for one in self.augmentations(stage) if getattr(one, "mixes", False)]
            if mixing and training.batch_size < 2:
                raise ValueError(
                    f"{wrong} leaves {mixing[0]} no second image to mix with; raise it, or leave"
                    f" {mixing[0]} out"
                )
        return self

    @model_validator(mode="after")
    def cached_logits_fit_every_batch(self) -> Spec:
        """What is cached is of whole, unmixed images in full size."""
        if self.distill is None or not self.distill.cache_teachers:
            return self
        mixing = any(getattr(one, "mixes", False) for one in self.augmentations("distill"))
        if mixing or self.sampling("distill").resolution:
            raise ValueError(
                f"distill.cache_teachers: {'images are mixed' if mixing else 'resolution changes'},"
                " and a cache has logits of the images as they are; leave out one of them"
            )
        return self

    @model_validator(mode="after")
    def limits_are_of_what_is_measured(self) -> Spec:
        """A limit on what no stage of the recipe measures could never be reached."""
        for place, limit in enumerate(self.limits):
            if wrong := self._never_measured(limit.measure):
                raise ValueError(f"limits.{place}.measure: {wrong}")
        return self

    def _never_measured(self, name: str) -> str:
        """Why the pipeline never takes a measure; empty: it does, or a plug-in may."""
        if wrong := unknown_measure(name):
            return "" if self.has_plugin_steps() else wrong
        of_int8 = name in ("int8_weights", "int8_kernels")
        stage = "quantize" if of_int8 else "export" if name in OF_SHIPPED_FILES else None
        if stage is None or stage in self.stages():
            return ""
        return f"{name} is measured by {stage}, which the pipeline does not have; add it"

    def has_plugin_steps(self) -> bool:
        """May a step of `prune` or `quantize` measure what nobody else does?"""
        sections = [one for one in (self.prune, self.quantize) if one is not None]
        return any(isinstance(step, Plugin) for one in sections for step in one.steps)

    def stages(self) -> tuple[StageName, ...]:
        """The stages of `run`, in order."""
        if self.pipeline is not None:
            return self.pipeline
        return tuple(s for s in ORDER if s != "evaluate" and getattr(self, s) is not None)

    def digest(self) -> str:
        """Digest of everything in the recipe that decides results."""
        sections = [[n, getattr(self, n)] for n in self.stages() if n != "augment"]
        augment = [self.augment.pipeline, self.augment.sampling]
        return digest_json(key_of([self.seed, self.data, augment, sections]))

    def starts_pretrained(self, stage: StageName) -> bool:
        """Does a stage's network start from what `pretrain` learned?"""
        if self.pretrain is None or "pretrain" not in self.stages():
            return False
        return self.pretrain.trains()[0] == stage

    def augmentations(self, stage: str) -> tuple[AnyAugmentation, ...]:
        """The augmentations of a training stage; without any of its own, `pretrain` makes some for
        the images."""
        own = getattr(getattr(self, stage), "augment", None)
        if stage == "pretrain":
            return own or ()
        return self.augment.pipeline if own is None else own

    def sampling(self, stage: str) -> Sampling:
        """How a training stage samples its images; `pretrain` does without classes."""
        if stage == "pretrain":
            return Sampling()
        own = getattr(getattr(self, stage), "sampling", None)
        return self.augment.sampling if own is None else own


def differing_sections(ours: Spec, theirs: Spec, *, paths: bool = False) -> list[str]:
    """Sections of two recipes that lead to different results of their pipelines; with `paths` also
    those that name other files, which may hold the same."""
    used = {"augment", *ours.stages(), *theirs.stages()}
    names = ("seed", "pipeline", "data", "foreign", *(name for name in ORDER if name in used))
    told = (lambda section: section) if paths else key_of
    return [n for n in names if told(getattr(ours, n)) != told(getattr(theirs, n))]


def require_section(spec: Spec, stage: StageName) -> Any:
    """The section of a stage.

    Raises AugcompressError when the recipe has none.
    """
    section = getattr(spec, stage)
    if section is None:
        raise AugcompressError(f"{stage}: the recipe has no such section; add one")
    return section
