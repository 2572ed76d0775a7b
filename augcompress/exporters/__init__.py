"""Exporters: files for runtimes, each reopened and compared with its network."""

from augcompress.exporters.foreign import adopt, is_foreign
from augcompress.exporters.graph_edits import is_quantized, with_options
from augcompress.exporters.onnx_exporter import OnnxExporter, dress, metadata_of, to_graph
from augcompress.exporters.parity import Reference, as_reference, check_float, check_quantized
from augcompress.exporters.predict_script import predict_script
from augcompress.exporters.reading import content_digest, read_graph
from augcompress.exporters.sessions import fixed_batch, open_session, run, save, save_ort

Exporter = OnnxExporter  # a union discriminated by `kind` as soon as there are two

__all__ = [
    "Exporter",
    "OnnxExporter",
    "Reference",
    "adopt",
    "as_reference",
    "check_float",
    "check_quantized",
    "content_digest",
    "dress",
    "fixed_batch",
    "is_foreign",
    "is_quantized",
    "metadata_of",
    "open_session",
    "predict_script",
    "read_graph",
    "run",
    "save",
    "save_ort",
    "to_graph",
    "with_options",
]
