import json
import logging
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

from augcompress.errors import AugcompressError, LimitError
from augcompress.exporters import OnnxExporter, check_float, check_quantized, network_reference
from augcompress.graphs import dress, metadata_of, save, to_graph
from augcompress.inference import load_onnx, open_session

SETTINGS = {
    "float32 logits": OnnxExporter(),
    "uint8 logits": OnnxExporter(input="uint8"),
    "float32 probabilities": OnnxExporter(output="probabilities"),
    "uint8 probabilities, opset 21": OnnxExporter(input="uint8", output="probabilities", opset=21),
}


@pytest.fixture(params=SETTINGS, ids=list(SETTINGS))
def settings(request):
    return SETTINGS[request.param]


@pytest.fixture(scope="session")
def graph(network, images):
    return to_graph(network, images[:2], OnnxExporter())


@pytest.fixture
def file(graph, tmp_path):
    save(graph, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def tampered(graph, path, name, change):
    """A file with one changed tensor."""
    broken = onnx.ModelProto()
    broken.CopyFrom(graph)
    tensor = next(one for one in broken.graph.initializer if one.name == name)
    array = change(onnx.numpy_helper.to_array(tensor).copy())
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))
    save(broken, path)
    return path


def test_every_setting_matches_the_network_on_real_images(settings, network, images, tmp_path):
    graph = to_graph(network, images[:2], settings)
    save(graph, tmp_path / "model.onnx")
    difference, same = check_float(
        load_onnx(tmp_path / "model.onnx"), network_reference(network), images
    )
    assert difference.value < 1e-4
    assert (same.value, same.n) == (1.0, len(images))


def test_the_file_says_what_the_settings_said(settings, network, images):
    graph = to_graph(network, images[:2], settings)
    (given,), (returned,) = graph.graph.input, graph.graph.output
    names = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.UINT8: "uint8"}
    assert (given.name, returned.name) == ("input", settings.output)
    assert names[given.type.tensor_type.elem_type] == settings.input
    assert given.type.tensor_type.shape.dim[0].dim_param
    assert {one.domain: one.version for one in graph.opset_import}[""] == settings.opset


def test_a_second_engine_agrees(graph, network, images):
    (got,) = ReferenceEvaluator(graph).run(None, {"input": images[:3].numpy()})
    with torch.no_grad():
        want = network.eval()(images[:3]).numpy()
    assert np.abs(got - want).max() < 1e-4


def test_nothing_of_the_machine_is_in_the_file(graph):
    data = graph.SerializeToString()
    assert b"/work" not in data
    assert b".py" not in data
    assert b"torch" not in data
    assert not graph.graph.value_info


def test_nodes_and_weights_are_named_after_layers(graph, network):
    names = {node.name for node in graph.graph.node if node.op_type in ("Conv", "Gemm")}
    layers = {n for n, one in network.named_modules() if isinstance(one, nn.Conv2d | nn.Linear)}
    assert names == layers
    assert {f"{name}.weight" for name in layers} <= {one.name for one in graph.graph.initializer}
    assert len({node.name for node in graph.graph.node}) == len(graph.graph.node)


