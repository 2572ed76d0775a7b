"""ONNX graphs: made of networks, adopted from elsewhere, read, edited, profiled, written."""

from augcompress.graphs.edits import is_quantized, opset_of, optimizer_operators, shape_of
from augcompress.graphs.foreign import adopt, is_foreign
from augcompress.graphs.kernels import integer_macs, integer_time, kernels
from augcompress.graphs.options import with_options
from augcompress.graphs.reading import content_digest, labels_of, read_graph
from augcompress.graphs.tracing import to_graph
from augcompress.graphs.whole_images import (
    takes_whole_images,
    with_preparation,
    without_preparation,
)
from augcompress.graphs.writing import dress, metadata_of, save, save_verified
