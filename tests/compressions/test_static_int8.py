import copy
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from augcompress.compressions import GraphProbe, StaticInt8
from augcompress.compressions.static_int8 import as_input, first_images, int8_nodes
from augcompress.errors import AugcompressError, LimitError
from augcompress.evidence import agreement
from augcompress.exporters import OnnxExporter, check_quantized, network_reference
from augcompress.graphs import save, to_graph
from augcompress.inference import load_onnx


@pytest.fixture(scope="session")
def graph(trained, probe):
    return to_graph(trained["A"], probe.example, OnnxExporter())


def graph_probe(probe):
    def calibration():
        for batch in probe.batches():
            yield batch.images().numpy()

    return GraphProbe(calibration, score=lambda graph: 0.0, reference=lambda images: images)


@pytest.fixture(scope="session")
def packed(graph, probe):
    return StaticInt8(samples=256).pack(graph, {}, graph_probe(probe))[0]


def test_promise_on_the_reopened_file(packed, tmp_path):
    save(packed, tmp_path / "int8.onnx")
    weights, kernels = StaticInt8().check(onnx.load(tmp_path / "int8.onnx"))
    assert (weights.value, kernels.value) == (1.0, 1.0)


def test_the_file_is_smaller(graph, packed):
    assert packed.ByteSize() < 0.4 * graph.ByteSize()


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_every_calibration_agrees_with_the_network(method, graph, probe, images):
    step = StaticInt8(calibration=method, samples=256)
    packed = step.pack(graph, {}, graph_probe(probe))[0]
    outputs = [load_onnx(g.SerializeToString())(images) for g in (graph, packed)]
    assert agreement(*outputs).value > 0.97
    assert step.check(packed)


def test_calibrations_differ(graph, probe):
    files = {
        StaticInt8(calibration=c, samples=64)
        .pack(graph, {}, graph_probe(probe))[0]
        .SerializeToString()
        for c in ("minmax", "entropy", "percentile")
    }
    assert len(files) == 3


def test_the_packed_file_passes_the_exporters_check(packed, trained, images, tmp_path):
    save(packed, tmp_path / "int8.onnx")
    found = check_quantized(
        load_onnx(tmp_path / "int8.onnx"), network_reference(trained["A"]), images
    )
    assert found[0].value > 0.97


def test_equal_inputs_give_equal_bytes_and_leave_the_graph_alone(graph, packed, probe):
    before = graph.SerializeToString(deterministic=True)
    again = StaticInt8(samples=256).pack(graph, {}, graph_probe(probe))[0]
    assert again.SerializeToString(deterministic=True) == packed.SerializeToString(
        deterministic=True
    )
    assert graph.SerializeToString(deterministic=True) == before


def test_it_names_no_tool_and_no_path(packed):
    assert packed.producer_name == "augcompress"
    assert not packed.metadata_props
    assert b"/work" not in packed.SerializeToString()
    assert not any(node.doc_string or node.metadata_props for node in packed.graph.node)


def test_it_says_what_was_decided(graph, probe):
    step = StaticInt8(samples=100, reduce_range=True)
    _, decisions = step.pack(graph, {}, graph_probe(probe))
    assert decisions == {"reduce_range": True, "samples": 100}


def test_reduced_range_uses_seven_bits(graph, probe):
    packed = StaticInt8(samples=32, reduce_range=True).pack(graph, {}, graph_probe(probe))[0]
    int8 = [
        onnx.numpy_helper.to_array(one)
        for one in packed.graph.initializer
        if one.data_type == onnx.TensorProto.INT8 and len(one.dims) > 1
    ]
    assert max(int(np.abs(one.astype(int)).max()) for one in int8) == 64


def test_excluded_nodes_stay_float(graph, probe):
    step = StaticInt8(samples=32, exclude=("layer1.*", "body.conv1.weight"))
    packed = step.pack(graph, {}, graph_probe(probe))[0]
    assert not {"body.layer1.0.conv1", "body.conv1"} & int8_nodes(packed)
    weights, kernels = step.check(packed)
    assert 0.5 < weights.value < 1
    assert kernels.value < 1
    with pytest.raises(LimitError, match="keeps float weights"):
        StaticInt8().check(packed)


def test_a_pattern_that_matches_nothing_is_an_error(graph, probe):
    with pytest.raises(AugcompressError, match="nowhere matches no node; names are like body"):
        StaticInt8(exclude=("nowhere",)).pack(graph, {}, graph_probe(probe))


def test_a_float_graph_fails_its_check(graph):
    with pytest.raises(LimitError, match=r"body\.conv1 keeps float weights"):
        StaticInt8().check(graph)


def test_layers_that_run_in_float_fail_the_check(packed):
    broken = copy.deepcopy(packed)
    first = next(n for n in broken.graph.node if n.name == "body.layer2.0.conv1")
    sources = {n.output[0]: n for n in broken.graph.node if n.op_type == "DequantizeLinear"}
    first.input[0] = next(  # take the activation before it was quantised
        n.input[0]
        for n in broken.graph.node
        if n.op_type == "QuantizeLinear" and n.output[0] == sources[first.input[0]].input[0]
    )
    with pytest.raises(LimitError, match="in integer kernels"):
        StaticInt8().check(broken)


def test_no_images_is_an_error(graph, probe):
    with pytest.raises(AugcompressError, match="no calibration images"):
        StaticInt8().pack(graph, {}, replace(graph_probe(probe), calibration=lambda: iter([])))


def test_first_images_cuts_the_last_batch():
    batches = iter([np.zeros((4, 1, 2, 2)), np.ones((4, 1, 2, 2)), np.ones((4, 1, 2, 2))])
    taken = first_images(batches, 6)
    assert taken.shape == (6, 1, 2, 2)
    assert taken.mean() == pytest.approx(1 / 3)


def test_a_uint8_graph_is_calibrated_on_bytes(trained, probe, images, tmp_path):
    graph = to_graph(trained["A"], probe.example, OnnxExporter(input="uint8"))
    assert as_input(graph, np.array([1.0, 0.5])).tolist() == [255, 128]
    packed = StaticInt8(samples=128).pack(graph, {}, graph_probe(probe))[0]
    save(packed, tmp_path / "int8.onnx")
    raw = (images * 255).round().to(torch.uint8)
    assert (
        check_quantized(load_onnx(tmp_path / "int8.onnx"), network_reference(trained["A"]), raw)[
            0
        ].value
        > 0.97
    )
