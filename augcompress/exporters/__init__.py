"""Exporters: files for runtimes, each reopened and compared with its network."""

from augcompress.exporters.onnx_exporter import (
    OnnxExporter,
    check_float,
    check_quantized,
    dress,
    metadata_of,
    open_session,
    run,
    save,
    to_graph,
)

Exporter = OnnxExporter  # a union discriminated by `kind` as soon as there are two

__all__ = [
    "Exporter",
    "OnnxExporter",
    "check_float",
    "check_quantized",
    "dress",
    "metadata_of",
    "open_session",
    "run",
    "save",
    "to_graph",
]
