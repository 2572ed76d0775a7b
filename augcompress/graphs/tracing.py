"""A network as an ONNX graph, by torch's exporter: stripped, named after its layers."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator

import onnx
import torch
from onnx import ModelProto
from torch import Tensor, nn

from augcompress.errors import AugcompressError, first_line
from augcompress.graphs.edits import INPUT, shape_of
from augcompress.graphs.names import name_points, rename, strip
from augcompress.graphs.options import FileOptions

_NOISY = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export", "torch.fx")


class _Shipped(nn.Module):
    """The network with the file's input and output types."""

    def __init__(self, network: nn.Module, settings: FileOptions) -> None:
        super().__init__()
        self.network = network
        self.from_bytes = settings.input == "uint8"
        self.to_probabilities = settings.output == "probabilities"

    def forward(self, images: Tensor) -> Tensor:
        if self.from_bytes:
            images = images.to(torch.float32) / 255
        outputs = self.network(images)
        return outputs.softmax(dim=1) if self.to_probabilities else outputs


def to_graph(network: nn.Module, example: Tensor, settings: FileOptions) -> ModelProto:
    """The network in evaluation mode as an ONNX graph, with nodes named after their layers.

    `example` is `(2,C,H,W)` in [0,1]: a trace of one image may fix the batch size to one.
    Raises AugcompressError when the exporter cannot convert an operator, or changes the opset.
    """
    shipped = _Shipped(copy.deepcopy(network).cpu(), settings).eval()
    images = example.detach().cpu()
    if settings.batch is not None:
        images = images[torch.arange(settings.batch) % len(images)]
    if settings.input == "uint8":
        images = (images * 255).round().to(torch.uint8)
    graph = _export(shipped, images, settings)
    opset = {one.domain: one.version for one in graph.opset_import}.get("")
    if opset != settings.opset:
        raise AugcompressError(
            f"export: asked for opset {settings.opset}, the exporter wrote {opset}; set that one"
        )
    if settings.batch is None and isinstance(shape_of(graph.graph.input[0])[0], int):
        raise AugcompressError(
            "export: the network's code fixes the number of images in a call, as len(x) does; write"
            " x.shape[0], x.flatten(1) or the like, or set batch"
        )
    strip(graph)
    name_points(graph)
    rename(graph)
    graph.producer_name, graph.producer_version = "augcompress", ""
    onnx.checker.check_model(graph)
    return graph


def _export(network: nn.Module, images: Tensor, settings: FileOptions) -> ModelProto:
    shapes = ({0: torch.export.Dim("batch")},) if settings.batch is None else None
    with _quietly():
        try:
            program = torch.onnx.export(
                network,
                (images,),
                dynamo=True,
                external_data=False,
                opset_version=settings.opset,
                input_names=[INPUT],
                output_names=[settings.output],
                dynamic_shapes=shapes,
                verbose=False,
            )
        except Exception as error:  # the network's code, traced, and the exporter's own
            cause = error.__cause__ or error
            raise AugcompressError(
                "export: the network cannot be converted to ONNX by torch's exporter:"
                f" {type(cause).__name__}: {first_line(cause)}; write what it names in other"
                " tensor operations, or try another opset"
            ) from error
    assert program is not None
    return program.model_proto


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's progress lines, warnings and logs."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
