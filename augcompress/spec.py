"""The recipe, validated: one Pydantic tree whose sections are named like the commands."""

from __future__ import annotations

import difflib
import io
import json
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from augcompress.augmentations import AnyAugmentation
from augcompress.component import FilePath, Section
from augcompress.compressions import PruneStep, QuantizeStep
from augcompress.datasets import Dataset
from augcompress.errors import AugcompressError, UsageError
from augcompress.exporters import Exporter, OnnxExporter
from augcompress.models import Model
from augcompress.objectives import Labels, Objective, SoftTargets
from augcompress.training import Training

StageName = Literal[
    "augment", "train_teacher", "distill", "prune", "quantize", "export", "evaluate"
]
ORDER: tuple[StageName, ...] = (
    "augment",
    "train_teacher",
    "distill",
    "prune",
    "quantize",
    "export",
    "evaluate",
)
RECIPES = ("recipes", "../recipes")  # inside the wheel, and beside the package in a checkout


class Offline(Section):
    """Augmented copies of the training split, written as an `arrays` data set."""

    copies: int = Field(1, ge=1)
    """Augmented copies of each image."""


class AugmentSection(Section):
    """What training images go through, and what `augment` writes of it."""

    pipeline: tuple[AnyAugmentation, ...] = ()
    """Augmentations in order; every training stage uses them unless it has its own `augment`."""
    columns: int = Field(8, ge=1, le=32)
    """Images in a row of the contact sheet."""
    offline: Offline | None = None
    """Write augmented copies too; None writes the contact sheet only."""


class TrainTeacherSection(Section):
    """The network to learn from."""

    model: Model
    """Architecture."""
    weights: FilePath | None = None
    """Start from these weights (.safetensors, .pt, .pth, .th; read without running code)."""
    training: Training | None = Training()
    """How to train; None (`training: null`) takes `weights` as they are."""
    objectives: tuple[Objective, ...] = (Labels(),)
    """Losses, summed by weight."""
    augment: tuple[AnyAugmentation, ...] | None = None
    """Augmentations of this stage; None takes `augment.pipeline`."""

    @model_validator(mode="after")
    def weights_or_training(self) -> TrainTeacherSection:
        """Untrained weights make no teacher."""
        if self.training is None and self.weights is None:
            raise ValueError("training is null and there are no weights; give one of the two")
        return self


class DistillSection(Section):
    """The small network, and what it learns from the teacher."""

    student: Model | None = None
    """Architecture; None goes on with the network of the stage before (a pruned one, say)."""
    weights: FilePath | None = None
    """Start the student from these weights."""
    objectives: tuple[Objective, ...] = (SoftTargets(weight=0.9), Labels(weight=0.1))
    """Losses, summed by weight."""
    teacher_view: Literal["same", "clean"] = "same"
    """Does the teacher see the augmented batch that the student sees, or the clean images?"""
    training: Training = Training()
    """How to train."""
    augment: tuple[AnyAugmentation, ...] | None = None
    """Augmentations of this stage; None takes `augment.pipeline`."""

    @model_validator(mode="after")
    def weights_need_a_student(self) -> DistillSection:
        """Weights belong to an architecture."""
        if self.student is None and self.weights is not None:
            raise ValueError("weights are given and no student to put them into; name its model")
        return self


class PruneSection(Section):
    """Steps that make the network smaller before quantising, with fine-tuning after each."""

    steps: tuple[PruneStep, ...] = Field(min_length=1)
    """Network compressions, in order."""
    objectives: tuple[Objective, ...] = (Labels(),)
    """Losses of the fine-tuning."""
    teacher: Literal["train_teacher", "unpruned"] = "train_teacher"
    """Whom objectives with a teacher follow: the recipe's, or the network before pruning."""
    training: Training | None = Training(epochs=3)
    """Fine-tuning after each round; None prunes only."""
    augment: tuple[AnyAugmentation, ...] | None = None
    """Augmentations of this stage; None takes `augment.pipeline`."""


class QuantizeSection(Section):
    """Steps on the exported graph."""

    steps: tuple[QuantizeStep, ...] = Field(min_length=1)
    """Graph compressions, in order."""
    max_drop: float | None = Field(0.05, ge=0, le=1)
    """Largest fall of validation top-1 below the float network, a fraction; None allows any."""


class ExportSection(Section):
    """The files to ship."""

    targets: tuple[Exporter, ...] = Field((OnnxExporter(),), min_length=1, max_length=1)
    """The runtime to export for: one, as there is one exporter."""


class EvaluateSection(Section):
    """What `evaluate` measures."""

    split: Literal["validation", "test"] = "test"
    """Images to measure on."""


