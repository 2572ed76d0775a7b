"""What a run leaves behind to be read: measurements, stage results, layers, verdicts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from augcompress.component import Section
from augcompress.errors import AugcompressError
from augcompress.untrusted import load_json

FORMAT_VERSION = 1
"""Version of `measurements.json` and of what `--json` prints."""

StageName = Literal[
    "augment", "pretrain", "train_teacher", "distill", "prune", "quantize", "export", "evaluate"
]
ORDER: tuple[StageName, ...] = (
    "augment",
    "pretrain",
    "train_teacher",
    "distill",
    "prune",
    "quantize",
    "export",
    "evaluate",
)
"""All stages, in the order that a recipe has unless it says otherwise."""

MEASUREMENTS_FILE = "measurements.json"
LAYERS_FILE = "layers.json"
REPEAT = "repeat the stage with --force"
_Record = TypeVar("_Record", bound=Section)


class Measurement(Section):
    """A number with its n, its interval and the conditions it was taken under."""

    name: str
    """The field's name for it: top1, macro_f1, nll, ece, latency_ms, speedup, size_bytes, ..."""
    value: float
    """Finite.  Accuracies and drops are fractions, never points."""
    unit: str = "fraction"
    better: Literal["higher", "lower"] | None = None
    """Which way is better; None: neither."""
    n: int | None = None
    """How many samples or repeats it stands on; None: exact, nothing was sampled."""
    low: float | None = None
    """Lower end of the interval, in the value's unit; None: no interval."""
    high: float | None = None
    """Upper end of the interval, in the value's unit; None: no interval."""
    level: float = 0.95
    """Confidence level of the interval."""
    method: str | None = None
    """How the interval was computed: wilson, bootstrap, ...; None: no interval."""
    split: str | None = None
    """train, validation or test; None: no data were involved."""
    subject: str | None = None
    """What was measured: a file, relative to the run directory."""
    baseline: str | None = None
    """What it was compared with: teacher, previous, float or a file; None: nothing."""
    conditions: dict[str, Any] = Field(default_factory=dict)
    """Hardware, threads, batch size, versions; `role`: teacher, float or shipped."""

    @model_validator(mode="after")
    def interval_has_two_ends_in_order(self) -> Self:
        if (self.low is None) != (self.high is None):
            raise ValueError(f"{self.name}: an interval needs both low and high")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"{self.name}: low {self.low} is above high {self.high}")
        return self

    @property
    def label(self) -> str | None:
        """What tells it from others of its name: the class, what images were changed by, or whose
        text it is."""
        other = self.subject if self.text is not None else None
        return self.conditions.get("class", self.conditions.get("under", other))

    @property
    def text(self) -> str | None:
        """What was found, where that is no number: a licence.  The value then counts what it was
        found of: 0 where there is nothing."""
        return self.conditions.get("licence")

    @property
    def role(self) -> str | None:
        """teacher, float or shipped; None: the stage's own result."""
        return self.conditions.get("role")


class StageResult(Section):
    """What one stage did."""

    name: str
    status: Literal["done", "cached"]
    """done: computed now; cached: found in the store."""
    seconds: float
    """Wall-clock time that the stage took when it was computed."""
    artifact: str | None = None
    """Path of the stage's main file; None: it leaves none."""
    measurements: list[Measurement] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    """Sentences for people (duplicates found, versions that differ); not part of `--json`."""


class RunResult(Section):
    """What `augcompress run` and every stage command return."""

    run_dir: str
    stages: list[StageResult]

    def to_json(self) -> str:
        """The one JSON object that `--json` prints."""
        stages = [stage.model_dump(mode="json", exclude={"notes"}) for stage in self.stages]
        payload = {"version": FORMAT_VERSION, "run_dir": self.run_dir, "stages": stages}
        return json.dumps(payload, indent=2, allow_nan=False)


