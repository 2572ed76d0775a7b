"""Accuracy against cost: what each file gives for its latency and its bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from augcompress.evidence import Measurement, bytes_text, three_digits, value_text
from augcompress.report.axes import log_axis, percent_axis
from augcompress.report.content import ROLES, Run
from augcompress.report.pictures import COLOURS, FAINT, INK, MARKERS, PAPER, Picture, draw_picture

_COSTS: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "latency_ms": ("Latency of one image, ms", three_digits),
    "size_bytes": ("Size of the file", bytes_text),
}
_CAPTIONS = {"latency_ms": "Accuracy against latency", "size_bytes": "Accuracy against size"}


@dataclass(frozen=True)
class Tradeoffs:
    """Accuracy against cost, of all runs of the page."""

    pictures: Sequence[tuple[str, Picture]]
    """With a caption each."""
    rows: Sequence[tuple[str, str, str, str, bool]]
    """Run, role, cost, accuracy, whether nothing beats it."""


@dataclass(frozen=True)
class CostPoint:
    """A file in the plane of accuracy and cost."""

    run: str
    """Its run's name, or its number on the page where there are several."""
    role: str
    accuracy: Measurement
    cost: Measurement

    def text(self) -> str:
        """For the picture's text alternative."""
        return (
            f"{self.run} {self.role}: {value_text(self.accuracy)} at {value_text(self.cost)}"
        ).strip()


def read_tradeoffs(runs: Sequence[Run], prefix: str) -> Tradeoffs | None:
    """None: no run has a cost measured beside its accuracy on test."""
    pictures, rows = [], []
    for cost, caption in _CAPTIONS.items():
        found = points(runs, cost)
        if found:
            pictures.append((caption, tradeoff(f"{prefix}{cost}", found, cost)))
            rows += _rows(runs, found)
    return Tradeoffs(pictures, rows) if pictures else None


def _rows(runs: Sequence[Run], found: Sequence[CostPoint]) -> list[tuple[str, str, str, str, bool]]:
    best = front(found)
    return [
        (
            f"{one.run} {runs[int(one.run) - 1].name}" if one.run else runs[0].name,
            one.role,
            value_text(one.cost),
            value_text(one.accuracy),
            one in best,
        )
        for one in reversed(found)
    ]


def points(runs: Sequence[Run], cost: str) -> list[CostPoint]:
    """What each run has measured on test of its files, the shipped ones last, to be on top."""
    found = []
    for position, run in enumerate(runs, 1):
        for role in ROLES:
            accuracy, price = run.measured("top1", role), run.measured(cost, role)
            if accuracy is not None and price is not None and price.value > 0:
                found.append(
                    CostPoint(str(position) if len(runs) > 1 else "", role, accuracy, price)
                )
    return sorted(found, key=lambda point: ROLES.index(point.role), reverse=True)


def front(found: Sequence[CostPoint]) -> list[CostPoint]:
    """The points that no other beats in both accuracy and cost, cheapest first."""
    best, kept = -1.0, []
    for point in sorted(found, key=lambda one: (one.cost.value, -one.accuracy.value)):
        if point.accuracy.value > best:
            best = point.accuracy.value
            kept.append(point)
    return kept


def tradeoff(name: str, found: Sequence[CostPoint], cost: str) -> Picture:
    """Accuracy against a cost, with intervals; a line joins what nothing else beats."""
    label, tick = _COSTS[cost]
    told = "; ".join(point.text() for point in found)
    alt = f"Accuracy against {label[0].lower()}{label[1:]}. {told}"

    def plot(axes: Axes) -> None:
        edge = front(found)
        axes.step(
            [point.cost.value for point in edge],
            [point.accuracy.value for point in edge],
            where="post",
            color=FAINT,
            linewidth=1.0,
            linestyle=(0, (2, 2)),
            zorder=1,
        )
        for point in found:
            _mark(axes, point)
        _cost_axis(axes, [point.cost.value for point in found], tick)
        axes.margins(x=0.12, y=0.14)
        _labels(axes, found)
        axes.set(xlabel=label, ylabel="Top-1 on test, %")
        percent_axis(axes.yaxis)

    return draw_picture(name, alt, plot)


def _mark(axes: Axes, point: CostPoint) -> None:
    colour, place = COLOURS[point.role], (point.cost.value, point.accuracy.value)
    across, along = _whiskers(point.cost), _whiskers(point.accuracy)
    axes.errorbar(*place, along, across, color=colour, elinewidth=1.4, capsize=3, zorder=2)
    axes.plot(
        *place,
        color=colour,
        marker=MARKERS[point.role],
        markersize=8,
        markeredgecolor=PAPER,
        markeredgewidth=1.2,
        zorder=3,
    )


def _whiskers(one: Measurement) -> list[list[float]] | None:
    """Distances from the value to the ends of its interval."""
    if one.low is None or one.high is None:
        return None
    return [[max(one.value - one.low, 0.0)], [max(one.high - one.value, 0.0)]]


def _labels(axes: Axes, found: Sequence[CostPoint]) -> None:
    """Each point's name, on the side where no other point and no edge is near."""
    values = [(point.cost.value, point.accuracy.value) for point in found]
    places = axes.transLimits.transform(axes.transScale.transform(values))
    for point, value, place in zip(found, values, places, strict=True):
        right = places - place
        crowded = (right[:, 0] > 0) & (right[:, 0] < 0.16) & (np.abs(right[:, 1]) < 0.08)
        left = bool(crowded.any()) or place[0] > 0.75
        note = axes.annotate(
            point.run or point.role,
            value,
            xytext=(-8 if left else 8, 5),
            textcoords="offset points",
            ha="right" if left else "left",
            color=INK,
            zorder=4,
        )
        note.set_in_layout(False)


def _cost_axis(axes: Axes, values: Sequence[float], tick: Callable[[float], str]) -> None:
    if max(values) > 2.5 * min(values):
        axes.set_xscale("log")
        log_axis(axes.xaxis, tick)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
