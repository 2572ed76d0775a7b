"""How any stage is carried out: inputs found, key made, done once, committed whole, linked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from augcompress.errors import UsageError
from augcompress.evidence import (
    MEASUREMENTS_FILE,
    PREDICTIONS_FILE,
    Measurement,
    StageResult,
    read_measurements,
    write_measurements,
)
from augcompress.running.context import Context
from augcompress.running.environment import environment, version_note
from augcompress.running.licences import weights_licences
from augcompress.running.rank_zero import broadcast, rank_zero_only
from augcompress.running.stage import FITTED, Inputs, Output, Sources, Stage, artifact_digest
from augcompress.spec import StageName
from augcompress.storage import RECORD_FILE, StoreEntry


@dataclass(frozen=True)
class Task:
    """A stage that is to be done now."""

    name: StageName
    inputs: Inputs
    entry: StoreEntry
    folder: Path
    started: float
    licences: list[Measurement]
    """Of weights from elsewhere that its result stands on."""
    redone: bool
    """Does the result take the place of one that is there?"""
    processes: int
    """How many carry it out."""


class Runner:
    """Carries out stages of one recipe in one run directory."""

    def __init__(self, context: Context, stages: Mapping[str, Stage], target: str) -> None:
        """`target`: the stage that `--from` speaks of."""
        self.context, self.stages = context, stages
        self.sources = Sources(context, stages, target, self.perform)
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
            fitted = begun.inputs.get("augment")
            self.context.fitted = fitted.path.with_name(FITTED) if fitted else None
            self.context.licences = begun.licences
            output = self.stages[name].body(self.context, begun.inputs, begun.folder)
            rank_zero_only(self.context, lambda: self.commit(begun, output))
        return broadcast(
            self.context,
            lambda: self.result(name, begun.entry, "done", begun.entry.record().seconds),
        )

    def begin(self, name: StageName, processes: int, held: ExitStack) -> StageResult | Task:
        """The stage's result where it is done; else the work, whose lock is `held`."""
        started = time.monotonic()
        entry, inputs = self.sources.entry(name)
        redone = self.context.force and name not in self._forced
        self._forced.add(name)
        if not redone and entry.done:
            return self.result(name, entry, "cached", entry.record().seconds)
        self.context.run.check_free([name, *self.sources.after(name)])
        if entry.problem and not redone:
            self.context.reporter.message(entry.problem)
        folder = held.enter_context(entry.writing(fresh=redone))
        if not redone and entry.done:  # another command may have finished it since
            return self.result(name, entry, "done", elapsed(started))
        licences = weights_licences(self.stages[name], self.context.spec, inputs)
        return Task(name, inputs, entry, folder, started, licences, redone, processes)

    def commit(self, task: Task, output: Output) -> None:
        """Write what was measured and make the stage final."""
        training = getattr(getattr(self.context.spec, task.name), "training", None)
        together = [f"{task.processes} processes"] if task.processes > 1 and training else []
        rows = [*output.measurements, *(task.licences if self.stages[task.name].makes else ())]
        noted = replace(output, measurements=rows, notes=[*output.notes, *together])
        seconds = task.entry.spent + elapsed(task.started)
        commit(task.entry, task.name, noted, task.folder, seconds, task.redone)

    def result(self, name: str, entry: StoreEntry, status: Any, seconds: float) -> StageResult:
        """Link the entry into the run directory and read what it measured."""
        record, folder = entry.record(), self.context.run.stage(name)
        notes = [*record.notes, *self.drop_stale(name, entry), *self.context.run.link(entry, name)]
        self.context.run.remove_pending(name)
        if status == "cached" and (changed := version_note(record.environment)):
            notes.append(changed)
        return StageResult(
            name=name,
            status=status,
            seconds=seconds,
            artifact=str(folder / record.artifact) if record.artifact else None,
            measurements=read_measurements(folder / MEASUREMENTS_FILE),
            notes=notes,
        )

    def is_done(self, name: StageName) -> bool:
        """Is the stage in the store?  Its inputs must be there."""
        return self.sources.entry(name)[0].done

    def drop_stale(self, name: str, entry: StoreEntry) -> list[str]:
        """Unlink later stages that another result of this one led to; the store keeps them.
        Returns what had to be said of changed files."""
        linked = self.context.run.stage(name) / RECORD_FILE
        if linked.is_file() and linked.read_bytes() != (entry.path / RECORD_FILE).read_bytes():
            return self.context.run.remove_stale(self.sources.after(name))
        return []


def elapsed(started: float) -> float:
    """Seconds since a reading of the monotonic clock."""
    return time.monotonic() - started


def check_source_is_used(runner: Runner) -> None:
    """Raises UsageError when `--from` is given to a stage that starts from nothing."""
    target = runner.sources.target
    if runner.context.source is not None and runner.stages[target].starts_fresh:
        raise UsageError(
            f"--from: {target} starts from no network; leave it out, or set train_teacher.weights"
        )


def commit(
    entry: StoreEntry,
    name: str,
    output: Output,
    folder: Path,
    seconds: float,
    replace: bool = False,
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