class Verdict(Section):
    """Whether one promise was kept."""

    limit: str
    """The promise in words: `top1 on test at most 1 point worse than teacher`."""
    reached: bool
    actual: float | None = None
    """The number that was judged, in `unit`: a value, a loss, a gain, a ratio, or the end of its
    interval; None: there is none."""
    wanted: float | None = None
    """The bound, in `unit`; None: a question of yes or no."""
    unit: str = "fraction"
    note: str = ""
    """How it was judged, or why it was not and what to do; empty: nothing to add."""
    kind: Literal["limit", "integrity"] = "limit"
    """A limit of the recipe, or whether the files are those that were measured."""
    value: float | None = None
    """The number itself, also where the end of its interval was judged."""
    low: float | None = None
    """Lower end of its interval; None: no interval."""
    high: float | None = None
    """Upper end of its interval; None: no interval."""
    found: str = ""
    """What was found, for a table: `94.1 % (93.1–95.1 %)`; empty: nothing."""
    asked: str = ""
    """What was wanted, for a table: `≥ 95 %`."""


def bounded(one: Measurement) -> Measurement:
    """The same with an interval that stays within 0 and 1 where it is that of a share: Student's t
    does not know that there is an end."""
    if one.unit != "fraction" or one.name.endswith(("_difference", "_drop")):
        return one
    low = None if one.low is None else max(0.0, one.low)
    high = None if one.high is None else min(1.0, one.high)
    return one.model_copy(update={"low": low, "high": high})


def own_measurements(measurements: Iterable[Measurement], name: str) -> list[Measurement]:
    """Measurements called `name` of the stage's own result: no comparison, no teacher's number."""
    return [
        found
        for found in measurements
        if found.name == name and found.baseline is None and found.role in (None, "shipped")
    ]


def headline(
    measurements: Iterable[Measurement], splits: tuple[str, ...] = ("test", "validation")
) -> Measurement | None:
    """The top-1 accuracy of the stage's own result, on the first of `splits` that has one."""
    found = own_measurements(measurements, "top1")
    by_split = {one.split: one for one in reversed(found)}
    return next((by_split[split] for split in splits if split in by_split), None)


class Layer(Section):
    """What one layer of the shipped network costs, and what became of it."""

    name: str
    """Its name in the network."""
    type: str
    """Conv2d, Linear, …"""
    parameters: int
    nonzero_parameters: int
    macs: int
    """Multiply-adds for one image."""
    precision: str
    """Of its weights in the shipped file: float32, int8, …"""
    sensitivity_db: float | None = None
    """Signal-to-noise ratio of the logits, in decibels, when only this layer's weights are rounded
    to 8 bits; the smallest is the most sensitive layer.  None: not measured."""


def write_measurements(path: str | Path, measurements: Iterable[Measurement]) -> None:
    """Write a `measurements.json`; it holds no time stamp, so equal results are equal bytes."""
    _write(path, "measurements", measurements, indent=2)


def write_layers(path: str | Path, layers: Iterable[Layer]) -> None:
    """Write a `layers.json`."""
    _write(path, "layers", layers, indent=1)


def _write(path: str | Path, name: str, records: Iterable[Section], indent: int) -> None:
    rows = [one.model_dump(mode="json") for one in records]
    text = json.dumps({"version": FORMAT_VERSION, name: rows}, indent=indent, allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def read_measurements(path: str | Path, again: str = REPEAT) -> list[Measurement]:
    """Read a `measurements.json`, or a timing of `bench.py`; `again` says how it is written.

    Raises AugcompressError when it is missing, damaged or of another version.
    """
    return _read(path, "measurements", Measurement, again)


def read_layers(path: str | Path) -> list[Layer]:
    """Read a `layers.json`.

    Raises AugcompressError when it is missing, damaged or of another version.
    """
    return _read(path, "layers", Layer, REPEAT)


def _read(path: str | Path, name: str, kind: type[_Record], again: str) -> list[_Record]:
    try:
        payload = load_json(path)
    except OSError as error:
        raise AugcompressError(f"{path}: {error.strerror}; {again}") from error
    except ValueError as error:
        raise AugcompressError(f"{path}: is no JSON; {again}") from error
    if not isinstance(payload, dict) or payload.get("version") != FORMAT_VERSION:
        raise AugcompressError(f"{path}: is no {name} file of version {FORMAT_VERSION}; {again}")
    try:
        return [kind.model_validate(row) for row in payload.get(name) or []]
    except (ValidationError, TypeError) as error:
        raise AugcompressError(f"{path}: one of its {name} is damaged; {again}") from error
