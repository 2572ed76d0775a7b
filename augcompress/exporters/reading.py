"""ONNX files read, and the digest of all that they hold."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from augcompress.errors import AugcompressError
from augcompress.storage import digest_file


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


def content_digest(path: Path) -> str:
    """SHA-256 of a graph and of the files beside it that hold its weights.

    Raises AugcompressError when one of them cannot be read.
    """
    digest = digest_file(path)
    try:
        bare = onnx.load(path, load_external_data=False)
    except (OSError, ValueError, DecodeError):
        return digest  # whoever opens it says what is wrong
    outside = {
        entry.value
        for one in bare.graph.initializer
        for entry in one.external_data
        if entry.key == "location"
    }
    return digest + "".join(digest_file(path.with_name(name)) for name in sorted(outside))
