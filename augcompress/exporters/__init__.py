"""Exporters: files for runtimes, each reopened and compared with its network."""

from typing import Annotated

from pydantic import Field

from augcompress.component import Plugin
from augcompress.exporters.base import Exporter
from augcompress.exporters.onnx_exporter import OnnxExporter
from augcompress.exporters.parity import (
    Reference,
    check_float,
    check_quantized,
    graph_reference,
    network_reference,
)
from augcompress.exporters.predict_script import predict_script
from augcompress.inference import LoadedModel

Target = Annotated[OnnxExporter | Plugin, Field(discriminator="kind")]


def resolve_target(target: Exporter | Plugin) -> Exporter:
    """The exporter itself; a plug-in's class is loaded and must be an `Exporter`."""
    return target.component(Exporter) if isinstance(target, Plugin) else target
