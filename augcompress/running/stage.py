"""What a stage is: a verb with inputs and a body; how its inputs are found, and its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from augcompress.augmentations import Setting, fitting
from augcompress.component import key_of
from augcompress.errors import AugcompressError, UsageError
from augcompress.evidence import Measurement, Predictions
from augcompress.graphs import content_digest
from augcompress.running.context import Context
from augcompress.spec import ORDER, Spec, StageName, require_section
from augcompress.storage import StoreEntry, digest_file, digest_json
from augcompress.training import resolve_precision


@dataclass(frozen=True)
class Input:
    """A file that a stage reads, and the digest of its content."""

    path: Path
    digest: str
    stage: str | None = None
    """The stage that made it; None for a file from elsewhere."""


@dataclass(frozen=True)
class Output:
    """What a stage's body leaves in its folder."""

    artifact: str | None
    """File name of the network or graph that later stages start from."""
    measurements: list[Measurement] = field(default_factory=list)
    predictions: Predictions | None = None
    notes: list[str] = field(default_factory=list)
    """Sentences for people."""


Inputs = Mapping[str, Input]
FITTED = "fitted"
"""Folder of what `augment` fits, below its own."""


def nothing(spec: Spec) -> dict[str, Any]:
    """A stage that reads no section but its own."""
    return {}


def training_reads(name: StageName) -> Callable[[Spec], dict[str, Any]]:
    """What a training stage reads beside its section: augmentations and sampling, be they its own
    or those of `augment`."""
    return lambda spec: {"augment": spec.augmentations(name), "sampling": spec.sampling(name)}


def fitting_in(spec: Spec, name: StageName) -> dict[str, Setting]:
    """The augmentations of a stage that need to be fitted, by `fit_name`; for `augment`, which fits
    them, those of all stages."""
    if name == "augment":
        found = [fitting(spec.augment.pipeline), *(fitting_in(spec, s) for s in ORDER if s != name)]
        return {name: setting for each in found for name, setting in each.items()}
    section = getattr(spec, name)
    if name == "evaluate":
        views = section.test_time_augmentation
        return fitting([*section.robustness, *(views.pipeline if views else ())])
    return fitting(spec.augmentations(name) if getattr(section, "training", None) else ())


@dataclass(frozen=True)
class Stage:
    """A verb of the command line."""

    name: StageName
    inputs: Callable[[Sources], dict[str, Input]]
    """The files that the stage reads, by role; asked before the key is made."""
    body: Callable[[Context, Inputs, Path], Output]
    """The work: writes into the folder that it is given."""
    makes: Literal["network", "graph"] | None
    """What a later stage may start from; None where nothing is passed on."""
    builds: Callable[[Spec], Any] = lambda spec: None
    """The design of the network that it makes where it starts from none."""
    reads: Callable[[Spec], dict[str, Any]] = nothing
    """What of the recipe decides the result and stands outside the stage's section; for the key."""
    starts_fresh: bool = False
    """Does it start from no network, so that `--from` means nothing to it?"""
    trains: bool = False
    """Do several processes carry out the body together?  Else the first does, the others wait."""
    on_demand: Callable[[Any], bool] = lambda section: False
    """With this section, is it done unasked when a later stage needs its result?"""
    version: int = 1
    """Raise it when the same settings give another result than before."""