class Limit(Section):
    """A promise; a run that breaks it ends with exit code 3."""

    measure: str
    """Measurement's name: top1, top5, size_bytes, speedup, parameters, macs, agreement, …"""
    baseline: Literal["teacher", "previous", "float"] | None = None
    """What the measure is compared with; None takes the value as it is."""
    split: Literal["validation", "test"] | None = None
    """Images it was measured on; None takes test where there are such."""
    at_least: float | None = None
    """Smallest value allowed."""
    at_most: float | None = None
    """Largest value allowed."""
    at_most_worse: float | None = None
    """Largest loss against the baseline (a fraction for accuracies)."""
    bound: Literal["value", "interval"] = "value"
    """Judge the value, or the unfavourable end of its interval."""

    @model_validator(mode="after")
    def exactly_one_goal(self) -> Limit:
        """One sentence a limit."""
        goals = [self.at_least, self.at_most, self.at_most_worse]
        if sum(goal is not None for goal in goals) != 1:
            raise ValueError("give exactly one of at_least, at_most, at_most_worse")
        if self.at_most_worse is not None and self.baseline is None:
            raise ValueError("at_most_worse needs a baseline: teacher, previous or float")
        return self


class Spec(Section):
    """A whole recipe."""

    version: Literal[1]
    """Version of the recipe's format."""
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the run directory."""
    seed: int = Field(0, ge=0)
    """Seed of splits, initial weights, order and augmentation."""
    pipeline: tuple[StageName, ...] | None = None
    """Order of the stages, each at most once; None takes the sections that are there, in order."""
    data: Dataset
    """Images and labels."""
    augment: AugmentSection = AugmentSection()
    """Augmentation."""
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
        network = [s for s in stages if s in ("train_teacher", "distill", "prune")]
        if graph and network and stages.index(graph[0]) < stages.index(network[-1]):
            raise ValueError(
                f"pipeline: {network[-1]} trains a network and cannot follow {graph[0]},"
                " which makes a graph; put it before"
            )
        return self

    def stages(self) -> tuple[StageName, ...]:
        """The stages of `run`, in order."""
        if self.pipeline is not None:
            return self.pipeline
        return tuple(s for s in ORDER if s != "evaluate" and getattr(self, s) is not None)

    def augmentations(self, stage: str) -> tuple[AnyAugmentation, ...]:
        """The augmentations of a training stage."""
        own = getattr(getattr(self, stage), "augment", None)
        return self.augment.pipeline if own is None else own


def find_recipe(name: str) -> Path:
    """A recipe's file: in the file system, else among the shipped ones.

    Raises UsageError naming the nearest shipped recipe.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = shipped_recipes()
    for candidate in (name, f"{name}.yaml"):
        if candidate in shipped:
            return shipped[candidate]
    raise UsageError(
        f"--recipe {name}: no such file, and no shipped recipe has that name"
        f"{_nearest(name, shipped) or '; see: augcompress recipes'}"
    )


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by file name."""
    here = Path(__file__).parent
    folder = next((here / place for place in RECIPES if (here / place).is_dir()), here)
    return {path.name: path for path in sorted(folder.glob("*.yaml"))}


def load(
    recipe: str | Path, overrides: Iterable[str] = (), *, smoke: bool = False
) -> tuple[Spec, str]:
    """Read and validate a recipe; returns it with its text as typed.  `smoke` shrinks everything.

    Raises UsageError with `section.field: what is wrong; what to do`.
    """
    path = find_recipe(str(recipe))
    try:
        text = path.read_text(encoding="utf-8")
        raw = YAML(typ="safe", pure=True).load(io.StringIO(text))
    except MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{path}:{line} is not YAML: {error.problem}") from error
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: holds no sections; start from: augcompress init")
    raw = json.loads(json.dumps(raw, default=str))
    for override in overrides:
        override_value(raw, override)
    if smoke:
        shrink_to_smoke(raw)
    return validate(raw, base=str(path.resolve().parent)), text


def shrink_to_smoke(raw: dict[str, Any]) -> None:
    """One epoch everywhere, in place; the run has a name of its own."""
    raw["name"] = f"{raw.get('name')}-smoke"
    for section in ("train_teacher", "distill", "prune"):
        inside = raw.get(section)
        if isinstance(inside, dict) and inside.get("training", {}) is not None:
            training = inside.setdefault("training", {})
            if not isinstance(training, dict):
                continue  # validation says what is wrong with it
            training |= {"epochs": 1, "batch_size": min(training.get("batch_size", 32), 32)}
    if isinstance(raw.get("quantize"), dict):
        raw["quantize"]["max_drop"] = None


def recipe_summary(path: Path) -> str:
    """The first line of a recipe's header."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip()