def test_exporting_again_gives_the_same_bytes(graph, network, images, tmp_path):
    for name, one in (("a", graph), ("b", to_graph(network, images[:2], OnnxExporter()))):
        save(one, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_exporting_is_silent_and_leaves_the_network_alone(network, images, capfd, caplog):
    modes = [layer.training for layer in network.modules()]
    with caplog.at_level(logging.INFO):
        to_graph(network, images[:2], OnnxExporter())
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert [layer.training for layer in network.modules()] == modes


class Unsupported(nn.Module):
    def forward(self, images):
        return torch.linalg.eigvalsh(images[:, 0] @ images[:, 0].mT)


def test_an_operator_that_onnx_lacks_is_an_error(images):
    with pytest.raises(AugcompressError, match=r"cannot be converted to ONNX by .* or try another"):
        to_graph(Unsupported(), images[:2], OnnxExporter())


class FixedInCode(nn.Module):
    """Tracing takes the number of images for a constant."""

    def forward(self, images):
        return images.reshape(len(images), -1)


class OwnFault(nn.Module):
    """Its code fails where it is traced."""

    def forward(self, images):
        if torch.compiler.is_exporting():
            raise LookupError("nothing\nhere")
        return images.flatten(1)


@pytest.mark.parametrize(
    "network, message",
    [
        (FixedInCode, r"export: the network's code fixes the number of images .* len\(x\) does"),
        (OwnFault, r"export: .* by torch's exporter: LookupError: nothing; write what"),
    ],
)
def test_code_that_cannot_be_exported_is_one_line(network, message, images):
    with pytest.raises(AugcompressError, match=message) as caught:
        to_graph(network(), images[:2], OnnxExporter())
    assert "\n" not in str(caught.value)


def test_metadata_is_written_and_read(graph, tmp_path):
    metadata = {"labels": json.dumps(["a", "b"]), "producer_version": "0.1.0", "top1": "0.9"}
    save(dress(graph, metadata), tmp_path / "model.onnx")
    again = onnx.load(tmp_path / "model.onnx")
    assert metadata_of(again) == metadata
    assert (again.producer_name, again.producer_version) == ("augcompress", "0.1.0")
    assert not graph.metadata_props


def test_uint8_and_float_images_give_the_same(file, images):
    raw = (images * 255).round().to(torch.uint8)
    model = load_onnx(file)
    assert np.array_equal(model(raw), model(raw.float() / 255))


def test_a_changed_weight_is_found_with_its_worst_image(graph, network, images, tmp_path):
    def change(bias):
        bias[3] += 0.5
        return bias

    path = tampered(graph, tmp_path / "broken.onnx", bias_name(graph), change)
    with pytest.raises(LimitError, match=r"differs from the network by 0\.5\d* on image \d+"):
        check_float(load_onnx(path), network_reference(network), images)


def bias_name(graph):
    return next(n for n in graph.graph.node if n.op_type == "Gemm").input[2]


def test_a_nan_is_found(graph, network, images, tmp_path):
    path = tampered(graph, tmp_path / "nan.onnx", bias_name(graph), lambda bias: bias * np.nan)
    with pytest.raises(LimitError, match="by nan on image 0"):
        check_float(load_onnx(path), network_reference(network), images)


def test_a_quantized_file_that_disagrees_is_found(graph, network, images, tmp_path):
    path = tampered(graph, tmp_path / "broken.onnx", bias_name(graph), lambda b: b[::-1] * 40)
    with pytest.raises(LimitError, match="chooses its float network's class on"):
        check_quantized(load_onnx(path), network_reference(network), images)


def test_a_file_whose_optimised_graph_differs_is_found(file, images, monkeypatch):
    monkeypatch.setattr("augcompress.graphs.is_quantized", lambda graph: True)
    monkeypatch.setattr("augcompress.exporters.parity.KERNEL_NOISE", 0.001)
    OnnxExporter().check(file, images)
    monkeypatch.setattr(OnnxExporter, "open", lambda self, file: saturated(load_onnx(file)))
    with pytest.raises(LimitError, match="optimised and unoptimised graph agree on"):
        OnnxExporter().check(file, images)


def saturated(model):
    return replace(model, call=lambda images: model.call(images).clip(-5, 5))


def test_a_fixed_batch_is_found(graph, network, images, tmp_path):
    fixed = onnx.ModelProto()
    fixed.CopyFrom(graph)
    for value in (*fixed.graph.input, *fixed.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 6
    save(fixed, tmp_path / "fixed.onnx")
    with pytest.raises(LimitError, match="takes one batch size only"):
        check_float(load_onnx(tmp_path / "fixed.onnx"), network_reference(network), images[:6])


def test_files_that_are_no_graphs_are_errors(tmp_path):
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(AugcompressError, match=r"text\.onnx: ONNX Runtime cannot load it"):
        open_session(tmp_path / "text.onnx")
    with pytest.raises(AugcompressError, match=r"none\.onnx: ONNX Runtime cannot load it"):
        open_session(tmp_path / "none.onnx")


def test_sessions_have_the_threads_asked_for(file):
    assert open_session(file, threads=2).get_session_options().intra_op_num_threads == 2
