"""The kernels that ONNX Runtime runs, and what they multiply."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from augcompress.compressions.base import GraphProbe
from augcompress.compressions.static_int8 import StaticInt8
from augcompress.graphs.kernels import Kernel, integer_macs, integer_time, kernels


def two_layers(batch="N"):
    """3x3 on 8x8 images of 1 channel to 4, then a Gemm of 4 to 10."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(4, 1, 3, 3)), "head": rng.normal(size=(4, 10))}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "head"], ["y"], name="gemm"),
    ]
    graph = helper.make_graph(
        nodes,
        "two layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 10])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return model


CONV, GEMM = 8 * 8 * 9 * 4, 4 * 10


def quantized(exclude=()):
    images = np.random.default_rng(1).random((16, 1, 8, 8), np.float32)
    probe = GraphProbe(lambda: iter([images]), lambda graph: 1.0, None)
    packed, _ = StaticInt8(exclude=exclude, reduce_range=False).pack(two_layers(), {}, probe)
    return packed


@pytest.mark.parametrize(
    ("graph", "share"),
    [(two_layers(), 0), (quantized(), 1), (quantized(["gemm"]), CONV / (CONV + GEMM))],
    ids=["float", "int8", "its head in float"],
)
def test_multiply_adds_in_integers_are_counted(graph, share):
    assert integer_macs(kernels(graph)).value == pytest.approx(share)


@pytest.mark.parametrize("batch", ["N", 3])
def test_layers_are_the_networks_own(batch):
    images = 1 if batch == "N" else batch
    macs = sorted(one.macs for one in kernels(two_layers(batch)) if one.macs)
    assert macs[0] == images * GEMM
    assert macs[1] % (images * CONV) == 0  # the runtime pads channels


@pytest.mark.parametrize("name", ["", "same"])
def test_nodes_are_told_apart_without_names_of_their_own(name):
    graph = quantized(["gemm"])
    for node in graph.graph.node:
        node.name = name
    found = kernels(graph)
    assert integer_macs(found).value == pytest.approx(CONV / (CONV + GEMM))
    assert len(found) == len(kernels(quantized(["gemm"])))


def test_float_kernels_of_int8_weights_count_all_their_multiply_adds():
    graph = quantized()
    conv = next(node for node in graph.graph.node if node.op_type == "Conv")
    dequantized = next(node for node in graph.graph.node if conv.input[0] in node.output)
    conv.input[0] = next(n for n in graph.graph.node if dequantized.input[0] in n.output).input[0]
    assert integer_macs(kernels(graph)).value == pytest.approx(GEMM / (CONV + GEMM), rel=0.1)


def test_shares_by_hand():
    found = [Kernel("QLinearConv", 30, 1.0), Kernel("Conv", 10, 1.0), Kernel("Mul", 0, 2.0)]
    assert integer_macs(found).value == 0.75
    assert integer_time(found).value == 0.25
    assert integer_macs([]).value == 0
