"""What a run left behind, read for its page; and what is missing, with what makes it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from augcompress.errors import AugcompressError
from augcompress.evidence import (
    LAYERS_FILE,
    ORDER,
    PREDICTIONS_FILE,
    Layer,
    Measurement,
    Predictions,
    StageResult,
    Verdict,
    are_same_images,
    headline,
    load_arrays,
    read_layers,
)
from augcompress.storage import pending_stages, planned_stages, read_record, read_run, stage_records
from augcompress.untrusted import load_json, parse_json

EXAMPLES_FILE = "examples.npz"
ROLES = ("shipped", "teacher", "float")
_WHERE = {
    "shipped": PREDICTIONS_FILE,
    "teacher": "predictions-teacher.npz",
    "float": "predictions-float.npz",
}
_NAME = re.compile(r"[a-z]\w*")
_FOLDERS = re.compile(r"(?<![\w:/.])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\:;,]+)+[/\\](?=[^\s/\\:;,])")
_Content = TypeVar("_Content")


@dataclass(frozen=True)
class Gap:
    """A part of a run that is not there."""

    what: str
    """What is missing, in words."""
    command: str
    """The command that makes it."""


@dataclass(frozen=True)
class Part:
    """A stage of a run, done or not."""

    name: str
    result: StageResult | None = None
    """What it did; None: not done yet."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Versions it was made with."""
    epochs: Sequence[Mapping[str, Any]] = ()
    """Lines of its training log: losses, validation scores, lr, images_per_s, seconds."""

    @property
    def measurements(self) -> list[Measurement]:
        """Empty where the stage is not done."""
        return self.result.measurements if self.result else []

    @property
    def score(self) -> Measurement | None:
        """Top-1 of its own result, on validation where it can be."""
        return headline(self.measurements, ("validation", "test"))

    @property
    def command(self) -> str:
        """Its name on the command line."""
        return self.name.replace("_", "-")


@dataclass(frozen=True)
class Run:
    """Everything that the page tells of one run."""

    name: str
    folder: Path
    spec: Mapping[str, Any]
    """The settings in full; empty: not there."""
    recipe: str
    """The recipe as typed; empty: not there."""
    parts: Sequence[Part]
    """The stages in the order of the pipeline."""
    predictions: Mapping[str, Predictions] = field(default_factory=dict)
    """On the test images by role: shipped, teacher, float, where they are there."""
    layers: Sequence[Layer] = ()
    examples: Mapping[int, np.ndarray] = field(default_factory=dict)
    """Test images, (height, width, channels) uint8, by position in the data set."""
    verdicts: Sequence[Verdict] | None = None
    """Whether its limits were reached; None: nobody has judged them."""
    problems: Sequence[str] = ()
    """What could not be read, one sentence each."""

    @property
    def done(self) -> list[Part]:
        """The stages that are done."""
        return [part for part in self.parts if part.result is not None]

    @property
    def shipped(self) -> list[Measurement]:
        """Of `export`, which compares the shipped file with its baselines; empty: not done."""
        return next((part.measurements for part in self.parts if part.name == "export"), [])

    @property
    def baseline(self) -> str | None:
        """Whose predictions the shipped file's are compared with: teacher, else float; None:
        there are none."""
        return next((role for role in ("teacher", "float") if role in self.predictions), None)

    def part(self, name: str) -> Part:
        """A stage by name; one that is not done where the run has none of that name."""
        return next((part for part in self.parts if part.name == name), Part(name))

    @property
    def settings_file(self) -> str:
        """What `--recipe` takes to go on with the run, typed beside its folder: its paths are
        resolved, and what `--set` said is part of it."""
        return f"{self.name}/spec.json" if self.spec else "RECIPE"

    def gap(self, what: str, stage: str = "export") -> Gap:
        """What is missing, and the stage's command, to be typed beside the run's folder."""
        command = f"augcompress {stage.replace('_', '-')} --recipe {self.settings_file}"
        force = " --force" if self.part(stage).result is not None else ""
        return Gap(what, f"{command} --run-dir {self.name}{force}")

    def measured(
        self, name: str, role: str = "shipped", baseline: str | None = None
    ) -> Measurement | None:
        """A measurement of `export` on test, or on no images; the first where it was taken under
        several conditions, as for limits."""
        found = (
            one
            for one in self.shipped
            if (one.name, one.role or "shipped", one.baseline) == (name, role, baseline)
            and one.split in (None, "test")
        )
        return next(found, None)


