"""One trial: its stages carried out in a run directory of its own, and what they measured."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from augcompress.component import key_of
from augcompress.errors import AugcompressError, UsageError, is_interruption, is_no_memory
from augcompress.evidence import StageResult
from augcompress.running import Context
from augcompress.search.measured import (
    Found,
    compared_measurement,
    final_stage,
    nothing_measured,
    to_evaluate,
)
from augcompress.search.study import StageUse, Trial
from augcompress.search.variants import Variant
from augcompress.spec import GridSearch
from augcompress.stages import run, run_stage
from augcompress.storage import RunDir, digest_json, is_disk_full, read_record
from augcompress.system import Reporter

SHARED = ("fingerprint", "data", "said")
"""What a context opens on demand, or has said, and the next one may have."""


@dataclass
class TrialRunner:
    """Where trials are run, one at a time: what they share is kept from one to the next."""

    run: RunDir
    """The study's own directory."""
    recipe: str
    device: torch.device
    reporter: Reporter
    smoke: bool = False
    teacher: str | None = None
    done_now: int = 0
    """Stages carried out, not found in the store."""
    _fingerprints: dict[str, str] = field(default_factory=dict)
    _shared: dict[str, Any] = field(default_factory=dict)
    _shared_by: str = ""

    def check_data(self, variants: Iterable[Variant]) -> None:
        """Raises AugcompressError when a variant's data cannot be found."""
        for variant in variants:
            self.fingerprint(variant.spec.data)

    def fingerprint(self, data: Any) -> str:
        """Of a variant's data, taken once."""
        name = data.model_dump_json()
        if name not in self._fingerprints:
            self._fingerprints[name] = data.fingerprint()
        return self._fingerprints[name]

    def digest(self, variant: Variant, section: GridSearch) -> str:
        """Of what decides a trial's result: its recipe but for the limits, plug-ins' code, data,
        what is measured and where.

        Raises AugcompressError when a plug-in cannot be read.
        """
        spec = variant.spec.model_copy(update={"limits": ()})
        data = self.fingerprint(spec.data)
        until = final_stage(section, spec.stages())
        asked = [section.measure, section.label, section.stage, section.measured_split, until]
        recipe = [spec.model_dump(mode="json"), key_of(spec)]
        return digest_json([recipe, data, asked, self.teacher, self.smoke])

    def attempt(self, trial: Trial, variant: Variant, section: GridSearch) -> Trial:
        """The trial as it ended: done, or failed for a reason of its own, memory included.

        Raises UsageError, and AugcompressError on a full disk, which would meet every trial.
        """
        try:
            stages, found = self.carry_out(trial, variant, section)
        except UsageError:
            raise
        except (AugcompressError, MemoryError, RuntimeError) as error:
            reason = _reason(error)
            if reason is None or is_interruption(error) or is_disk_full(error.__cause__ or error):
                raise
            self.reporter.message(f"{trial.name} failed: {reason}")
            return trial.model_copy(update={"status": "failed", "error": reason})
        if found is None:
            raise UsageError(nothing_measured(stages, section, trial))
        uses = [self.use(trial, stage) for stage in stages]
        return trial.model_copy(
            update={
                "status": "done",
                "stage": found[0],
                "measurement": found[1],
                "seconds": round(sum(use.seconds for use in uses), 3),
                "stages": uses,
            }
        )

    def carry_out(
        self, trial: Trial, variant: Variant, section: GridSearch
    ) -> tuple[list[StageResult], Found | None]:
        """The variant's stages, and what is compared; where none of them measures that,
        `evaluate` does."""
        context = self.context(trial, variant)
        context.run.write_text("recipe.yaml", _as_yaml(variant, self.recipe))
        until = final_stage(section, variant.spec.stages())
        stages = self.counted(run(context, until).stages)
        self.keep(context)
        found = compared_measurement(stages, section, section.stage)
        source = to_evaluate(stages, section)
        if found is not None or source is None:
            return stages, found
        second = replace(context, source=source, teacher=None)
        self.lend(second)
        extra = self.counted(run_stage(second, "evaluate").stages)
        self.keep(second)
        return stages + extra, compared_measurement(extra, section)

    def context(self, trial: Trial, variant: Variant) -> Context:
        """The trial's invocation, with a run directory of its own and the study's store."""
        context = Context(
            spec=variant.spec,
            run=RunDir(self.run.path / trial.run_dir, store_root=self.run.store.root),
            recipe=self.recipe,
            device=self.device,
            reporter=self.reporter,
            teacher=self.teacher,
            smoke=self.smoke,
            allow_chance=True,
        )
        self.lend(context)
        return context

    def lend(self, context: Context) -> None:
        """Give the context the data that the trial before has opened, where they are the same."""
        if self._shared_by == _data_settings(context):
            vars(context).update(self._shared)

    def keep(self, context: Context) -> None:
        """Keep the data that a context has opened: those of one trial, as they may be large."""
        known = vars(context)
        opened = {name: known[name] for name in SHARED if name in known}
        same = self._shared_by == _data_settings(context)
        self._shared = {**self._shared, **opened} if same else opened
        self._shared_by = _data_settings(context)

    def counted(self, stages: list[StageResult]) -> list[StageResult]:
        """The stages; those done just now are counted."""
        self.done_now += sum(stage.status == "done" for stage in stages)
        return stages

    def use(self, trial: Trial, stage: StageResult) -> StageUse:
        """Which entry of the store a trial's stage is."""
        told = read_record(self.run.path / trial.run_dir / stage.name)
        return StageUse(name=stage.name, key=told.key, seconds=told.seconds)


def _data_settings(context: Context) -> str:
    """What decides the opened data, paths included."""
    return digest_json(
        [context.spec.data.model_dump(mode="json"), context.spec.seed, context.smoke]
    )


def _reason(error: Exception) -> str | None:
    """Why a trial failed, in one line; None: by a bug."""
    if isinstance(error, AugcompressError):
        return str(error)
    told = " ".join(str(error).split()) or type(error).__name__
    if is_no_memory(error):
        return f"out of memory: {told}; make its batches or its network smaller"
    return None


def _as_yaml(variant: Variant, recipe: str) -> str:
    """The variant as a recipe of its own."""
    from ruamel.yaml import YAML

    stream = io.StringIO()
    stream.write(f"# {variant.proposal.name}, a variant of {recipe}; whole paths: spec.json\n")
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output = None, False  # type: ignore[assignment]
    yaml.dump(json.loads(json.dumps(variant.raw)), stream)  # plain texts
    return stream.getvalue()
