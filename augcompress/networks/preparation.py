"""How images are prepared for a new network: as for its weights, or otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from augcompress.models import Classifier, Constants, TrainedWith
from augcompress.running import Context


def constants_of(context: Context, told: TrainedWith | None) -> Constants:
    """Mean and standard deviation in a new network: those that its weights were trained with,
    unless the recipe gives other ones; else the data's.  Grey images take the average colour's."""
    data = context.data
    if told is None or is_given(context):
        return data.mean, data.std
    if len(told.constants[0]) == data.channels:
        return told.constants
    mean, std = ([sum(each) / len(each)] * data.channels for each in told.constants)
    return mean, std


def normalized_by(network: Classifier) -> Constants:
    """Mean and standard deviation of a network's first layer."""
    layer: Any = network.normalize
    return layer.mean.flatten().tolist(), layer.std.flatten().tolist()


def is_given(context: Context) -> bool:
    """Does the recipe say how images are normalised?"""
    return getattr(context.spec.data, "normalization", "standardize") != "standardize"


def preparation_note(
    context: Context, used: Constants, told: TrainedWith | None, weights: str | None, *, own: bool
) -> str:
    """What a network that starts from weights is given, and why; `own`: one of our checkpoints
    brought its normalisation."""
    name = "its weights" if weights is None else Path(weights).name
    note = f"images are normalised by mean {_listed(used[0])} and std {_listed(used[1])}, "
    if own:
        return f"{note}which come with {name}"
    if is_given(context):
        note += "as data.normalization says"
    elif told is None:
        note += f"fitted to the data, as nothing says what {name} was trained with; give"
        note += " data.normalization {mean, std} where it was other"
    elif weights is None:
        note += "as its weights were trained"
    else:
        note += "as the published weights of this design were trained; give data.normalization"
        note += f" {{mean, std}} where {name} was trained otherwise"
    return note + _geometry(context, told)


def _geometry(context: Context, told: TrainedWith | None) -> str:
    """Which images the weights were trained on, where these are prepared otherwise."""
    data = context.data
    if told is None or told.size is None:
        return ""
    resizing: Any = data.resizing
    cropped_from = resizing["resize"] if resizing["crop"] else None
    here = _in_words(data.size, cropped_from, resizing["interpolation"])
    theirs = _in_words(told.size, told.resize, told.interpolation)
    return f"; images are {here}" + (f", theirs were {theirs}" if theirs != here else "")


def _in_words(size: Sequence[int], cropped_from: int | None, interpolation: str) -> str:
    """`224 x 224 px cropped from 256, bicubic`."""
    cropped = "stretched" if cropped_from is None else f"cropped from {cropped_from}"
    return f"{size[0]} x {size[1]} px {cropped}, {interpolation}"


def _listed(values: Sequence[float]) -> str:
    return f"({', '.join(f'{value:.3g}' for value in values)})"
