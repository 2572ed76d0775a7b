"""Post-training static quantisation to int8, by onnxruntime.quantization."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from augcompress.compressions.base import (
    WEIGHTED,
    Decisions,
    GraphCompression,
    GraphProbe,
    Notes,
    matches,
)
from augcompress.errors import AugcompressError, LimitError
from augcompress.evidence import Measurement
from augcompress.system import has_vnni

if TYPE_CHECKING:
    import onnx
    from onnxruntime.quantization.calibrate import TensorsData

OPERATORS = [*WEIGHTED, "Relu", "Clip", "Add"]
"""What is quantised.  A Relu or Clip after an integer layer vanishes into its range; without them
in this list the layer's output is rounded twice (1.65 instead of 1.22 times faster than float on
MobileNetV2).  Pooling and reshaping gain nothing."""
CHUNK = 32  # images per calibration run: bounds the memory that activations take

_METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "minmax": ("MinMax", {}),
    # With the default of 128 bins for 128 levels the search over thresholds has no choice.
    "entropy": ("Entropy", {"num_bins": 512, "num_quantized_bins": 128}),
    "percentile": ("Percentile", {"num_bins": 2048}),
}


class StaticInt8(GraphCompression):
    """Activations to uint8 and weights to int8 per channel, with ranges from calibration images
    (Jacob et al. 2018, arXiv:1712.05877), as QDQ nodes.

    The runtime merges each layer with the Q and DQ nodes around it into one integer kernel.  A Gemm
    keeps its float output, so that logits are not rounded.
    """

    kind: Literal["static_int8"] = "static_int8"
    calibration: Literal["minmax", "entropy", "percentile"] = "minmax"
    """Range of activations: their extremes, least Kullback-Leibler divergence, or a percentile."""
    percentile: float = Field(99.99, gt=50, le=100)
    """Percentile of the values that lie within the range; only for `percentile`."""
    samples: int = Field(512, ge=1)
    """Training images to calibrate on."""
    exclude: tuple[str, ...] = ()
    """Nodes that stay in float: globs of node or weight names."""
    reduce_range: Literal["auto"] | bool = "auto"
    """7-bit weights: uint8 times int8 saturates 16-bit sums on x86 CPUs without VNNI; auto looks at
    this CPU, so say true or false when the file is for another one."""

    def pack(
        self, graph: onnx.ModelProto, notes: Notes, probe: GraphProbe
    ) -> tuple[onnx.ModelProto, Decisions]:
        """The graph with QDQ nodes, and `reduce_range` and `samples`: float weights `(out,in,…)`
        become int8 `(out,in,…)` with scales `(out,)`, activations uint8 with one scale a tensor.

        Raises AugcompressError without calibration images, or when `exclude` matches nothing.
        """
        excluded = excluded_nodes(graph, self.exclude)
        reduce_range = not has_vnni() if self.reduce_range == "auto" else self.reduce_range
        images = first_images(probe.calibration(), self.samples)
        ranges = self._ranges(graph, images)
        packed = quantize(graph, ranges, excluded, reduce_range)
        return packed, {"reduce_range": reduce_range, "samples": len(images)}

    def check(self, graph: onnx.ModelProto) -> list[Measurement]:
        """int8 weights in the file, integer kernels in the runtime.

        Raises LimitError naming a layer that was promised and is neither.
        """
        excluded = set(excluded_nodes(graph, self.exclude))
        layers = weighted_nodes(graph)
        stored = int8_nodes(graph)
        for node in layers:
            if node.name not in excluded and node.name not in stored:
                raise LimitError(
                    f"static_int8: {node.name} keeps float weights; exclude it or quantise again"
                )
        return [_weight_share(graph, stored), _kernel_share(graph, len(stored))]

    def _ranges(self, graph: onnx.ModelProto, images: np.ndarray) -> TensorsData:
        method, options = _METHODS[self.calibration]
        if self.calibration == "percentile":
            options = {**options, "percentile": self.percentile}
        return activation_ranges(graph, images, method, options)


def first_images(batches: Iterable[np.ndarray], samples: int) -> np.ndarray:
    """The first `samples` images of a stream of batches.

    Raises AugcompressError when there are none.
    """
    taken: list[np.ndarray] = []
    for batch in batches:
        taken.append(np.asarray(batch)[: samples - sum(map(len, taken))])
        if sum(map(len, taken)) >= samples:
            break
    if not sum(map(len, taken)):
        raise AugcompressError("static_int8: no calibration images; give a training split")
    return np.concatenate(taken)


def as_input(graph: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """Images in the type that the graph takes: float32 in [0,1] or uint8 0-255."""
    from onnx import TensorProto

    wanted = graph.graph.input[0].type.tensor_type.elem_type
    if wanted == TensorProto.UINT8:
        return images if images.dtype == np.uint8 else np.rint(images * 255).astype(np.uint8)
    scale = 255 if images.dtype == np.uint8 else 1
    return images.astype(np.float32) / np.float32(scale)


class _Reader:
    """What ONNX Runtime's calibrators read from."""

    def __init__(self, feeds: Iterator[dict[str, np.ndarray]]) -> None:
        self.feeds = feeds

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


