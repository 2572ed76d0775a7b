"""Any network on disk, opened for the data at hand: our checkpoints, and weights from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from augcompress.component import Component
from augcompress.errors import AugcompressError
from augcompress.models import (
    Head,
    build_classifier,
    cut_head,
    find_head,
    head_classes,
    load_weights,
    read_weights,
    receiver,
)
from augcompress.modules import in_evaluation
from augcompress.networks.checkpoint import (
    DESCRIPTION,
    Network,
    classes_beside,
    is_own,
    load_network,
    rebuilt,
)
from augcompress.networks.class_subset import cut_history, listed, rows_of
from augcompress.networks.preparation import constants_of, normalized_by, preparation_note
from augcompress.running import Context

CLOSE = 1e-4
"""Largest difference of a cut network's logits, relative to the largest: sums of fewer numbers."""


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
    told, own = model.trained_with(weights), False
    module = build_classifier(model, facts, *constants_of(context, told))
    if weights is not None:
        state = read_weights(weights)
        target = receiver(module, state)
        own, logits = target is module, find_head(target, facts.example())
        state = state_for(context, state, logits, Path(weights), where, head)
        replaceable = logits if head == "replace" else None
        if load_weights(module, state, where=f"{where}.weights", head=replaceable):
            context.reporter.message(
                f"{where}: the head has another class count than the weights and starts fresh"
            )
    if weights is not None or told is not None:
        used = normalized_by(module)
        note = preparation_note(context, used, told, weights, own=own)
        context.reporter.message(f"{where}: {note}")
    return Network(module, model, facts, tuple(data.classes), data.resizing)


def state_for(
    context: Context, state: dict[str, Tensor], own: Head, path: Path, where: str, head: str
) -> dict[str, Tensor]:
    """Weights from a file for a new network, whose head is `own`, cut as `new_network` says."""
    data, has = context.data, head_classes(own, state)
    known = classes_beside(path)
    if known is not None and head == "strict":
        check_classes(context, known, path, f"{where}.weights")
    if known is None and head == "strict" and has == len(data.all_classes):
        known = tuple(data.all_classes)
    rows = rows_of(known, data.classes)
    if known is None or rows is None or has != len(known):
        return state
    say_cut(context, len(known), path, where)
    return cut_head(own, state, rows)


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
    rows = [network.classes.index(name) for name in classes]
    example, count = network.facts.example(), len(rows)
    head = find_head(network.module, example)
    steps = tuple(
        replace(one, history=cut_history(one.settings.kind, one.history, head.layers, count, where))
        for one in network.compressions
    )
    facts = replace(network.facts, classes=count)
    state = cut_head(head, network.module.state_dict(), rows)
    only = (
        f"{where}: cannot be cut from {len(network.classes)} classes to {count}, as not only its"
        f" last layer {', '.join(head.layers)} depends on their number; train it on these classes"
        " first"
    )
    try:
        module = rebuilt(network.model, facts, steps, state, where)
    except AugcompressError as error:
        raise AugcompressError(only) from error
    if not _same_columns(network.module, module, rows, example):
        raise AugcompressError(only)
    return replace(network, module=module, facts=facts, classes=tuple(classes), compressions=steps)


@torch.no_grad()
def _same_columns(whole: nn.Module, few: nn.Module, rows: Sequence[int], example: Tensor) -> bool:
    """Does a network that was cut answer as the whole one does for its classes?"""
    with in_evaluation(whole):
        want, got = whole(example)[:, rows], few(example)
    return bool((got - want).abs().max() <= CLOSE * max(1.0, float(want.abs().max())))


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