class Sources:
    """Where a stage's inputs come from: earlier stages, the command line, the recipe."""

    def __init__(
        self,
        context: Context,
        stages: Mapping[str, Stage],
        target: str,
        perform: Callable[[StageName], object],
    ) -> None:
        self.context, self.stages = context, stages
        self.target = target
        """The stage that `--from` speaks of."""
        self.perform = perform

    def entry(self, name: StageName) -> tuple[StoreEntry, Inputs]:
        """The store's place for a stage with today's settings and inputs, and these inputs."""
        context, stage = self.context, self.stages[name]
        section = require_section(context.spec, name)
        inputs = stage.inputs(self)
        if name != "augment" and fitting_in(context.spec, name):
            inputs["augment"] = self.artifact_of("augment")
        training = getattr(section, "training", None)
        key = {
            "stage": name,
            "version": stage.version,
            "section": key_of(section),
            "reads": key_of(stage.reads(context.spec)),
            "inputs": {role: item.digest for role, item in sorted(inputs.items())},
            "data": context.data_key(),
            "seed": context.spec.seed,
            "precision": resolve_precision(training.precision, context.device)
            if training
            else None,
        }
        if any(item.stage is None and item.path.suffix == ".onnx" for item in inputs.values()):
            key["foreign"] = key_of(context.spec.foreign)
        return context.run.store.entry(name, digest_json(key)), inputs

    def artifact_of(self, name: StageName) -> Input:
        """The committed artefact of a stage, with today's settings.

        Raises AugcompressError naming the command that makes it.
        """
        entry, _ = self.entry(name)
        if not entry.done and self.stages[name].on_demand(getattr(self.context.spec, name)):
            self.perform(name)
        if not entry.done:
            command = f"augcompress {name.replace('_', '-')} --recipe {self.context.recipe}"
            damaged = f"is damaged ({entry.problem})" if entry.problem else "is not there"
            raise AugcompressError(
                f"{self.target}: needs the result of {name} with these settings, which {damaged};"
                f" run: {command}"
            )
        record = entry.record()
        if record.artifact is None:
            raise AugcompressError(
                f"{self.target}: cannot start from {name}, which leaves no file; name another stage"
            )
        return Input(entry.path / record.artifact, record.artifact_digest, name)

    def source(self, name: StageName) -> Input:
        """What a stage starts from: `--from`, or the stage before it in the pipeline.

        Raises AugcompressError when there is nothing to start from.
        """
        given = self.context.source
        if given is not None and name == self.target:
            if (stage := self.stage_called(given)) is not None:
                self.check_comes_before(stage, name)
                return self.artifact_of(stage)
            return self.model(given, network=self.stages[name].trains)
        for earlier in reversed(self.before(name)):
            if self.stages[earlier].makes is not None:
                return self.artifact_of(earlier)
        if self.context.spec.foreign.file is not None:
            return self.file(self.context.spec.foreign.file)
        raise AugcompressError(
            f"{name}: nothing to start from; put a stage that makes a network before it, give"
            " --from FILE, or name an ONNX file in foreign.file"
        )

    def stage_called(self, given: str) -> StageName | None:
        """The stage that `--from` names; None where it is a file."""
        return next((stage for stage in ORDER if stage == given.replace("-", "_")), None)

    def check_comes_before(self, given: str, name: StageName) -> None:
        """Raises UsageError when `--from` names a stage that `name` cannot start from."""
        if self.stages[given].makes is None:
            raise UsageError(f"--from {given}: leaves no network or graph; name another stage")
        if given not in self.before(name):
            raise UsageError(
                f"--from {given}: does not come before {name} in the pipeline; name one that does"
            )

    def before(self, name: StageName) -> tuple[StageName, ...]:
        """The pipeline's stages ahead of this one."""
        stages = self.context.spec.stages()
        return stages[: stages.index(name)] if name in stages else stages

    def feeds(self, name: str) -> bool:
        """Does a later stage read what this one leaves?"""
        fits = name == "augment" and fitting_in(self.context.spec, "augment")
        return bool(fits) or self.stages[name].makes is not None

    def after(self, name: str) -> list[str]:
        """The stages that may have been fed by this one: none, where it passes nothing on."""
        stages = self.context.spec.stages()
        if name not in stages or not self.feeds(name):
            return []
        return [*stages[stages.index(name) + 1 :], "evaluate"]

    def teacher(self) -> Input | None:
        """The recipe's teacher: `--teacher`, or the stage train_teacher; None without either."""
        if self.context.teacher is not None:
            return self.model(self.context.teacher, network=True)
        if self.context.spec.train_teacher is None:
            return None
        return self.artifact_of("train_teacher")

    def network_before(self, name: StageName) -> Input | None:
        """The float network that a graph was made from, where this pipeline made it."""
        given = self.context.source
        if given is not None and name == self.target and self.stage_called(given) is None:
            return None
        for earlier in reversed(self.before(name)):
            if self.stages[earlier].makes == "network":
                return self.artifact_of(earlier)
        return None

    def model(self, given: str, *, network: bool) -> Input:
        """What the command line names: see `Context.model`."""
        return self.file(self.context.model(given, network=network))

    def file(self, given: str | Path) -> Input:
        """A file, with the description beside it, if any.

        Raises AugcompressError when there is none.
        """
        path = Path(given).expanduser()
        if not path.is_file():
            raise AugcompressError(f"{given}: no such file; check the path")
        beside = path.with_name("model.json")
        if path.suffix == ".safetensors" and beside.is_file():
            return Input(path, digest_file(path) + digest_file(beside))
        if path.suffix == ".onnx":
            return Input(path, content_digest(path))
        teacher = self.context.spec.train_teacher  # the model that foreign weights are put into
        model = "" if teacher is None else digest_json(key_of(teacher.model))
        return Input(path, digest_file(path) + model)


def artifact_digest(artifact: Path) -> str:
    """SHA-256 of an artefact, and of the description beside it where there is one."""
    beside = artifact.with_name("model.json")
    return digest_file(artifact) + (digest_file(beside) if beside.exists() else "")
