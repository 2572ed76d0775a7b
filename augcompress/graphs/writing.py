"""ONNX files written, with what they tell of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from onnx import ModelProto

from augcompress.errors import LimitError
from augcompress.graphs.reading import read_graph


def save(graph: ModelProto, path: str | Path) -> None:
    """Write a graph; equal graphs are equal bytes."""
    Path(path).write_bytes(graph.SerializeToString(deterministic=True))


def save_verified(graph: ModelProto, file: Path) -> None:
    """Write a graph and read it again.

    Raises LimitError when the file holds another one.
    """
    save(graph, file)
    if read_graph(file) != graph:
        raise LimitError(f"{file.name}: holds another graph than was written; export it again")


def dress(graph: ModelProto, metadata: Mapping[str, str]) -> ModelProto:
    """A copy with metadata (labels as JSON, resizing, recipe hash, accuracy) in place of its own.

    The key `producer_version` becomes the model's producer version as well.
    """
    dressed = ModelProto()
    dressed.CopyFrom(graph)
    dressed.producer_name = "augcompress"
    dressed.producer_version = metadata.get("producer_version", "")
    del dressed.metadata_props[:]
    for key in sorted(metadata):
        dressed.metadata_props.add(key=key, value=metadata[key])
    return dressed


def metadata_of(graph: ModelProto) -> dict[str, str]:
    """What `dress` wrote."""
    return {one.key: one.value for one in graph.metadata_props}
