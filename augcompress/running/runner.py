"""How any stage is carried out: inputs found, key made, done once, committed whole, linked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from augcompress.component import key_of
from augcompress.errors import AugcompressError, UsageError
from augcompress.evidence import (
    MEASUREMENTS_FILE,
    PREDICTIONS_FILE,
    StageResult,
    read_measurements,
    write_measurements,
)
from augcompress.exporters import content_digest
from augcompress.running.context import Context
from augcompress.running.environment import environment, version_note
from augcompress.running.rank_zero import broadcast, rank_zero_only
from augcompress.running.stage import Input, Inputs, Output, Stage
from augcompress.spec import ORDER, StageName, require_section
from augcompress.storage import RECORD_FILE, Entry, digest_file, digest_json
from augcompress.training import resolve_precision

FRESH: tuple[StageName, ...] = ("augment", "pretrain", "train_teacher")
"""Stages that start from no network."""


@dataclass(frozen=True)
class Task:
    """A stage that is to be done now."""

    name: StageName
    inputs: Inputs
    entry: Entry
    folder: Path
    started: float
    redone: bool
    """Does the result take the place of one that is there?"""
    processes: int
    """How many carry it out."""


class Runner:
    """Carries out stages of one recipe in one run directory."""

    def __init__(self, context: Context, stages: Mapping[str, Stage], target: str) -> None:
        self.context, self.stages = context, stages
        self.target = target
        """The stage that `--from` speaks of."""
        self._forced: set[str] = set()

    def perform(self, name: StageName) -> StageResult:
        """The stage's result: from the store where it is done, else by doing it.

        Of several processes the first decides, holds the lock and commits.
        Raises AugcompressError when an input is missing, or whatever the stage itself raises.
        """
        if self.stages[name].trains:
            return self.perform_together(name)
        return broadcast(self.context, lambda: self.perform_together(name))

    def perform_together(self, name: StageName) -> StageResult:
        """The same, with the body in all processes."""
        processes = self.context.processes.world
        with ExitStack() as held:
            begun = broadcast(self.context, lambda: self.begin(name, processes, held))
            if isinstance(begun, StageResult):
                return begun
            output = self.stages[name].body(self.context, begun.inputs, begun.folder)
            rank_zero_only(self.context, lambda: self.commit(begun, output))
        return broadcast(
            self.context, lambda: self.result(name, begun.entry, "done", elapsed(begun.started))
        )

    def begin(self, name: StageName, processes: int, held: ExitStack) -> StageResult | Task:
        """The stage's result where it is done; else the work, whose lock is `held`."""
        started = time.monotonic()
        section = require_section(self.context.spec, name)
        inputs = self.stages[name].inputs(self)
        entry = self.entry(name, section, inputs)
        self.context.run.check_free(name)
        redone = self.context.force and name not in self._forced
        self._forced.add(name)
        if not redone and entry.done:
            return self.result(name, entry, "cached", entry.record()["seconds"])
        if entry.problem and not redone:
            self.context.reporter.message(entry.problem)
        folder = held.enter_context(entry.writing(fresh=redone))
        if not redone and entry.done:  # another command may have finished it since
            return self.result(name, entry, "done", elapsed(started))
        return Task(name, inputs, entry, folder, started, redone, processes)

    def commit(self, task: Task, output: Output) -> None:
        """Write what was measured and make the stage final."""
        notes = list(output.notes)
        if task.processes > 1:
            notes.append(f"{task.processes} processes")
        told = replace(output, notes=notes)
        commit(task.entry, task.name, told, task.folder, elapsed(task.started), task.redone)

    def result(self, name: str, entry: Entry, status: Any, seconds: float) -> StageResult:
        """Link the entry into the run directory and read what it measured."""
        record = entry.record()
        self.drop_stale(name, entry)
        folder = self.context.run.link(entry, name)
        artifact = record["artifact"]
        notes = list(record["notes"])
        if status == "cached" and (changed := version_note(record["environment"])):
            notes.append(changed)
        return StageResult(
            name=name,
            status=status,
            seconds=seconds,
            artifact=str(folder / artifact) if artifact else None,
            measurements=read_measurements(folder / MEASUREMENTS_FILE),
            notes=notes,
        )

    def is_done(self, name: StageName) -> bool:
        """Is the stage in the store?  Its inputs must be there."""
        section = require_section(self.context.spec, name)
        return self.entry(name, section, self.stages[name].inputs(self)).done

    def drop_stale(self, name: str, entry: Entry) -> None:
        """Unlink later stages that another result of this one led to; the store keeps them."""
        linked = self.context.run.stage(name) / RECORD_FILE
        if linked.exists() and linked.read_bytes() != (entry.path / RECORD_FILE).read_bytes():
            self.context.run.remove_stale(self.after(name))

    def entry(self, name: StageName, section: Any, inputs: Inputs) -> Entry:
        """The store's place for this stage with these settings and inputs."""
        context = self.context
        training = getattr(section, "training", None)
        key = {
            "stage": name,
            "version": self.stages[name].version,
            "section": key_of(section),
            "inputs": {role: item.digest for role, item in sorted(inputs.items())},
            "data": context.data_key(),
            "seed": context.spec.seed,
            "augment": key_of(context.spec.augmentations(name)) if training else None,
            "sampling": key_of(context.spec.sampling(name)) if training else None,
            "precision": resolve_precision(training.precision, context.device)
            if training
            else None,
        }
        if name == "pretrain":
            stage, field = section.trains()  # whose architecture it is stands in another section
            key["model"] = key_of(getattr(getattr(context.spec, stage), field))
        if name == "quantize":
            key["export"] = key_of(context.spec.export.targets)
        if name == "export":
            key["recipe"] = context.recipe_digest  # stands in the file
            key["title"] = context.spec.name  # stands on the card
        if any(item.stage is None and item.path.suffix == ".onnx" for item in inputs.values()):
            key["foreign"] = key_of(context.spec.foreign)
        return context.run.store.entry(name, digest_json(key))

    def artifact_of(self, name: StageName) -> Input:
        """The committed artefact of a stage, with today's settings.

        Raises AugcompressError naming the command that makes it.
        """
        context = self.context
        section = require_section(context.spec, name)
        entry = self.entry(name, section, self.stages[name].inputs(self))
        if not entry.done and name == "train_teacher" and section.training is None:
            self.perform(name)  # weights that fit need no training
        if not entry.done:
            command = name.replace("_", "-")
            raise AugcompressError(
                f"{self.target}: needs the result of {name} with these settings, which is not"
                f" there; run: augcompress {command} --recipe {context.recipe}"
            )
        record = entry.record()
        artifact = entry.path / record["artifact"]
        if artifact_digest(artifact) != record["artifact_digest"]:
            raise AugcompressError(
                f"{artifact}: has been changed since {name} wrote it; redo that stage with --force"
            )
        return Input(artifact, record["artifact_digest"], name)

    def source(self, name: StageName) -> Input:
        """What a stage starts from: `--from`, or the stage before it in the pipeline.

        Raises AugcompressError when there is nothing to start from.
        """
        given = self.context.source
        if given is not None and name == self.target:
            if (stage := self.stage_called(given)) is not None:
                self.check_comes_before(stage, name)
                return self.artifact_of(stage)
            return self.file(given)
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
            raise UsageError(f"--from {given}: does not come before {name} in the pipeline")

    def before(self, name: StageName) -> tuple[StageName, ...]:
        """The pipeline's stages ahead of this one."""
        stages = self.context.spec.stages()
        return stages[: stages.index(name)] if name in stages else stages

    def after(self, name: str) -> list[str]:
        """The stages that may have been fed by this one; what augment draws feeds none."""
        stages = self.context.spec.stages()
        if name == "augment" or name not in stages:
            return []
        return [*stages[stages.index(name) + 1 :], "evaluate"]

    def teacher(self) -> Input | None:
        """The recipe's teacher: `--teacher`, or the stage train_teacher; None without either."""
        if self.context.teacher is not None:
            return self.file(self.context.teacher)
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

    def file(self, given: str) -> Input:
        """A file from the command line or the recipe, with the description beside it, if any.

        Raises AugcompressError when there is none.
        """
        path = self.context.file(given)
        beside = path.with_name("model.json")
        if path.suffix == ".safetensors" and beside.is_file():
            return Input(path, digest_file(path) + digest_file(beside))
        if path.suffix == ".onnx":
            return Input(path, content_digest(path))
        teacher = self.context.spec.train_teacher  # the model that foreign weights are put into
        model = "" if teacher is None else digest_json(key_of(teacher.model))
        return Input(path, digest_file(path) + model)


