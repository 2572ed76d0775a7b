"""ONNX files read, and the digest of all that they hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import onnx
from google.protobuf.message import Message
from onnx import TensorProto

from augcompress.errors import AugcompressError, first_line
from augcompress.inference import parse_labels
from augcompress.storage import digest_file
from augcompress.untrusted import require_regular


def read_graph(path: Path) -> onnx.ModelProto:
    """A graph from a file.

    Raises AugcompressError when it is not ONNX.
    """
    try:
        graph = onnx.load(require_regular(path))
        onnx.checker.check_model(graph)
    except Exception as error:  # whatever protobuf and the checker raise on bytes from anywhere
        raise AugcompressError(
            f"{path}: is no ONNX file that can be read ({first_line(error)[:80]}); export it again"
        ) from error
    return graph


def labels_of(graph: onnx.ModelProto, where: str) -> list[str] | None:
    """The names of the classes in a graph's metadata; None where it has none.

    Raises AugcompressError when they are no names.
    """
    told = next((one.value for one in graph.metadata_props if one.key == "labels"), None)
    return parse_labels(told, where)


def content_digest(path: Path) -> str:
    """SHA-256 of a graph and of the files beside and below it that hold its weights.

    Raises AugcompressError when one of them cannot be read.
    """
    digest = digest_file(path)
    try:
        bare = onnx.load(path, load_external_data=False)
    except Exception:
        return digest  # whoever opens it says what is wrong
    return digest + "".join(digest_file(path.parent / name) for name in weight_files(bare))


def weight_files(graph: onnx.ModelProto) -> list[str]:
    """Files outside of the graph that it takes tensors from, relative to its folder.

    Paths that lead elsewhere are left out: `read_graph` refuses them.
    """
    outside = {
        entry.value
        for one in stored_tensors(graph)
        if one.data_location == TensorProto.EXTERNAL
        for entry in one.external_data
        if entry.key == "location"
    }
    return sorted(n for n in outside if n and not {"/", ".."} & {*PurePosixPath(n).parts})


def stored_tensors(message: Message) -> Iterator[TensorProto]:
    """Every tensor in a graph: weights, those inside nodes, in their branches, in functions."""
    if isinstance(message, TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                yield from stored_tensors(part)
