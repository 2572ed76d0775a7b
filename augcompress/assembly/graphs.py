"""ONNX files of any origin: read, made to take images as ours do, checked against the data."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from augcompress.assembly.context import Context
from augcompress.errors import AugcompressError
from augcompress.exporters import adopt, is_foreign, open_session


def read_graph(path: Path) -> onnx.ModelProto:
    """A graph from a file.

    Raises AugcompressError when it is not ONNX.
    """
    try:
        graph = onnx.load(path)
        onnx.checker.check_model(graph)
    except (
        OSError,
        ValueError,
        DecodeError,
        onnx.checker.ValidationError,
        onnx.onnx_cpp2py_export.checker.ValidationError,
    ) as error:
        raise AugcompressError(f"{path}: is no ONNX file that can be read: {error}") from error
    return graph


def open_graph(context: Context, path: Path) -> onnx.ModelProto:
    """A graph that takes the data's images in [0,1] and gives a score for each class; one from
    elsewhere is adapted as the recipe's `foreign` says.

    Raises AugcompressError when it is not ONNX, cannot be adapted or does not fit the data.
    """
    graph = read_graph(path)
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
        )
    check_graph_fits(context, graph, path.name)
    return graph


def check_graph_fits(context: Context, graph: onnx.ModelProto, name: str) -> None:
    """Raises AugcompressError when a graph takes other images or tells other classes apart."""
    session = open_session(graph.SerializeToString())
    takes, gives = session.get_inputs()[0].shape, session.get_outputs()[0].shape
    data = context.data
    has_all = (*takes[1:], *gives[1:])
    pairs = zip(has_all, (data.channels, *data.size, len(data.classes)), strict=False)
    fits = len(takes) == 4 and len(gives) == 2
    if not fits or any(isinstance(has, int) and has != wants for has, wants in pairs):
        raise AugcompressError(
            f"{name}: takes {list(takes)} and gives {list(gives)}, the data has images"
            f" {[data.channels, *data.size]} of {len(data.classes)} classes; give another file"
        )


def same_but_for_metadata(left: onnx.ModelProto, right: onnx.ModelProto) -> bool:
    """Are two graphs the same but for their metadata?"""
    bare = []
    for graph in (left, right):
        copy = onnx.ModelProto()
        copy.CopyFrom(graph)
        del copy.metadata_props[:]
        copy.producer_version = ""
        bare.append(copy.SerializeToString(deterministic=True))
    return bare[0] == bare[1]


def stored_types(graph: onnx.ModelProto) -> dict[str, str]:
    """The number type in which the file stores each layer's weights, by node name."""
    arrays = {one.name: one.data_type for one in graph.graph.initializer}
    made = {output: node for node in graph.graph.node for output in node.output}
    found = {}
    for node in graph.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul") or len(node.input) < 2:
            continue
        source = node.input[1]
        while source not in arrays and source in made and made[source].input:
            source = made[source].input[0]
        if source in arrays:
            name = onnx.TensorProto.DataType.Name(arrays[source]).lower()
            found[node.name] = {"float": "float32"}.get(name, name)
    return found
