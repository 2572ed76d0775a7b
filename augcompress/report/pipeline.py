"""The pipeline as a row of cards: what each stage did, what it cost and what it gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from augcompress.evidence import bytes_text, count_text, duration_text, own_measurements, score_text
from augcompress.report.content import Part, Run, without_folders

STAGE_TITLES = {
    "augment": "Augment",
    "pretrain": "Pretrain",
    "train_teacher": "Train teacher",
    "distill": "Distil",
    "prune": "Prune",
    "quantize": "Quantise",
    "export": "Export",
    "evaluate": "Evaluate",
}
_COSTS = {"parameters": "Parameters", "macs": "MACs", "size_bytes": "Size"}


@dataclass(frozen=True)
class Cost:
    """A cost of the stage's network or file."""

    label: str
    text: str
    width: str
    """Of its bar, in percent of the dearest stage's, as CSS."""


@dataclass(frozen=True)
class Card:
    """A stage."""

    title: str
    role: str
    """teacher, shipped, or empty: whose colour it has."""
    done: bool
    settings: str
    """What the recipe says of it, in a few words."""
    seconds: str
    score: str
    costs: Sequence[Cost]
    notes: Sequence[str]
    command: str
    """What does it."""


def cards(run: Run) -> list[Card]:
    """One card a stage, in the pipeline's order."""
    every = [one for part in run.parts for one in part.measurements]
    largest = {
        name: max((one.value for one in own_measurements(every, name)), default=0)
        for name in _COSTS
    }
    return [_card(run, part, largest) for part in run.parts]


def _card(run: Run, part: Part, largest: Mapping[str, float]) -> Card:
    result = part.result
    return Card(
        title=STAGE_TITLES.get(part.name, part.name),
        role={"train_teacher": "teacher", "augment": ""}.get(part.name, "shipped"),
        done=result is not None,
        settings=", ".join(_settings(run.spec.get(part.name))),
        seconds=duration_text(result.seconds) if result else "",
        score="" if part.score is None else score_text(part.score),
        costs=_costs(part, largest),
        notes=[without_folders(note) for note in result.notes] if result else [],
        command=run.gap("", part.name).command,
    )


def _costs(part: Part, largest: Mapping[str, float]) -> list[Cost]:
    found = []
    for name, label in _COSTS.items():
        for one in own_measurements(part.measurements, name)[:1]:
            number = bytes_text if name == "size_bytes" else count_text
            width = 100 * one.value / (largest[name] or 1)
            found.append(Cost(label, number(one.value), f"{width:.2f}%"))
    return found


def _settings(section: Any) -> Iterator[str]:
    """The kinds of a section's components, and its epochs."""
    if not isinstance(section, dict):
        return
    for key in ("model", "student", "pipeline", "steps", "targets"):
        inside = section.get(key)
        for one in inside if isinstance(inside, list) else [inside]:
            if isinstance(one, dict) and "kind" in one:
                yield str(one["kind"])
    training = section.get("training")
    if isinstance(training, dict) and "epochs" in training:
        yield f"{training['epochs']} epochs"
