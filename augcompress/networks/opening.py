"""Any network on disk, opened for the data at hand: our checkpoints, and weights from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from augcompress.component import Component
from augcompress.datasets import GivenNormalization
from augcompress.errors import AugcompressError
from augcompress.models import (
    Constants,
    build_classifier,
    cut_head,
    head_classes,
    head_name,
    load_weights,
    read_weights,
)
from augcompress.networks.checkpoint import (
    DESCRIPTION,
    Network,
    classes_beside,
    is_own,
    load_network,
    rebuilt,
)
from augcompress.networks.class_subset import cut_history, listed, rows_of
from augcompress.running import Context


def new_network(
    context: Context,
    model: Any,
    weights: str | None,
    where: str,
    head: Literal["strict", "replace"] = "replace",
) -> Network:
    """A fresh network for the data at hand, from `weights` where given.

    Of a head for more classes, the rows of the data's are taken where the weights' classes are
    known: by name beside our checkpoints; else, with `head="strict"`, by their number, where it is
    that of the data before `data.classes` chose some.  Raises AugcompressError when the weights do
    not fit.
    """
    context.seed_everything(where)
    data = context.data
    facts = context.model_facts
    module = build_classifier(model, facts, *constants_of(context, model))
    if weights is not None:
        state = state_for(context, module, Path(weights), where, head)
        if load_weights(module, state, where=f"{where}.weights", head=head):
            context.reporter.message(
                f"{where}: the head has another class count than the weights and starts fresh"
            )
    return Network(module, model, facts, tuple(data.classes), data.resizing)


def constants_of(context: Context, model: Any) -> Constants:
    """Mean and standard deviation in a new network: those that its pretrained weights were trained
    with, unless the recipe gives some; else the data's.  Grey images take the average colour's."""
    data, own = context.data, model.normalization()
    given = getattr(context.spec.data, "normalization", None)
    if own is None or isinstance(given, GivenNormalization):
        return data.mean, data.std
    if len(own[0]) == data.channels:
        return own
    mean, std = ([sum(each) / len(each)] * data.channels for each in own)
    return mean, std


def state_for(
    context: Context, module: nn.Module, path: Path, where: str, head: str
) -> dict[str, Tensor]:
    """Weights from a file for a new network, their head cut as `new_network` says."""
    state, data = read_weights(path), context.data
    known = classes_beside(path)
    if known is not None and head == "strict":
        check_classes(context, known, path, f"{where}.weights")
    if known is None and head == "strict" and head_classes(module, state) == len(data.all_classes):
        known = tuple(data.all_classes)
    rows = rows_of(known, data.classes)
    if known is None or rows is None or head_classes(module, state) != len(known):
        return state
    say_cut(context, len(known), path, where)
    return cut_head(module, state, rows)


def say_cut(context: Context, known: int, path: Path, where: str) -> None:
    """Tell that a head was cut."""
    classes = context.data.classes
    context.reporter.message(
        f"{where}: {path.name} knows {known} classes; its head is cut to {listed(classes)}"
    )


def narrowed(network: Network, classes: Sequence[str], where: str) -> Network:
    """The network for some of its classes, in this order: their rows are its head, and all else is
    as it was.

    Raises AugcompressError when more than the last layer depends on the number of classes, or when
    a compression has changed that layer.
    """
    rows, head = [network.classes.index(name) for name in classes], head_name(network.module)
    steps = tuple(
        replace(one, history=cut_history(one.settings.kind, one.history, head, len(rows), where))
        for one in network.compressions
    )
    facts = replace(network.facts, classes=len(rows))
    state = cut_head(network.module, network.module.state_dict(), rows)
    try:
        module = rebuilt(network.model, facts, steps, state, where)
    except AugcompressError as error:
        raise AugcompressError(
            f"{where}: cannot be cut from {len(network.classes)} classes to {len(rows)}, as not"
            f" only its last layer {head} depends on their number; train it on these classes first"
        ) from error
    return replace(network, module=module, facts=facts, classes=tuple(classes), compressions=steps)


def open_network(
    context: Context,
    path: Path,
    model: Component | None,
    where: str,
    head: Literal["strict", "replace"] = "strict",
) -> Network:
    """A network from one of our checkpoints, or from foreign weights for `model`, whose head may
    have other classes only where it is trained next (`head="replace"`).  One that knows more
    classes than the data is cut to these.

    Raises AugcompressError when the file is a graph, or foreign without a model to put it into.
    """
    if path.suffix == ".onnx":
        raise AugcompressError(
            f"{where}: {path.name} is a graph, and networks start from weights; give"
            " model.safetensors"
        )
    if is_own(path):
        network = load_network(path)
        if rows_of(network.classes, context.data.classes) is not None:
            say_cut(context, len(network.classes), path, where)
            network = narrowed(network, context.data.classes, where)
    elif model is not None:
        network = new_network(context, model, str(path), where, head)
    else:
        raise AugcompressError(
            f"{where}: {path} has no {DESCRIPTION} beside it and the recipe"
            " names no model for it; add one"
        )
    check_fits(context, network, path, where)
    network.module.to(context.device).eval()
    return network


def check_fits(context: Context, network: Network, path: Path, where: str) -> None:
    """Raises AugcompressError when a network was made for other images or classes."""
    data = context.data
    if network.facts.input.channels != data.channels:
        raise AugcompressError(
            f"{where}: {path.name} takes {network.facts.input.channels} channels and the data has"
            f" {data.channels}; give one that was trained on such images"
        )
    check_classes(context, network.classes, path, where)


def check_classes(context: Context, known: Sequence[str], path: Path, where: str) -> None:
    """Raises AugcompressError when the data has classes that are not known."""
    data = context.data
    if not set(data.classes) <= set(known):
        theirs, ours = ", ".join(known[:4]), ", ".join(data.classes[:4])
        raise AugcompressError(
            f"{where}: {path.name} knows {len(known)} classes ({theirs} …) and the data has"
            f" {len(data.classes)} ({ours} …); train it on this data first, or choose classes"
            " that it knows with data.classes"
        )
