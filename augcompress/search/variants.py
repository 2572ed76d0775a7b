"""From a proposal to a validated recipe."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from augcompress.errors import UsageError
from augcompress.raw import set_value
from augcompress.search.measured import check_measure, final_stage
from augcompress.search.strategies import Proposal
from augcompress.search.study import cell_name
from augcompress.spec import GridSearch, Spec, shrink_to_smoke, validate

Raw = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """A trial's recipe."""

    proposal: Proposal
    raw: Raw
    """As it would be typed."""
    spec: Spec


@dataclass(frozen=True)
class Template:
    """What variants are made from: the recipe without its section `search`."""

    raw: Raw
    base: str
    """Where relative paths start."""
    section: GridSearch
    smoke: bool = False

    def variant(self, proposal: Proposal) -> Variant:
        """The recipe of a proposal.

        Raises UsageError naming the factor, the level and the field.
        """
        raw = self.changed(proposal.changes, proposal.levels)
        try:
            raw = self.dressed(raw, proposal)
            spec = validate(raw, self.base)
        except UsageError as error:
            raise UsageError(f"{self.blamed(proposal, str(error))}: {error}") from error
        self.check_stages(spec, proposal)
        return Variant(proposal, raw, spec)

    def changed(self, changes: Mapping[str, Mapping[str, Any]], levels: Mapping[str, str]) -> Raw:
        """The recipe with some factors' values.

        Raises UsageError when a path leads nowhere.
        """
        raw = copy.deepcopy(self.raw)
        for factor, overrides in changes.items():
            for path, value in overrides.items():
                by = f"{_place(factor, levels[factor])}:"
                set_value(raw, path, copy.deepcopy(value), by=by)
        return raw

    def dressed(self, raw: Raw, proposal: Proposal) -> Raw:
        """With the seed and the fold, and measured on the images that the study asks for."""
        raw["seed"] = proposal.seed
        if proposal.fold is not None:
            plugin = isinstance(raw.get("data"), dict) and raw["data"].get("kind") == "plugin"
            place = "data.options" if plugin else "data"
            set_value(raw, f"{place}.folds", self.section.folds, by="search.folds:")
            set_value(raw, f"{place}.fold", proposal.fold, by="search.folds:")
        set_value(raw, "evaluate.split", self.section.measured_split, by="search.split:")
        if self.smoke:
            shrink_to_smoke(raw)
        return raw

    def blamed(self, proposal: Proposal, problem: str) -> str:
        """The level that a problem comes from: one that has it alone, else the whole cell."""
        for factor, overrides in proposal.changes.items():
            try:
                alone = self.changed({factor: overrides}, proposal.levels)
                validate(self.dressed(alone, proposal), self.base)
            except UsageError as error:
                if str(error) == problem:
                    return _place(factor, proposal.levels[factor])
        return f"search: variant {cell_name(proposal.levels)}"

    def check_stages(self, spec: Spec, proposal: Proposal) -> None:
        """Raises UsageError when a variant does not have the stages or the measure that the study
        speaks of."""
        stages, where = spec.stages(), f"variant {cell_name(proposal.levels)}"
        until, stage = self.section.until, self.section.stage
        if until is not None and until not in stages:
            raise UsageError(
                f"search.until: {until} is not in the pipeline of {where}; it has"
                f" {', '.join(stages)}"
            )
        run = stages[: stages.index(final_stage(self.section, stages)) + 1]
        if stage is not None and stage not in (*run, "evaluate"):
            raise UsageError(
                f"search.stage: {stage} is not among the stages run of {where}; these are"
                f" {', '.join(run)}"
            )
        check_measure(self.section, spec)


def check_sections(raw: Raw, base: str) -> GridSearch:
    """The section `search` of a recipe that is valid as it stands.

    Raises UsageError when it is not, or has no such section.
    """
    section = validate(raw, base).search
    if section is None:
        raise UsageError(
            "search: the recipe has no such section; add one, for example"
            " search: {vary: {distill.training.epochs: [5, 10]}, seeds: [0, 1, 2]}"
        )
    return section


def _place(factor: str, label: str) -> str:
    return f"search.vary.{factor}: {label}"
