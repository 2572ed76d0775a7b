"""ONNX: a network as a graph, stripped, named after its layers, dressed in metadata."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import onnx
import torch
from pydantic import Field
from torch import Tensor, nn

from augcompress.component import Component
from augcompress.errors import AugcompressError
from augcompress.modules import DOMAIN, OPERATOR

INPUT = "input"
_NOISY = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export", "torch.fx")


class OnnxExporter(Component):
    """An ONNX file for ONNX Runtime.

    Input `input`: `(N,C,H,W)`.  Output `logits` or `probabilities`: `(N,classes)`.
    """

    kind: Literal["onnx"] = "onnx"
    opset: int = Field(20, ge=18, le=24)
    """Version of the operator set."""
    input: Literal["float32", "uint8"] = "float32"
    """float32: images in [0,1]; uint8: 0 to 255."""
    output: Literal["logits", "probabilities"] = "logits"
    """What the file returns."""
    batch: int | None = Field(None, ge=1)
    """Number of images that a call must have; None: any."""
    ort_format: bool = False
    """Also write `model.ort`, in ONNX Runtime's own format: optimised already, for CPUs like this
    machine's."""
    tolerance: float = Field(1e-4, gt=0)
    """Largest difference between file and network that a float file may show, relative to the
    largest output (or to 1, where outputs are smaller)."""
    agreement: float = Field(0.97, gt=0, le=1)
    """Share of images on which a quantised file must choose the network's class."""


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


def to_graph(network: nn.Module, example: Tensor, settings: OnnxExporter) -> onnx.ModelProto:
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
    strip(graph)
    name_points(graph)
    rename(graph)
    graph.producer_name, graph.producer_version = "augcompress", ""
    onnx.checker.check_model(graph)
    return graph


def _export(network: nn.Module, images: Tensor, settings: OnnxExporter) -> onnx.ModelProto:
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
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0]
            raise AugcompressError(
                f"export: the network cannot be converted to ONNX: {reason}; try another opset"
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


def strip(graph: onnx.ModelProto) -> None:
    """Remove, in place, what tools wrote about themselves: paths, source lines, inferred shapes."""
    del graph.metadata_props[:]
    graph.doc_string = ""
    for function in graph.functions:
        function.doc_string = ""
        _strip_nodes(function.node)
    _strip_graph(graph.graph)


def _strip_graph(graph: onnx.GraphProto) -> None:
    del graph.value_info[:]
    del graph.metadata_props[:]
    graph.doc_string = ""
    for described in (*graph.input, *graph.output, *graph.initializer):
        described.doc_string = ""
        del described.metadata_props[:]
    _strip_nodes(graph.node)


def _strip_nodes(nodes: Any) -> None:
    for node in nodes:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    _strip_graph(inner)


def rename(graph: onnx.ModelProto) -> None:
    """Name weights as in the network, and nodes after the layer whose weights they hold."""
    renamed = {one.name: one.name.removeprefix("network.") for one in graph.graph.initializer}
    layers = {n: n.removesuffix(".weight") for n in renamed.values() if n.endswith(".weight")}
    for one in graph.graph.initializer:
        one.name = renamed[one.name]
    used: set[str] = set()
    for position, node in enumerate(graph.graph.node):
        node.input[:] = [renamed.get(name, name) for name in node.input]
        layer = next((layers[name] for name in node.input if name in layers), None)
        node.name = layer if layer and layer not in used else f"{node.op_type}_{position}"
        used.add(node.name)


def name_points(graph: onnx.ModelProto) -> None:
    """Name each marked tensor after its point and take the marks out, in place.

    An Identity stays where the tensor is the graph's input or output, or another point already.
    Raises AugcompressError when two points have one name.
    """
    inner = graph.graph
    taken = {one.name for one in (*inner.input, *inner.output, *inner.initializer)}
    for node in [one for one in inner.node if one.domain == DOMAIN and one.op_type == OPERATOR]:
        source, marked = node.input[0], node.output[0]
        name = node.attribute[0].s.decode()
        made = {output for one in inner.node for output in one.output}
        if name in (taken | made) - {source}:
            raise AugcompressError(f"export: two tensors are called {name}; rename a point")
        place = list(inner.node).index(node)
        inner.node.remove(node)
        if source in taken:
            inner.node.insert(place, onnx.helper.make_node("Identity", [source], [name]))
            place += 1
        else:
            _rewire(inner, source, name)
        if marked in taken:
            inner.node.insert(place, onnx.helper.make_node("Identity", [name], [marked]))
        else:
            _rewire(inner, marked, name)
        taken.add(name)
    kept = [one for one in graph.opset_import if one.domain != DOMAIN]
    del graph.opset_import[:]
    graph.opset_import.extend(kept)


def _rewire(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]


def dress(graph: onnx.ModelProto, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """A copy with metadata (labels as JSON, resizing, recipe hash, accuracy) in place of its own.

    The key `producer_version` becomes the model's producer version as well.
    """
    dressed = onnx.ModelProto()
    dressed.CopyFrom(graph)
    dressed.producer_name = "augcompress"
    dressed.producer_version = metadata.get("producer_version", "")
    del dressed.metadata_props[:]
    for key in sorted(metadata):
        dressed.metadata_props.add(key=key, value=metadata[key])
    return dressed


def metadata_of(graph: onnx.ModelProto) -> dict[str, str]:
    """What `dress` wrote."""
    return {one.key: one.value for one in graph.metadata_props}
