"""The page put together: what the template shows, and the template."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from augcompress.errors import visible_text
from augcompress.evidence import percent
from augcompress.report.calibration import read_calibration
from augcompress.report.classes import read_classes
from augcompress.report.comparison import compare_runs
from augcompress.report.content import Part, Run
from augcompress.report.curves import accuracy_curves, has, loss_curves, rate_curves, speed_curves
from augcompress.report.images import gallery, sheet_shot
from augcompress.report.network import read_network
from augcompress.report.origin import (
    by_file,
    commands,
    every_number,
    shipped_digest,
    timing_conditions,
    versions,
)
from augcompress.report.pictures import Picture
from augcompress.report.pipeline import cards
from augcompress.report.summary import summarize
from augcompress.report.tradeoffs import read_tradeoffs

TEMPLATE = "page.html.j2"
_UNIT = re.compile(r"(?<=\d) (?=(%|B|kB|MB|GB|ms|times|points)\b|%)|(?<=\d,) (?=n=)")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufefc]+(?:[ _-][\u0590-\u08ff\ufb1d-\ufefc]+)*")
_DASH = re.compile(r"(?<=\d)–(?=\d)")
_OPTION = re.compile(r"--[a-z-]+")
SECTIONS: Mapping[str, str] = {
    "summary": "Summary",
    "pipeline": "Pipeline",
    "tradeoffs": "Accuracy and cost",
    "training": "Training",
    "calibration": "Calibration",
    "classes": "Classes",
    "images": "Images",
    "augmentations": "Augmentations",
    "layers": "Layers",
    "environment": "Environment",
    "recipe": "Recipe",
    "reproduce": "Reproduce",
    "numbers": "All numbers",
}
"""Sections of a run by id; on a page of several runs the ids are `run-1-summary` and so on, and
`tradeoffs` and `comparison` stand once, ahead of them."""


def render(runs: Sequence[Run]) -> str:
    """The page of one run, or of several side by side."""
    several = len(runs) > 1
    views = [_view(run, f"run-{n}-" if several else "") for n, run in enumerate(runs, 1)]
    page: dict[str, Any] = {
        "title": f"{len(runs)} runs compared" if several else views[0]["summary"].title,
        "css": Markup(_read("page.css")),
        "views": views,
        "comparison": compare_runs(runs) if several else None,
        "tradeoffs": read_tradeoffs(runs, "all-") if several else None,
    }
    return _templates().get_template(TEMPLATE).render(page)


def _view(run: Run, prefix: str) -> dict[str, Any]:
    """What the template shows of one run; `prefix` stands before its sections' ids."""
    logs = [part for part in run.parts if part.epochs]
    roles, by_role = by_file(run)
    return {
        "run": run,
        "prefix": prefix,
        "sections": {k: name for k, name in SECTIONS.items() if k != "tradeoffs" or not prefix},
        "summary": summarize(run),
        "cards": cards(run),
        "tradeoffs": None if prefix else read_tradeoffs([run], ""),
        "curves": _curves(logs, prefix),
        "logs": logs,
        "calibration": read_calibration(run, prefix),
        "classes": read_classes(run),
        "groups": gallery(run),
        "sheet": sheet_shot(run.folder / "augment" / "contact_sheet.png"),
        "layers": read_network(run),
        "environment": versions(run),
        "timing": timing_conditions(run),
        "digest": shipped_digest(run),
        "steps": commands(run),
        "roles": roles,
        "by_role": by_role,
        "numbers": every_number(run),
    }


def _curves(logs: Sequence[Part], prefix: str) -> list[tuple[str, Picture]]:
    if not logs:
        return []
    losses = [
        (f"Losses of {part.command}", loss_curves(f"{prefix}{part.name}-losses", part))
        for part in logs
        if any(line["losses"] for line in part.epochs)
    ]
    over_all = [
        ("validation_top1", "Accuracy on validation", accuracy_curves, "validation"),
        ("lr", "Learning rate", rate_curves, "rates"),
        ("images_per_s", "Training images per second", speed_curves, "speed"),
    ]
    drawn = [
        (caption, picture(f"{prefix}{name}", logs))
        for key, caption, picture, name in over_all
        if has(logs, key)
    ]
    return [*drawn[:1], *losses, *drawn[1:]]


def _templates() -> Environment:
    templates = Environment(
        loader=FunctionLoader(_read),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"percent": percent, "whole": _whole, "names": _names, "options": _options}
    return templates


def _visible(value: Any) -> Any:
    return type(value)(visible_text(value)) if isinstance(value, str) else value


def _whole(text: str) -> str:
    """No line ends between a number and its unit, or inside an interval."""
    return _DASH.sub("–\u2060", _UNIT.sub("\u00a0", text))


def _names(text: str) -> Markup:
    """Words that are written from right to left keep the order of those around them."""
    return Markup(_RIGHT_TO_LEFT.sub(r"<bdi>\g<0></bdi>", str(escape(visible_text(text)))))


def _options(text: str) -> Markup:
    """Options of commands as code, on one line each."""
    return Markup(_OPTION.sub(r'<code class="option">\g<0></code>', str(escape(text))))


def _read(name: str) -> str:
    return resources.files("augcompress.report").joinpath(name).read_text(encoding="utf-8")