def read(folder: Path, verdicts: Sequence[Verdict] | None = None) -> Run:
    """Read a run directory, finished or not.

    Raises AugcompressError when it is no run.
    """
    spec, pending = _spec(folder), pending_stages(folder)
    done = {stage.name: stage for stage in _results(folder) if stage.name not in pending}
    others = sorted(done, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    names = [
        name for name in dict.fromkeys([*planned_stages(spec), *others]) if _NAME.fullmatch(name)
    ]
    problems: list[str] = []
    parts = [_part(folder, name, done.get(name), problems) for name in names]
    classes = _classes(folder, names)
    recipe, export = folder / "recipe.yaml", folder / "export"
    ships = "export" not in pending
    return Run(
        name=folder.resolve().name,
        folder=folder,
        spec=spec,
        recipe=recipe.read_text(encoding="utf-8", errors="replace") if recipe.is_file() else "",
        parts=parts,
        predictions=_predictions(export, classes, problems) if ships else {},
        layers=_try(read_layers, export / LAYERS_FILE, [], problems) if ships else [],
        examples=_try(_examples, export / EXAMPLES_FILE, {}, problems) if ships else {},
        verdicts=verdicts,
        problems=[without_folders(problem.replace(f"{folder}/", "")) for problem in problems],
    )


def without_folders(text: str) -> str:
    """A sentence in which absolute paths are cut to their last part: where somebody keeps files
    is nobody else's business."""
    return _FOLDERS.sub("…/", text)


def _results(folder: Path) -> list[StageResult]:
    if not folder.is_dir():
        raise AugcompressError(f"{folder}: there is no such folder; see: augcompress runs list")
    if stage_records(folder):
        return read_run(folder).stages
    if (folder / "spec.json").is_file():
        return []
    if (folder / "search.json").is_file():
        raise AugcompressError(
            f"{folder}: is a study; report its runs: augcompress report {folder}/trials/*"
        )
    raise AugcompressError(f"{folder}: is no run of augcompress; see: augcompress runs list")


def _spec(folder: Path) -> dict[str, Any]:
    try:
        spec = load_json(folder / "spec.json")
    except (OSError, ValueError):
        return {}
    return spec if isinstance(spec, dict) else {}


def _part(folder: Path, name: str, result: StageResult | None, problems: list[str]) -> Part:
    if result is None:
        return Part(name)
    epochs = _try(_epochs, folder / name / "log.jsonl", [], problems)
    return Part(name, result, read_record(folder / name).environment, epochs)


def _epochs(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [_epoch(line) for line in lines]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AugcompressError(f"{path}: is no training log; repeat the stage") from error


def _epoch(line: Mapping[str, Any]) -> dict[str, Any]:
    """An epoch whose numbers are finite, or None."""
    losses = {str(name): _finite(value) for name, value in line["losses"].items()}
    return {"epoch": line["epoch"], "losses": losses} | {
        name: _finite(value) for name, value in line.items() if name not in ("epoch", "losses")
    }


def _finite(value: Any) -> float | None:
    return None if value is None or not math.isfinite(float(value)) else float(value)


def _predictions(
    folder: Path, classes: Sequence[str], problems: list[str]
) -> dict[str, Predictions]:
    """Those that can be compared: of the same images as the shipped file's."""
    found: dict[str, Predictions] = {}
    for role in ROLES:
        path = folder / _WHERE[role]
        one = _try(Predictions.load, path, None, problems)
        if one is None or (role != "shipped" and "shipped" not in found):
            continue
        if not are_same_images(one, found.get("shipped", one)):
            problems.append(f"{path}: is of other images than the shipped file's; left out")
            continue
        found[role] = _named(one, classes)
    return found


def _named(one: Predictions, classes: Sequence[str]) -> Predictions:
    """With names of the classes, from the networks' descriptions where it has none itself."""
    width = one.probabilities.shape[1]
    names = one.classes or (tuple(classes) if len(classes) == width else ())
    names = names or tuple(f"class {position}" for position in range(width))
    return Predictions(one.probabilities, one.labels, one.index, tuple(names), one.split, one.data)


def _classes(folder: Path, stages: Sequence[str]) -> list[str]:
    for stage in stages:
        try:
            told = load_json(folder / stage / "model.json")
            return [str(name) for name in told["classes"]]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return []


def _examples(path: Path) -> dict[int, np.ndarray]:
    arrays = load_arrays(path, "examples")
    try:
        return {int(i): x for i, x in zip(arrays["index"], arrays["images"], strict=True)}
    except (KeyError, ValueError, TypeError) as error:
        raise AugcompressError(f"{path}: holds no images; repeat the stage") from error


def _try(
    reader: Callable[[Path], _Content], path: Path, otherwise: Any, problems: list[str]
) -> Any:
    """What the file holds; `otherwise` where there is none, or, with a note, a broken one."""
    if not path.is_file():
        return otherwise
    try:
        return reader(path)
    except AugcompressError as error:
        problems.append(str(error))
        return otherwise
