"""ONNX files of any origin: read, made to take images as ours do, checked against the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from augcompress.compressions import stored_weights
from augcompress.errors import AugcompressError
from augcompress.graphs import (
    adopt,
    is_foreign,
    labels_of,
    read_graph,
    shape_of,
    without_preparation,
)
from augcompress.inference import open_session
from augcompress.running import Context

TRIED = 32
"""Real images on which an adopted graph is compared with what it was."""


def open_graph(context: Context, path: Path, *, resizes: bool = False) -> onnx.ModelProto:
    """A graph that takes the data's images in [0,1] and gives a score for each class; one from
    elsewhere is adapted as the recipe's `foreign` says, and one of ours that takes whole images
    takes prepared ones here.  `resizes`: the caller resizes images, so
    that it may take another height and width.

    Raises AugcompressError when it is not ONNX, cannot be adapted or does not fit the data.
    """
    graph = without_preparation(read_graph(path))
    if is_foreign(graph):
        how = context.spec.foreign
        graph = adopt(
            graph,
            mean=how.mean,
            std=how.std,
            scale=how.scale,
            layout=how.layout,
            size=context.data.size,
            where=path.name,
            images=real_images(context, path.name, graph),
        )
    check_graph_fits(context, graph, path.name, resizes)
    return graph


def real_images(context: Context, name: str, graph: onnx.ModelProto) -> np.ndarray | None:
    """Validation images to try a foreign graph with; None where it takes other ones, which
    `check_graph_fits` says."""
    batches = context.evaluation_batches("validation", TRIED)
    images = np.concatenate([batch.images().numpy() for batch in batches])
    fixed = {dim for dim in shape_of(graph.graph.input[0])[1:] if isinstance(dim, int)}
    return images if fixed <= set(images.shape[1:]) else None


def check_graph_fits(
    context: Context, graph: onnx.ModelProto, name: str, resizes: bool = False
) -> None:
    """Raises AugcompressError when a graph takes other images or tells other classes apart."""
    session = open_session(graph.SerializeToString())
    takes, gives = session.get_inputs()[0].shape, session.get_outputs()[0].shape
    data = context.data
    size = takes[2:] if resizes else data.size
    has_all = (*takes[1:], *gives[1:])
    pairs = zip(has_all, (data.channels, *size, len(data.classes)), strict=False)
    fits = len(takes) == 4 and len(gives) == 2
    if not fits or any(isinstance(has, int) and has != wants for has, wants in pairs):
        raise AugcompressError(
            f"{name}: takes {list(takes)} and gives {list(gives)}, the data has images"
            f" {[data.channels, *data.size]} of {len(data.classes)} classes; give another file"
        )
    labels = labels_of(graph, name)
    if labels is not None and labels != list(data.classes):
        theirs, ours = ", ".join(labels[:4]), ", ".join(data.classes[:4])
        raise AugcompressError(
            f"{name}: knows the classes {theirs} … and the data has {ours} …; give the data that it"
            " was made with, or another file"
        )


def stored_types(graph: onnx.ModelProto) -> dict[str, str]:
    """The number type in which the file stores each layer's weights, by layer."""
    name = onnx.TensorProto.DataType.Name
    kinds = {layer: name(w.data_type).lower() for layer, w in stored_weights(graph).items()}
    return {layer: {"float": "float32"}.get(kind, kind) for layer, kind in kinds.items()}