def validate(raw: dict[str, Any], base: str | None = None) -> Spec:
    """A Spec from plain data; relative paths start at `base`.

    Raises UsageError naming the field.
    """
    try:
        return Spec.model_validate(raw, context={"base": base})
    except ValidationError as error:
        problems = _without_consequences(error.errors())
        lines = list(dict.fromkeys(_explain(problem, raw) for problem in problems))
        more = f" (and {len(lines) - 3} more)" if len(lines) > 3 else ""
        raise UsageError(" | ".join(lines[:3]) + more) from error


def override_value(raw: dict[str, Any], override: str) -> None:
    """Apply one `--set a.b.0.c=value` in place; the value is read as YAML.

    Raises UsageError when it is no assignment or the path runs into a plain value.
    """
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise UsageError(f"--set {override}: write section.field=value")
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise UsageError(f"--set {path}: the value is not YAML: {text}") from error
    place: Any = raw
    parts = path.split(".")
    for depth, part in enumerate(parts):
        where = ".".join(parts[: depth + 1])
        key: Any = part
        if isinstance(place, list):
            if not part.isdigit() or int(part) >= len(place):
                raise UsageError(f"--set {where}: the list has {len(place)} items, from 0")
            key = int(part)
        elif not isinstance(place, dict):
            raise UsageError(f"--set {where}: {'.'.join(parts[:depth])} is a plain value")
        if depth == len(parts) - 1:
            place[key] = value
        else:
            place = place.setdefault(key, {}) if isinstance(place, dict) else place[key]
            if place is None or (place == {} and parts[depth + 1].isdigit()):
                raise UsageError(f"--set {where}: the recipe has no such list; set it as a whole")


def _without_consequences(problems: list[Any]) -> list[Any]:
    """A list is not too short because its items are wrong."""
    inside = {
        problem["loc"][:depth] for problem in problems for depth in range(len(problem["loc"]))
    }
    return [p for p in problems if p["type"] != "too_short" or p["loc"] not in inside]


def _explain(problem: Any, raw: dict[str, Any]) -> str:
    """One validation problem as `section.field: what is wrong; what to do`."""
    parts = list(_untagged(problem["loc"], raw))
    where = ".".join(str(part) for part in parts) or "recipe"
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        owner = _model_at(Spec, parts[:-1], raw)
        return (
            f"{where}: unknown key{_nearest(str(parts[-1]), owner.model_fields if owner else ())}"
        )
    if kind == "union_tag_invalid":
        known = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
        return f"{where}.kind: unknown {context['tag']!r}{_nearest(context['tag'], known)}"
    if kind == "union_tag_not_found":
        return f"{where}: needs a kind; write for example {{kind: ...}}"
    if kind == "missing":
        return f"{where}: is missing; add it"
    if kind == "value_error":
        return f"{where}: {context['error']}" if parts else str(context["error"])
    given = json.dumps(problem["input"], default=str)
    return f"{where}: {problem['msg'][0].lower()}{problem['msg'][1:]}; it is {given[:60]}"


def _untagged(loc: tuple[Any, ...], raw: Any) -> Iterator[Any]:
    """A location without the union tags that Pydantic puts into it."""
    for part in loc:
        if isinstance(raw, dict) and part not in raw and raw.get("kind") == part:
            continue
        yield part
        if isinstance(raw, dict):
            raw = raw.get(part)
        elif isinstance(raw, list) and isinstance(part, int) and part < len(raw):
            raw = raw[part]


def _nearest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, 1, 0.5)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known: {', '.join(known)}" if known else ""


def _model_at(model: Any, parts: list[Any], raw: Any) -> type[BaseModel] | None:
    """The section or component that stands at a place of the recipe."""
    choices = list(_models(model))
    kind = raw.get("kind") if isinstance(raw, dict) else None
    here = next((m for m in choices if _kind(m) == kind), choices[0] if choices else None)
    if not parts or here is None:
        return here
    part, rest = parts[0], parts[1:]
    if isinstance(part, int):
        inside = raw[part] if isinstance(raw, list) and part < len(raw) else None
        return _model_at(model, rest, inside)
    if part not in here.model_fields:
        return None
    inside = raw.get(part) if isinstance(raw, dict) else None
    return _model_at(here.model_fields[part].annotation, rest, inside)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models(inner)


def _kind(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    return field.default if field is not None else None


def require_section(spec: Spec, stage: StageName) -> Any:
    """The section of a stage.

    Raises AugcompressError when the recipe has none.
    """
    section = getattr(spec, stage)
    if section is None:
        raise AugcompressError(f"{stage}: the recipe has no such section; add one")
    return section
