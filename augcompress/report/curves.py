"""Training curves: accuracy on validation and losses by epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from augcompress.figures import percent
from augcompress.report.axes import epoch_axis, legend, log_axis, percent_axis, short
from augcompress.report.content import Part
from augcompress.report.pictures import SHIPPED, TEACHER, Picture, draw

_DASHES = ("solid", (0, (4, 1.6)), (0, (1, 1.4)), (0, (5, 1.5, 1, 1.5)))


def accuracy_curves(name: str, parts: Sequence[Part]) -> Picture:
    """Validation top-1 by epoch, one line a stage."""

    def plot(axes: Axes) -> None:
        for part, scores in _scores(parts).items():
            axes.plot(
                range(1, len(scores) + 1),
                scores,
                color=_stage_colour(part),
                linestyle=_DASHES[part == "prune"],
                marker="o" if len(scores) == 1 else None,
                label=part,
            )
        axes.set(xlabel="Epoch", ylabel="Validation top-1, %")
        axes.set_ylim(bottom=_floor([score for line in _scores(parts).values() for score in line]))
        epoch_axis(axes.xaxis)
        percent_axis(axes.yaxis)
        legend(axes, "lower right")

    told = "; ".join(
        f"{part} from {percent(line[0])} % to {percent(line[-1])} % in {len(line)} epochs"
        for part, line in _scores(parts).items()
    )
    return draw(name, f"Validation top-1 by epoch: {told}", plot)


def loss_curves(name: str, part: Part) -> Picture:
    """The losses of one stage by epoch, on a logarithmic scale where all are positive."""
    losses = {key: [line["losses"].get(key) for line in part.epochs] for key in _losses(part)}

    def plot(axes: Axes) -> None:
        for number, (key, values) in enumerate(losses.items()):
            axes.plot(
                range(1, len(values) + 1),
                [np.nan if value is None else value for value in values],
                color=_stage_colour(part.name),
                linestyle=_DASHES[number % len(_DASHES)],
                marker="o" if len(values) == 1 else None,
                label=key,
            )
        axes.set(xlabel="Epoch", ylabel="Loss")
        epoch_axis(axes.xaxis)
        if all(value is None or value > 0 for values in losses.values() for value in values):
            axes.set_yscale("log")
            log_axis(axes.yaxis, short)
        legend(axes, "upper right")

    told = "; ".join(
        f"{key} from {values[0]:.3g} to {values[-1]:.3g}"
        for key, values in losses.items()
        if values[0] is not None and values[-1] is not None
    )
    return draw(name, f"Losses of {part.name} by epoch: {told}", plot)


def _scores(parts: Sequence[Part]) -> dict[str, list[float]]:
    """Validation top-1 by epoch, for the stages that have it."""
    found = {
        part.name: [
            line["validation_top1"]
            for line in part.epochs
            if line.get("validation_top1") is not None
        ]
        for part in parts
    }
    return {name: scores for name, scores in found.items() if scores}


def _floor(scores: Sequence[float]) -> float:
    """Where the axis begins: the first epochs of a training may lie below."""
    low, high = float(np.quantile(scores, 0.12)), max(scores)
    return max(0.0, low - 0.15 * max(high - low, 0.01))


def _losses(part: Part) -> list[str]:
    return list(dict.fromkeys(key for line in part.epochs for key in line["losses"]))


def _stage_colour(stage: str) -> str:
    return TEACHER if stage == "train_teacher" else SHIPPED