def activation_ranges(
    graph: onnx.ModelProto, images: np.ndarray, method: str, options: dict[str, Any]
) -> TensorsData:
    """The range of each activation over the images."""
    import onnx
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    images = as_input(graph, images)
    first = graph.graph.input[0]
    fixed = first.type.tensor_type.shape.dim[0].dim_value  # 0: any number of images a call
    size = fixed or CHUNK
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        file = Path(folder) / "float.onnx"
        onnx.save(onnx.shape_inference.infer_shapes(graph), file)
        calibrator = create_calibrator(
            file,
            OPERATORS,
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=CalibrationMethod[method],
            extra_options=options,
        )
        for start in range(0, len(images), size):
            rows = np.arange(start, start + size if fixed else min(start + size, len(images)))
            calibrator.collect_data(_Reader(iter([{first.name: images[rows % len(images)]}])))
        return calibrator.compute_data()


def quantize(
    graph: onnx.ModelProto, ranges: TensorsData, excluded: list[str], reduce_range: bool
) -> onnx.ModelProto:
    """QDQ: uint8 activations per tensor, int8 weights per channel."""
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    quantizer = QDQQuantizer(
        onnx.shape_inference.infer_shapes(graph),
        per_channel=True,
        reduce_range=reduce_range,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=[],
        nodes_to_exclude=excluded,
        op_types_to_quantize=OPERATORS,
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
    )
    with contextlib.redirect_stdout(io.StringIO()):
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    return _clean(quantizer.model.model, graph)


def _clean(packed: onnx.ModelProto, source: onnx.ModelProto) -> onnx.ModelProto:
    """Without what tools wrote about themselves; with the source's own description."""
    packed.producer_name, packed.producer_version = source.producer_name, source.producer_version
    packed.doc_string = ""
    del packed.graph.value_info[:]
    del packed.metadata_props[:]
    packed.metadata_props.extend(source.metadata_props)
    for node in packed.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    return packed


def excluded_nodes(graph: onnx.ModelProto, patterns: Iterable[str]) -> list[str]:
    """Names of the quantisable nodes that a pattern matches, by node or by weight.

    Raises AugcompressError when a pattern matches none.
    """
    nodes = [node for node in graph.graph.node if node.op_type in WEIGHTED]
    found: list[str] = []
    for pattern in patterns:
        hits = [n.name for n in nodes if any(matches(x, pattern) for x in (n.name, *n.input))]
        if not hits:
            known = ", ".join(node.name for node in nodes[:4])
            raise AugcompressError(f"exclude: {pattern} matches no node; names are like {known}")
        found += [name for name in hits if name not in found]
    return found


def _sources(graph: onnx.ModelProto) -> dict[str, str]:
    """Where a dequantised tensor comes from."""
    nodes = graph.graph.node
    return {n.output[0]: n.input[0] for n in nodes if n.op_type == "DequantizeLinear"}


def weighted_nodes(graph: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Quantisable nodes with stored weights."""
    stored = {one.name for one in graph.graph.initializer}
    origin = _sources(graph)
    nodes = [n for n in graph.graph.node if n.op_type in WEIGHTED]
    return [n for n in nodes if n.input[1] in stored or origin.get(n.input[1]) in stored]


def int8_nodes(graph: onnx.ModelProto) -> set[str]:
    """Names of the nodes whose stored weights are int8."""
    from onnx import TensorProto

    kinds = {one.name: one.data_type for one in graph.graph.initializer}
    origin = _sources(graph)
    int8 = TensorProto.INT8
    return {n.name for n in weighted_nodes(graph) if kinds.get(origin.get(n.input[1], "")) == int8}


def _weight_share(graph: onnx.ModelProto, stored: set[str]) -> Measurement:
    sizes = {one.name: int(np.prod(one.dims)) for one in graph.graph.initializer}
    origin = _sources(graph)
    nodes = weighted_nodes(graph)
    counts = {n.name: sizes[origin.get(n.input[1], n.input[1])] for n in nodes}
    total = sum(counts.values())
    share = sum(counts[name] for name in stored) / total if total else 0.0
    return Measurement(
        name="int8_weights", value=share, better="higher", conditions={"weights": total}
    )


def _kernel_share(graph: onnx.ModelProto, promised: int) -> Measurement:
    from augcompress.graphs import integer_macs, kernels

    found = kernels(graph)
    integer = sum(one.is_integer for one in found)
    if integer < promised:
        raise LimitError(
            f"static_int8: the runtime runs {integer} of {promised} int8 layers in integer kernels;"
            " exclude the others"
        )
    return integer_macs(found)
