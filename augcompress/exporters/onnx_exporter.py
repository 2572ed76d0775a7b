"""ONNX: the file, and the proof that it does what the network does."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as runtime
from pydantic import Field
from torch import Tensor, nn

from augcompress.component import Component
from augcompress.errors import AugcompressError, LimitError
from augcompress.points import DOMAIN, OPERATOR
from augcompress.records import Measurement

INPUT = "input"
BATCH = 256  # images per call when many are run
KERNEL_AGREEMENT = 0.98
"""Share of images on which the optimised and the unoptimised int8 graph must choose the same class:
the integer kernels round once where the unoptimised graph rounds twice."""
KERNEL_NOISE = 0.1
"""Largest root mean square difference between the two, relative to the outputs' deviation."""
Images = np.ndarray | Tensor
_NOISY = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export", "torch.fx")
_OPEN_ERRORS = (
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.InvalidProtobuf,
    runtime.NoSuchFile,
    runtime.NotImplemented,
    runtime.RuntimeException,
)


class OnnxExporter(Component):
    """An ONNX file for ONNX Runtime.

    Input `input`: `(N,C,H,W)`, any N.  Output `logits` or `probabilities`: `(N,classes)`.
    """

    kind: Literal["onnx"] = "onnx"
    opset: int = Field(20, ge=18, le=24)
    """Version of the operator set."""
    input: Literal["float32", "uint8"] = "float32"
    """float32: images in [0,1]; uint8: 0 to 255."""
    output: Literal["logits", "probabilities"] = "logits"
    """What the file returns."""
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
                dynamic_shapes=({0: torch.export.Dim("batch")},),
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


def save(graph: onnx.ModelProto, path: str | Path) -> None:
    """Write a graph; equal graphs are equal bytes."""
    Path(path).write_bytes(graph.SerializeToString(deterministic=True))


