"""Training curves by epoch: accuracy on validation, losses, learning rate, throughput."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from augcompress.evidence import percent, three_digits
from augcompress.report.axes import epoch_axis, legend, log_axis, percent_axis
from augcompress.report.content import Part
from augcompress.report.pictures import SHIPPED, TEACHER, Picture, draw_picture

_DASHES = ("solid", (0, (4, 1.6)), (0, (1, 1.4)), (0, (5, 1.5, 1, 1.5)))


def accuracy_curves(name: str, parts: Sequence[Part]) -> Picture:
    """Validation top-1 by epoch with its interval, one line a stage; and of averaged weights."""

    def plot(axes: Axes) -> None:
        for part in parts:
            epochs, scores = _series(part, "validation_top1")
            if not epochs:
                continue
            low, high = (_series(part, f"validation_{end}")[1] for end in ("low", "high"))
            if len(low) == len(high) == len(epochs):
                axes.fill_between(
                    epochs, low, high, color=_stage_colour(part.name), alpha=0.15, linewidth=0
                )
            _line(axes, part, epochs, scores, part.name)
            epochs, scores = _series(part, "validation_top1_ema")
            if epochs:
                _line(axes, part, epochs, scores, f"{part.name}, averaged weights", dash=2)
        axes.set(xlabel="Epoch", ylabel="Validation top-1, %")
        floor = _floor([score for line in _scores(parts).values() for score in line])
        axes.set_ylim(floor, min(axes.get_ylim()[1], 1.0))
        epoch_axis(axes.xaxis)
        percent_axis(axes.yaxis)
        legend(axes, "lower right")

    told = "; ".join(
        f"{part} from {percent(line[0])} % to {percent(line[-1])} % in {len(line)} epochs"
        for part, line in _scores(parts).items()
    )
    return draw_picture(name, f"Validation top-1 by epoch: {told}", plot)


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
            log_axis(axes.yaxis, three_digits)
        legend(axes, "upper right")

    told = "; ".join(
        f"{key} from {values[0]:.3g} to {values[-1]:.3g}"
        for key, values in losses.items()
        if values[0] is not None and values[-1] is not None
    )
    return draw_picture(name, f"Losses of {part.name} by epoch: {told}", plot)


def rate_curves(name: str, parts: Sequence[Part]) -> Picture:
    """The learning rate at the end of each epoch, one line a stage."""
    return _by_epoch(name, parts, "lr", "Learning rate", "Learning rate")


def speed_curves(name: str, parts: Sequence[Part]) -> Picture:
    """Training images a second, one line a stage."""
    return _by_epoch(name, parts, "images_per_s", "Images per second", "Throughput of training")


def _by_epoch(name: str, parts: Sequence[Part], key: str, label: str, title: str) -> Picture:
    found = {part.name: (part, *_series(part, key)) for part in parts}
    found = {stage: series for stage, series in found.items() if series[1]}

    def plot(axes: Axes) -> None:
        for stage, (part, epochs, values) in found.items():
            _line(axes, part, epochs, values, stage)
        axes.set(xlabel="Epoch", ylabel=label)
        epoch_axis(axes.xaxis)
        axes.set_ylim(bottom=0)
        legend(axes, "best")

    told = "; ".join(
        f"{stage} from {three_digits(min(values))} to {three_digits(max(values))}"
        for stage, (_, _, values) in found.items()
    )
    return draw_picture(name, f"{title} by epoch: {told}", plot)


def has(parts: Sequence[Part], key: str) -> bool:
    """Is there anything of this name in the logs?"""
    return any(_series(part, key)[0] for part in parts)


def _line(
    axes: Axes,
    part: Part,
    epochs: Sequence[int],
    values: Sequence[float],
    label: str,
    dash: int | None = None,
) -> None:
    axes.plot(
        epochs,
        values,
        color=_stage_colour(part.name),
        linestyle=_DASHES[_stage_dash(part.name) if dash is None else dash],
        marker="o" if len(values) == 1 else None,
        label=label,
    )


def _series(part: Part, key: str) -> tuple[list[int], list[float]]:
    """Epochs, from 1, and values of one field of the log, where it is there."""
    found = [(place, line.get(key)) for place, line in enumerate(part.epochs, start=1)]
    there = [(place, value) for place, value in found if value is not None]
    return [place for place, _ in there], [value for _, value in there]


def _scores(parts: Sequence[Part]) -> dict[str, list[float]]:
    """Validation top-1 by epoch, for the stages that have it."""
    found = {part.name: _series(part, "validation_top1")[1] for part in parts}
    return {name: scores for name, scores in found.items() if scores}


def _floor(scores: Sequence[float]) -> float:
    """Where the axis begins: the first epochs of a training may lie below."""
    low, high = float(np.quantile(scores, 0.12)), max(scores)
    return max(0.0, low - 0.15 * max(high - low, 0.01))


def _losses(part: Part) -> list[str]:
    return list(dict.fromkeys(key for line in part.epochs for key in line["losses"]))


def _stage_dash(stage: str) -> int:
    return {"prune": 1, "pretrain": 3}.get(stage, 0)


def _stage_colour(stage: str) -> str:
    return TEACHER if stage == "train_teacher" else SHIPPED
