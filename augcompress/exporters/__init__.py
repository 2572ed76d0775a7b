"""Exporters: files for runtimes, each reopened and compared with its network."""

from typing import Annotated

from pydantic import Field

from augcompress.component import Plugin
from augcompress.exporters.base import Exporter, LoadedModel, softmax
from augcompress.exporters.foreign import adopt, is_foreign
from augcompress.exporters.graph_edits import is_quantized, optimizer_operators, shape_of
from augcompress.exporters.onnx_exporter import OnnxExporter, metadata_of, to_graph, with_options
from augcompress.exporters.parity import (
    Reference,
    check_float,
    check_quantized,
    graph_reference,
    network_reference,
)
from augcompress.exporters.predict_script import predict_script
from augcompress.exporters.reading import content_digest, labels_of, read_graph
from augcompress.exporters.sessions import RUNTIME_ERRORS, load_onnx, open_session, save, save_ort

Target = Annotated[OnnxExporter | Plugin, Field(discriminator="kind")]


def resolve_target(target: Exporter | Plugin) -> Exporter:
    """The exporter itself; a plug-in's class is loaded and must be an `Exporter`."""
    return target.component(Exporter) if isinstance(target, Plugin) else target