def open_session(
    file: str | Path | bytes, threads: int = 1, *, optimize: bool = True
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU, of a file or of its bytes.

    Raises AugcompressError when the runtime cannot load it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = file if isinstance(file, bytes) else str(file)
    providers = ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(source, options, providers=providers)
    except _OPEN_ERRORS as error:
        name = "graph" if isinstance(file, bytes) else file
        reason = str(error).strip().splitlines()[0]
        raise AugcompressError(
            f"{name}: ONNX Runtime cannot load it: {reason}; export it again"
        ) from error


def as_input(session: onnxruntime.InferenceSession, images: Images) -> np.ndarray:
    """Images in the type that the session takes: float32 in [0,1] or uint8 0-255."""
    array = images.detach().cpu().numpy() if isinstance(images, Tensor) else np.asarray(images)
    if session.get_inputs()[0].type == "tensor(uint8)":
        return array if array.dtype == np.uint8 else np.rint(array * 255).astype(np.uint8)
    scale = 255 if array.dtype == np.uint8 else 1
    return array.astype(np.float32) / np.float32(scale)


def run(session: onnxruntime.InferenceSession, images: Images, batch: int = BATCH) -> np.ndarray:
    """The session's outputs `(N,classes)` for images, uint8 or float in [0,1]."""
    name = session.get_inputs()[0].name
    parts = [images[start : start + batch] for start in range(0, len(images), batch)]
    return np.concatenate([session.run(None, {name: as_input(session, p)})[0] for p in parts])


@torch.inference_mode()
def reference(
    session: onnxruntime.InferenceSession, network: nn.Module, images: Images
) -> np.ndarray:
    """What the network itself says to the images as the session sees them."""
    device = next((one.device for one in network.parameters()), torch.device("cpu"))
    modes = {layer: layer.training for layer in network.modules()}
    network.eval()
    parts = []
    for start in range(0, len(images), BATCH):
        part = torch.from_numpy(as_input(session, images[start : start + BATCH])).to(device)
        part = part.float() / 255 if part.dtype == torch.uint8 else part
        parts.append(network(part).float().cpu())
    for layer, mode in modes.items():
        layer.training = mode
    outputs = torch.cat(parts)
    probabilities = session.get_outputs()[0].name == "probabilities"
    return (outputs.softmax(dim=1) if probabilities else outputs).numpy()


def check_float(
    path: str | Path, network: nn.Module, images: Images, *, tolerance: float = 1e-4
) -> list[Measurement]:
    """A float file must match its network numerically, on real images.

    Batches of one and of three run too.  `tolerance` is relative to the largest output, or to 1.
    Raises LimitError naming the worst image.
    """
    session = open_session(path)
    want, got = reference(session, network, images), run(session, images)
    allowed = tolerance * max(1.0, float(np.abs(want).max()))
    _require_close(path, want, got, allowed, "network")
    _require_same_class(path, want, got, allowed)
    _check_batches(path, session, images, got, allowed)
    worst = float(np.abs(want - got).max())
    return [
        Measurement(name="max_abs_difference", value=worst, unit="", better="lower", n=len(images)),
        _agreement(want, got),
    ]


def check_quantized(
    path: str | Path, network: nn.Module, images: Images, agreement: float = 0.97
) -> list[Measurement]:
    """A quantised file must match its own graph run unoptimised, and agree with the network on a
    share of real images.

    Raises LimitError when it does not.
    """
    session = open_session(path)
    want, got = reference(session, network, images), run(session, images)
    plain = run(open_session(path, optimize=False), images)
    _check_kernels(path, plain, got)
    _check_batches(path, session, images, got, 3 * KERNEL_NOISE * _deviation(got))
    found = _agreement(want, got)
    if found.value < agreement:
        raise LimitError(
            f"{path}: chooses the network's class on {found.value:.4f} of {len(images)} images,"
            f" below {agreement}; exclude layers, calibrate on more images or lower agreement"
        )
    return [found]


def _check_kernels(path: str | Path, plain: np.ndarray, optimized: np.ndarray) -> None:
    same = float((plain.argmax(1) == optimized.argmax(1)).mean())
    noise = float(np.sqrt(np.mean((plain - optimized) ** 2))) / _deviation(plain)
    allowed_flips = max(1, (1 - KERNEL_AGREEMENT) * len(plain)) / len(plain)
    if not (1 - same <= allowed_flips and noise <= KERNEL_NOISE):
        raise LimitError(
            f"{path}: optimised and unoptimised graph agree on {same:.4f} of {len(plain)} images"
            f" (noise {noise:.3f}); its integer kernels saturate; set reduce_range: true"
        )


def _deviation(outputs: np.ndarray) -> float:
    return max(float(outputs.std()), 1e-12)


def _require_close(
    path: str | Path, want: np.ndarray, got: np.ndarray, allowed: float, whom: str
) -> None:
    if want.shape != got.shape:
        raise LimitError(f"{path}: returns {got.shape}, the {whom} {want.shape}; export it again")
    difference = np.abs(want - got).max(axis=1)
    worst = int(np.nan_to_num(difference, nan=np.inf).argmax())
    if not difference[worst] <= allowed:
        raise LimitError(
            f"{path}: differs from the {whom} by {difference[worst]:.3g} on image {worst}, above"
            f" {allowed:.3g}; export it again, or raise tolerance"
        )


def _require_same_class(
    path: str | Path, want: np.ndarray, got: np.ndarray, allowed: float
) -> None:
    """The same class, but for ties within the tolerance."""
    row = np.arange(len(want))
    lost = want.max(axis=1) - want[row, got.argmax(axis=1)]
    worst = int(lost.argmax())
    if lost[worst] > 2 * allowed:
        raise LimitError(f"{path}: chooses another class on image {worst}; export it again")


def _check_batches(
    path: str | Path,
    session: onnxruntime.InferenceSession,
    images: Images,
    outputs: np.ndarray,
    allowed: float,
) -> None:
    """Batches of one and of three give the same rows."""
    if isinstance(session.get_inputs()[0].shape[0], int):
        raise LimitError(f"{path}: takes one batch size only; export it with a dynamic batch")
    for size in (1, 3):
        rows = run(session, images[:size])
        _require_close(path, outputs[:size], rows, allowed, "larger batch")


def _agreement(want: np.ndarray, got: np.ndarray) -> Measurement:
    same = float((want.argmax(axis=1) == got.argmax(axis=1)).mean())
    return Measurement(name="agreement", value=same, better="higher", n=len(want))
