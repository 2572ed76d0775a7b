"""`search`: variants of a recipe, by a strategy."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from augcompress.component import Section
from augcompress.evidence import StageName

OWN = ("version", "name", "seed", "search", "data.folds", "data.fold", "evaluate.split")
OWN_ADVICE = "not for a factor; seeds, folds and split of the search say it, or a recipe of its own"


class Level(Section):
    """One setting of a factor."""

    label: str
    """Its name in tables."""
    overrides: dict[str, Any]
    """Values by dotted path, as `--set` takes them; empty leaves the recipe as it is."""


class Factor(Section):
    """What is varied."""

    name: str
    """A dotted path, or a name of its own."""
    levels: tuple[Level, ...] = Field(min_length=2)
    """Its settings; the first is the control's unless `control` says otherwise."""


class GridSearch(Section):
    """Every combination of the levels, each with every seed (a full factorial design)."""

    strategy: Literal["grid"] = "grid"
    """How variants are chosen."""
    vary: tuple[Factor, ...] = Field(min_length=1)
    """A dotted path with its values, `distill.training.epochs: [5, 10]`; or a name with levels,
    each a set of dotted paths: `mixup: {off: {}, on: {distill.augment: [{kind: mixup}]}}`."""
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    """Every variant runs with each of these seeds; differences are paired by seed."""
    folds: int | None = Field(None, ge=2)
    """k-fold cross-validation: every variant also runs with each of so many parts of the training
    images held out, and is measured on that part; None: with the data's own parts."""
    control: dict[str, str] = Field(default_factory=dict)
    """Level by factor of the variant that all others are compared with; the first where not named.
    """
    until: StageName | None = None
    """Last stage of each variant.  None stops before `export`, which looks at test images and times
    files; but goes on to the end where what is compared comes from there: with `stage: export`,
    `split: test`, or a measure of shipped files (latency_ms, latency_p95_ms, throughput, load_ms,
    peak_memory_bytes, compressed_bytes; size_bytes without `quantize`)."""
    measure: str = "top1"
    """What the table shows: a measurement's name, top1, nll, ece, size_bytes, macs, …"""
    label: str | None = None
    """The class whose number it is, for measures that have one for each (recall)."""
    stage: StageName | None = None
    """The stage whose measurement it is; None takes the last that has one."""
    split: Literal["validation", "test"] | None = None
    """Images measured on; None takes validation, and with `folds` the part held out.  A study on
    `test` must choose nothing by it."""
    level: float = Field(0.95, gt=0.5, lt=1)
    """Confidence level of the intervals."""

    @field_validator("vary", mode="before")
    @classmethod
    def factors_are_written_as_a_mapping(cls, given: Any) -> Any:
        """`{path: [values]}` or `{name: {label: {path: value}}}`, as factors."""
        if not isinstance(given, dict):
            return given
        return tuple(_factor(str(name), levels) for name, levels in given.items())

    @field_validator("control", mode="before")
    @classmethod
    def labels_are_text(cls, given: Any) -> Any:
        """Levels of a path are named by their values, which may be numbers."""
        return {k: _label(v) for k, v in given.items()} if isinstance(given, dict) else given

    @model_validator(mode="after")
    def levels_seeds_and_control_are_clear(self) -> GridSearch:
        """Factors, their levels and the seeds differ; the control is one of the variants."""
        levels = {factor.name: [level.label for level in factor.levels] for factor in self.vary}
        if len(levels) < len(self.vary):
            raise ValueError("vary: two factors are called alike; name them differently")
        for name, labels in levels.items():
            if len(set(labels)) < len(labels):
                raise ValueError(f"vary.{name}: two levels are called alike; name them differently")
        for name, label in self.control.items():
            if label not in levels.get(name, []):
                known = ", ".join(levels.get(name, levels))
                what = "level" if name in levels else "factor"
                raise ValueError(f"control.{name}: no such {what}; choose among: {known}")
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(
                "seeds: one stands twice or is negative; give different numbers, 0 or more"
            )
        return self

    @model_validator(mode="after")
    def each_path_belongs_to_one_factor(self) -> GridSearch:
        """Two factors that set one field would undo each other; some fields are the study's own."""
        owners: dict[str, str] = {}
        for factor in self.vary:
            for path in sorted({path for level in factor.levels for path in level.overrides}):
                if path.partition(".")[0] in OWN or path in OWN:
                    raise ValueError(f"vary.{factor.name}: {path} is {OWN_ADVICE}")
                if path in owners:
                    raise ValueError(
                        f"vary: {owners[path]} and {factor.name} both set {path}; leave one out"
                    )
                owners[path] = factor.name
        return self

    @model_validator(mode="after")
    def recall_is_of_one_class(self) -> GridSearch:
        """A table has one number a cell."""
        if self.measure == "recall" and self.label is None:
            raise ValueError("measure: recall has a number for each class; name one: label: ...")
        return self

    @property
    def measured_split(self) -> Literal["validation", "test"]:
        """The images that variants are compared on; with folds, test is the part held out."""
        return self.split or ("validation" if self.folds is None else "test")

    def control_levels(self) -> dict[str, str]:
        """The control's level of every factor."""
        return {f.name: self.control.get(f.name, f.levels[0].label) for f in self.vary}


Search = GridSearch  # a union discriminated by `strategy` as soon as there are two


def _factor(name: str, levels: Any) -> dict[str, Any]:
    if isinstance(levels, dict):
        named = [{"label": _label(label), "overrides": each} for label, each in levels.items()]
        return {"name": name, "levels": named}
    if isinstance(levels, list):
        valued = [{"label": _label(value), "overrides": {name: value}} for value in levels]
        return {"name": name, "levels": valued}
    raise ValueError(f"vary.{name}: has no values to try; give a list of values, or levels by name")


def _label(value: Any) -> str:
    """A value as people write it in a recipe."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return str(value.get("kind", value))
    return str(value)
