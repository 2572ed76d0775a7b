"""One trial: its stages carried out in a run directory of its own, and what they measured."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from ruamel.yaml import YAML

from augcompress.assembly.context import Context
from augcompress.errors import AugcompressError, UsageError
from augcompress.records import Measurement, Reporter, StageResult, own
from augcompress.rundir import RECORD_FILE, RunDir, digest_json
from augcompress.search.study import StageUse, Trial
from augcompress.search.variants import Variant
from augcompress.spec import GridSearch
from augcompress.stages import STAGES, run, run_stage

Found = tuple[str, Measurement]
SHARED = ("fingerprint", "data")
"""What a context opens on demand, and the next one may have."""


@dataclass
class Bench:
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
    _shared: dict[str, Any] = field(default_factory=dict)
    _shared_by: str = ""

    def check_data(self, variants: Iterable[Variant]) -> None:
        """Raises AugcompressError when a variant's data cannot be found."""
        for data in {v.spec.data.model_dump_json(): v.spec.data for v in variants}.values():
            data.fingerprint()

    def attempt(self, trial: Trial, variant: Variant, section: GridSearch) -> Trial:
        """The trial as it ended: done, or failed for a reason of its own.

        Raises UsageError, which would meet every trial.
        """
        try:
            stages, found = self.carry_out(trial, variant, section)
        except UsageError:
            raise
        except AugcompressError as error:
            self.reporter.message(f"{trial.name} failed: {error}")
            return trial.model_copy(update={"status": "failed", "error": str(error)})
        if found is None:
            raise UsageError(_nothing_measured(stages, section, trial))
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
        context.run.write_text("spec.json", variant.spec.model_dump_json(indent=1) + "\n")
        stages = self.counted(run(context, section.until).stages)
        self.keep(context)
        found = _measured(stages, section, section.stage)
        source = _to_evaluate(stages, section)
        if found is not None or source is None:
            return stages, found
        second = replace(context, source=source, teacher=None)
        self.lend(second)
        extra = self.counted(run_stage(second, "evaluate").stages)
        self.keep(second)
        return stages + extra, _measured(extra, section)

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
        record = self.run.path / trial.run_dir / stage.name / RECORD_FILE
        told = json.loads(record.read_text(encoding="utf-8"))
        return StageUse(name=stage.name, key=told["key"], seconds=told["seconds"])


def _data_settings(context: Context) -> str:
    """What decides the opened data, paths included."""
    return digest_json(
        [context.spec.data.model_dump(mode="json"), context.spec.seed, context.smoke]
    )


def _measured(
    stages: Sequence[StageResult], section: GridSearch, only: str | None = None
) -> Found | None:
    """The measurement that is compared, and its stage: the last that has it, or `only` that."""
    for stage in reversed([stage for stage in stages if only in (None, stage.name)]):
        for one in own(stage.measurements, section.measure):
            fits = one.split in (section.measured_split, None)
            if fits and section.label in (None, one.conditions.get("class")):
                return stage.name, one
    return None


def _to_evaluate(stages: Sequence[StageResult], section: GridSearch) -> str | None:
    """The stage whose network or graph is evaluated."""
    if section.stage not in (None, "evaluate"):
        return section.stage if STAGES[section.stage].makes is not None else None
    makers = [stage.name for stage in stages if STAGES[stage.name].makes is not None]
    return makers[-1] if makers else None


def _nothing_measured(stages: Sequence[StageResult], section: GridSearch, trial: Trial) -> str:
    rows = [one for s in stages for one in s.measurements if own([one], one.name)]
    known = sorted({one.name for one in rows if one.split in (section.measured_split, None)})
    label = f" of class {section.label}" if section.label else ""
    stage = f"stage {section.stage}" if section.stage else "no stage"
    verb = "does not measure" if section.stage else "measures"
    return (
        f"search.measure: {stage} {verb} {section.measure}{label} on {section.measured_split} in"
        f" {trial.name}; there are: {', '.join(known) or 'none'}"
    )


def _as_yaml(variant: Variant, recipe: str) -> str:
    """The variant as a recipe of its own."""
    stream = io.StringIO()
    stream.write(f"# {variant.proposal.name}, a variant of {recipe}: relative paths start there.\n")
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output = None, False  # type: ignore[assignment]
    yaml.dump(variant.raw, stream)
    return stream.getvalue()
