"""ONNX: a network as a graph, stripped, named after its layers, with metadata."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import onnx
import torch
from onnx import ModelProto, NodeProto, TensorProto
from pydantic import Field
from torch import Tensor, nn

from augcompress.errors import AugcompressError, LimitError, first_line
from augcompress.exporters.base import Exporter, ImageNames, Images, LoadedModel
from augcompress.exporters.graph_edits import (
    INPUT,
    Step,
    constant,
    graph_copy,
    is_quantized,
    opset_of,
    put_before,
    put_behind,
    shape_of,
)
from augcompress.exporters.graph_names import name_points, rename, strip
from augcompress.exporters.parity import check_kernels
from augcompress.exporters.reading import read_graph
from augcompress.exporters.sessions import load_onnx, save, save_ort

ORT_FILE = "model.ort"
_NOISY = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export", "torch.fx")


class OnnxExporter(Exporter):
    """An ONNX file for ONNX Runtime.

    Input `input`: `(N,C,H,W)`.  Output `logits` or `probabilities`: `(N,classes)`.
    """

    file: ClassVar[str] = "model.onnx"
    kind: Literal["onnx"] = "onnx"
    opset: int = Field(20, ge=18, le=24)
    """Version of the operator set."""
    ort_format: bool = False
    """Also write `model.ort`, in ONNX Runtime's own format: optimised already, for CPUs like this
    machine's."""

    def to_graph(self, source: nn.Module | ModelProto, example: Tensor) -> ModelProto:
        """The network, or a copy of the graph, with these settings."""
        if isinstance(source, ModelProto):
            return with_options(source, self)
        return to_graph(source, example, self)

    def write(self, source: nn.Module | ModelProto, folder: Path, example: Tensor) -> Path:
        """Write `model.onnx`.

        Raises AugcompressError when an operator cannot be converted.
        """
        save_verified(self.to_graph(source, example), folder / self.file)
        return folder / self.file

    def open(self, file: Path, threads: int = 1) -> LoadedModel:
        """A session of ONNX Runtime, of a `.onnx` or `.ort` file."""
        return load_onnx(file, threads)

    def describe(self, file: Path, metadata: Mapping[str, str]) -> None:
        """Write the metadata, and then `model.ort` where it is asked for."""
        graph = read_graph(file)
        save_verified(dress(graph, {**metadata, "opset": str(opset_of(graph))}), file)
        if self.ort_format:
            save_ort(file, file.with_name(ORT_FILE))

    def copies(self, file: Path) -> list[Path]:
        """`model.ort`, once `describe` has written it."""
        return [one for one in (file.with_name(ORT_FILE),) if one.exists()]

    def check(self, file: Path, images: Images, names: ImageNames = None) -> None:
        """A quantised graph does the same with and without the runtime's optimisations: its integer
        kernels do not saturate.

        Raises LimitError naming the worst images when it does not.
        """
        if is_quantized(read_graph(file)):
            for one in (file, *self.copies(file)):
                check_kernels(self.open(one), load_onnx(file, optimize=False), images, names)


def save_verified(graph: ModelProto, file: Path) -> None:
    """Write a graph and read it again.

    Raises LimitError when the file holds another one.
    """
    save(graph, file)
    if read_graph(file) != graph:
        raise LimitError(f"{file.name}: holds another graph than was written; export it again")


class _Shipped(nn.Module):
    """The network with the file's input and output types."""

    def __init__(self, network: nn.Module, settings: OnnxExporter) -> None:
        super().__init__()
        self.network = network
        self.from_bytes = settings.input == "uint8"
        self.to_probabilities = settings.output == "probabilities"

    def forward(self, images: Tensor) -> Tensor:
        if self.from_bytes:
            images = images.to(torch.float32) / 255
        outputs = self.network(images)
        return outputs.softmax(dim=1) if self.to_probabilities else outputs


def to_graph(network: nn.Module, example: Tensor, settings: OnnxExporter) -> ModelProto:
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


def _export(network: nn.Module, images: Tensor, settings: OnnxExporter) -> ModelProto:
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


def with_options(graph: ModelProto, settings: OnnxExporter) -> ModelProto:
    """A copy of a graph in our convention with the exporter's input, output and batch.

    Probabilities stay probabilities, and uint8 input stays uint8: neither can be undone.
    """
    changed = graph_copy(graph)
    inner = changed.graph
    takes, gives = shape_of(inner.input[0]), shape_of(inner.output[0])
    if settings.batch is not None:
        takes[0] = gives[0] = settings.batch
    kind = inner.input[0].type.tensor_type.elem_type
    steps: list[Step] = []
    if settings.input == "uint8" and kind == TensorProto.FLOAT:
        most, kind = constant(inner, "largest_byte", np.float32(255)), TensorProto.UINT8
        steps = [
            lambda a, b: onnx.helper.make_node("Cast", [a], [b], "as_float", to=TensorProto.FLOAT),
            lambda a, b: onnx.helper.make_node("Div", [a, most], [b], "from_bytes"),
        ]
    put_before(inner, steps, kind, takes)
    name = inner.output[0].name
    if settings.output == "probabilities" and name != "probabilities":
        put_behind(inner, [_softmax], "probabilities", gives)
    else:
        put_behind(inner, [], name, gives)
    return changed


def _softmax(source: str, made: str) -> NodeProto:
    return onnx.helper.make_node("Softmax", [source], [made], "softmax", axis=1)
