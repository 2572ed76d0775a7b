"""Whether confidence can be believed: reliability bins, and the measures of calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from augcompress.evidence import percent, share_text, value_text
from augcompress.evidence.statistics import Bin, reliability_bins, wilson
from augcompress.report.axes import legend, percent_axis
from augcompress.report.content import ROLES, Run
from augcompress.report.pictures import (
    COLOURS,
    FAINT,
    MARKERS,
    PAPER,
    SHIPPED,
    Picture,
    draw_picture,
)

LEAST = 10
"""Images that a bin needs to be drawn; the table has them all."""
_MEASURES = ("ece", "ece_scaled", "nll", "nll_scaled")
NAMES = {"ece": "ECE", "ece_scaled": "ECE, scaled", "nll": "NLL", "nll_scaled": "NLL, scaled"}


@dataclass(frozen=True)
class CalibrationView:
    """The section on calibration."""

    pictures: Sequence[Picture]
    columns: Sequence[str]
    measures: Sequence[tuple[str, Sequence[str]]]
    """Role, and a text a column."""
    temperature: str
    """What scaling divides the logits by; empty: no scaling was measured."""
    bins: Sequence[tuple[str, str, str, str, int]]
    """Role, range, mean confidence, accuracy with interval, images."""


def read_calibration(run: Run, name: str) -> CalibrationView | None:
    """None: there are no predictions; `name` makes the pictures' ids unique."""
    answers = run.predictions.items()
    curves = {role: reliability_bins(one.probabilities, one.labels) for role, one in answers}
    if not curves.get("shipped"):
        return None
    pictures = [
        reliability_diagram(f"{name}reliability", curves),
        confidence_bars(f"{name}confidence", curves["shipped"]),
    ]
    columns = [key for key in _MEASURES if any(run.measured(key, role) for role in ROLES)]
    return CalibrationView(
        pictures=pictures,
        columns=[NAMES[key] for key in columns],
        measures=_measures(run, columns),
        temperature=_temperature(run),
        bins=_table(curves),
    )


def _measures(run: Run, columns: Sequence[str]) -> list[tuple[str, list[str]]]:
    rows = []
    for role in ROLES:
        found = [run.measured(key, role) for key in columns]
        if any(found):
            rows.append((role, [value_text(one) for one in found]))
    return rows


def _temperature(run: Run) -> str:
    for name in ("ece_scaled", "nll_scaled"):
        one = run.measured(name)
        if one is not None and "temperature" in one.conditions:
            fitted = one.conditions.get("fitted_on", "validation")
            return f"{one.conditions['temperature']:.3g}, fitted on {fitted}"
    return ""


def _table(curves: Mapping[str, Sequence[Bin]]) -> list[tuple[str, str, str, str, int]]:
    return [
        (
            role,
            f"{percent(one.low)}–{percent(one.high)} %",
            f"{percent(one.confidence)} %",
            _accuracy(one),
            one.count,
        )
        for role, bins in curves.items()
        for one in bins
    ]


def _accuracy(one: Bin) -> str:
    return share_text(one.accuracy, *wilson(one.accuracy * one.count, one.count))


def reliability_diagram(name: str, curves: Mapping[str, Sequence[Bin]]) -> Picture:
    """Accuracy against confidence, one line a role; bins of fewer than `LEAST` images left out."""

    def plot(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1.0, linestyle=(0, (2, 2)))
        for role in reversed([role for role in ROLES if role in curves]):
            _reliability_line(axes, role, [one for one in curves[role] if one.count >= LEAST])
        axes.set(xlabel="Confidence, %", ylabel="Accuracy, %", xlim=(0, 1.02), ylim=(0, 1.04))
        percent_axis(axes.xaxis)
        percent_axis(axes.yaxis)
        legend(axes, "upper left", reverse=True)

    worst = "; ".join(f"{role}: {_worst_bin(bins)}" for role, bins in curves.items())
    alt = f"Accuracy against confidence; the diagonal is a perfect match. Widest gaps: {worst}"
    return draw_picture(name, alt, plot)


def _reliability_line(axes: Axes, role: str, bins: Sequence[Bin]) -> None:
    """A role's bins; the shipped file's with intervals."""
    confidence, accuracy = [one.confidence for one in bins], [one.accuracy for one in bins]
    if role == "shipped":
        ends = [wilson(one.accuracy * one.count, one.count) for one in bins]
        low = [max(one.accuracy - end[0], 0.0) for one, end in zip(bins, ends, strict=True)]
        high = [max(end[1] - one.accuracy, 0.0) for one, end in zip(bins, ends, strict=True)]
        axes.errorbar(
            confidence, accuracy, [low, high], fmt="none", ecolor=COLOURS[role], elinewidth=1.1
        )
    axes.plot(
        confidence,
        accuracy,
        color=COLOURS[role],
        marker=MARKERS[role],
        markersize=5.5,
        markeredgecolor=PAPER,
        markeredgewidth=0.8,
        linewidth=1.4,
        label=role,
    )


def _worst_bin(bins: Sequence[Bin]) -> str:
    big = [one for one in bins if one.count >= LEAST]
    if not big:
        return "too few images"
    worst = max(big, key=lambda one: abs(one.accuracy - one.confidence))
    return (
        f"{percent(worst.accuracy)} % right where {percent(worst.confidence)} % sure,"
        f" n={worst.count}"
    )


def confidence_bars(name: str, bins: Sequence[Bin]) -> Picture:
    """How many images fall into each bin of the shipped file's confidence."""

    def plot(axes: Axes) -> None:
        centres = [(one.low + one.high) / 2 for one in bins]
        widths = [0.86 * (one.high - one.low) for one in bins]
        axes.bar(centres, [one.count for one in bins], width=widths, color=SHIPPED)
        axes.set(xlabel="Confidence, %", ylabel="Images", xlim=(0, 1.02))
        axes.grid(axis="x", visible=False)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        percent_axis(axes.xaxis)

    total, surest = sum(one.count for one in bins), bins[-1]
    alt = (
        f"Images by the shipped file's confidence: {surest.count} of {total} above"
        f" {percent(surest.low)} %"
    )
    return draw_picture(name, alt, plot)
