"""Which kernels ONNX Runtime runs a graph with and what each costs, by a profile of its calls."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from augcompress.evidence import Measurement

INTEGER_KERNELS = {
    "QLinearConv", "QGemm", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul", "ConvInteger",
}  # fmt: skip
"""Operators that multiply integers."""
OPERANDS = {
    "QLinearConv": 3, "QGemm": 3, "QLinearMatMul": 3, "Conv": 1, "FusedConv": 1, "ConvInteger": 1,
    "Gemm": 1, "FusedGemm": 1, "MatMul": 1, "FusedMatMul": 1, "MatMulInteger": 1,
    "MatMulIntegerToFloat": 1, "DynamicQuantizeMatMul": 1,
}  # fmt: skip
"""Operators that multiply and add, and which of their inputs the weights are."""
WARM_UP, CALLS = 3, 10
_TIMED = "_kernel_time"


@dataclass(frozen=True)
class Kernel:
    """A node of the graph as the runtime has optimised it."""

    operator: str
    macs: int
    """Multiply-adds for one image."""
    microseconds: float
    """Of the fastest call: what disturbs a call makes it slower."""

    @property
    def is_integer(self) -> bool:
        """Does it multiply integers?"""
        return self.operator in INTEGER_KERNELS


def kernels(graph: onnx.ModelProto) -> list[Kernel]:
    """The nodes that the runtime runs for one image, on one thread of this machine's CPU."""
    events, optimized = _profile(_with_names(graph))
    weights = _weight_shapes(optimized)
    found: dict[str, Kernel] = {}
    for event in events:
        name, arguments = event["name"], event["args"]
        macs = _macs(arguments, weights.get(name.removesuffix(_TIMED), []))
        kernel = found.get(name, Kernel(arguments["op_name"], macs, event["dur"]))
        found[name] = replace(kernel, microseconds=min(kernel.microseconds, event["dur"]))
    return list(found.values())


def _with_names(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose nodes have a name of their own each, by which a profile tells them apart."""
    named = onnx.ModelProto()
    named.CopyFrom(graph)
    for number, node in enumerate(named.graph.node):
        node.name = f"{number}:{node.name}"
    return named


def _profile(graph: onnx.ModelProto) -> tuple[Sequence[Mapping[str, Any]], onnx.GraphProto]:
    """What the runtime's profile tells of each node, call by call, without the first calls; and the
    graph as the runtime has optimised it."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(Path(folder) / "optimized.onnx")
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(
            graph.SerializeToString(), options, providers=providers
        )
        feed = {one.name: _example(one) for one in session.get_inputs()}
        for _ in range(WARM_UP + CALLS):
            session.run(None, feed)
        told = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        optimized = onnx.load(options.optimized_model_filepath).graph
    nodes = [one for one in told if one["name"].endswith(_TIMED)]
    return nodes[len(nodes) * WARM_UP // (WARM_UP + CALLS) :], optimized


def _weight_shapes(graph: onnx.GraphProto) -> dict[str, list[int]]:
    """Shapes of stored weights by the node that multiplies by them, be it in float behind a
    DequantizeLinear."""
    stored = {one.name: list(one.dims) for one in graph.initializer}
    sources = {one.output[0]: one.input[0] for one in graph.node if one.input}
    found = {}
    for node in graph.node:
        weight = node.input[OPERANDS[node.op_type]] if node.op_type in OPERANDS else ""
        while weight not in stored and weight in sources:
            weight = sources[weight]
        if weight in stored:
            found[node.name] = stored[weight]
    return found


def _example(value: Any) -> np.ndarray:
    """Noise of an input's shape, one image where the batch is free."""
    shape = [size if isinstance(size, int) else 1 for size in value.shape]
    noise = np.random.default_rng(0).random(shape, np.float32)
    return (255 * noise).astype(np.uint8) if value.type == "tensor(uint8)" else noise


def _macs(arguments: Mapping[str, Any], weight: Sequence[int]) -> int:
    """Multiply-adds of a node, from the shapes that it was called with; 0 where it has none."""
    operator = arguments["op_name"]
    if operator not in OPERANDS:
        return 0
    (output,) = arguments["output_type_shape"][0].values()
    (given,) = arguments["input_type_shape"][0].values()
    return prod(output) * (prod(weight[1:]) if "Conv" in operator else given[-1])


def integer_macs(found: Sequence[Kernel]) -> Measurement:
    """The share of the multiply-adds that run in integers."""
    share = _share(found, [one.macs for one in found])
    return Measurement(name="int8_kernels", value=share, better="higher", conditions=_told(found))


def integer_time(found: Sequence[Kernel]) -> Measurement:
    """The share of the time of all kernels that integer kernels take."""
    share = _share(found, [one.microseconds for one in found])
    return Measurement(name="int8_time", value=share, better="higher", conditions=_told(found))


def _share(found: Sequence[Kernel], amounts: Sequence[float]) -> float:
    integer = sum(amount for one, amount in zip(found, amounts, strict=True) if one.is_integer)
    return integer / sum(amounts) if sum(amounts) else 0.0


def _told(found: Sequence[Kernel]) -> dict[str, Any]:
    return {"runtime": f"onnxruntime {onnxruntime.__version__}", "nodes": len(found)}
