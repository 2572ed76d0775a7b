"""Several runs side by side: what they measured, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from augcompress.evidence import Measurement, are_same_images, value_text
from augcompress.report.content import Run
from augcompress.report.summary import NOUNS

_MEASURES = (
    ("Top-1 on test", "top1"),
    ("Macro-F1", "macro_f1"),
    ("NLL", "nll"),
    ("ECE", "ece"),
    ("Size", "size_bytes"),
    ("Latency of one image", "latency_ms"),
    ("Peak memory", "peak_memory_bytes"),
)
_COMPARED = (("Speed", "speedup"), ("Agreement", "agreement"))
_OF_BASELINES = (
    ("Teacher's top-1", "top1", "teacher"),
    ("Float network's top-1", "top1", "float"),
    ("Multiply-adds, float network", "macs", "float"),
    ("Parameters, float network", "parameters", "float"),
)


@dataclass(frozen=True)
class ComparisonView:
    """The opening of a page of several runs."""

    names: Sequence[str]
    rows: Sequence[Sequence[str]]
    """A measure, and a text a run."""
    settings: Sequence[Sequence[str]]
    """A dotted path, and the value of each run, where they differ."""
    note: str
    """Whether accuracies can be compared."""

    @property
    def heads(self) -> list[str]:
        """A column's head a run."""
        return [f"{number} {name}" for number, name in enumerate(self.names, 1)]


def compare_runs(runs: Sequence[Run]) -> ComparisonView:
    """The tables of several runs."""
    names, settings = [run.name for run in runs], differing_settings(runs)
    return ComparisonView(names, _rows(runs), settings, _note(runs))


def _rows(runs: Sequence[Run]) -> list[list[str]]:
    lines: list[tuple[str, list[Measurement | None]]] = [
        (label, [run.measured(name) for run in runs]) for label, name in _MEASURES
    ]
    for label, name in _COMPARED:
        for role, noun in NOUNS.items():
            title = f"{label} against {noun}" if name == "speedup" else f"{label} with {noun}"
            lines.append((title, [run.measured(name, baseline=role) for run in runs]))
    for label, name, role in _OF_BASELINES:
        lines.append((label, [run.measured(name, role) for run in runs]))
    told = [[label, *map(_text, found)] for label, found in lines if any(found)]
    return [["Stages done", *(f"{len(run.done)} of {len(run.parts)}" for run in runs)], *told]


def _text(one: Measurement | None) -> str:
    noisy = "; too noisy to say" if one is not None and one.conditions.get("too_noisy") else ""
    return value_text(one) + noisy


def differing_settings(runs: Sequence[Run]) -> list[list[str]]:
    """The settings, by dotted path, in which the runs differ; a run's name is none."""
    flat = [dict(_flat(run.spec)) for run in runs]
    paths = dict.fromkeys(path for one in flat for path in one if path != "name")
    return [
        [path, *(one.get(path, "–") for one in flat)]
        for path in paths
        if len({one.get(path, "–") for one in flat}) > 1
    ]


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inside in value.items():
            yield from _flat(inside, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for position, inside in enumerate(value):
            yield from _flat(inside, f"{path}.{position}")
    else:
        yield path, _value_text(value)


def _value_text(value: Any) -> str:
    """As in a recipe; of a path only its last part."""
    if value is None:
        return "null"
    if isinstance(value, str) and PurePath(value).is_absolute():
        return f"…/{PurePath(value).name}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _note(runs: Sequence[Run]) -> str:
    found = [run.predictions.get("shipped") for run in runs]
    there = [one for one in found if one is not None]
    if len(there) < len(runs):
        return "Not every run has predictions on test yet; what is missing is left open."
    if all(are_same_images(there[0], one) for one in there[1:]):
        return "All were measured on the same test images; augcompress compare tests differences."
    return "Not measured on the same test images: accuracies cannot be compared with each other."