def elapsed(started: float) -> float:
    """Seconds since a reading of the monotonic clock."""
    return time.monotonic() - started


def check_source_is_used(runner: Runner) -> None:
    """Raises UsageError when `--from` is given to a stage that starts from nothing."""
    if runner.context.source is not None and runner.target in FRESH:
        raise UsageError(
            f"--from: {runner.target} starts from no network; leave it out, or set"
            " train_teacher.weights"
        )


def commit(
    entry: Entry, name: str, output: Output, folder: Path, seconds: float, replace: bool = False
) -> None:
    """Write what was measured and make the stage final."""
    write_measurements(folder / MEASUREMENTS_FILE, output.measurements)
    if output.predictions is not None:
        output.predictions.save(folder / PREDICTIONS_FILE)
    digest = artifact_digest(folder / output.artifact) if output.artifact is not None else ""
    entry.commit(
        {
            "stage": name,
            "artifact": output.artifact,
            "artifact_digest": digest,
            "seconds": round(seconds, 3),
            "notes": output.notes,
            "environment": environment(),
        },
        replace=replace,
    )


def artifact_digest(artifact: Path) -> str:
    """SHA-256 of an artefact, and of the description beside it where there is one."""
    beside = artifact.with_name("model.json")
    return digest_file(artifact) + (digest_file(beside) if beside.exists() else "")
