"""Exporters: files for runtimes, each reopened and compared with its network."""

from typing import Annotated

from pydantic import Field

from augcompress.component import Plugin
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

Exporter = Annotated[OnnxExporter | Plugin, Field(discriminator="kind")]

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
