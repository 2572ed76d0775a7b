"""Parity beyond the plain case: fixed batches, the runtime's own format, graphs as references."""

import re

import numpy as np
import onnx
import pytest
import torch

from augcompress.compressions import GraphProbe, StaticInt8
from augcompress.errors import AugcompressError, LimitError
from augcompress.exporters import (
    OnnxExporter,
    check_float,
    check_quantized,
    graph_reference,
    network_reference,
)
from augcompress.graphs import save, to_graph, with_options
from augcompress.inference import load_onnx, open_session, save_ort

MIXED = {"input": "uint8", "output": "probabilities"}


def on_images(images) -> GraphProbe:
    return GraphProbe(lambda: iter([images]), lambda graph: 0.0, lambda images: images)


@pytest.fixture(scope="session")
def graph(network, images):
    return to_graph(network, images[:2], OnnxExporter())


@pytest.fixture(scope="session")
def packed(graph, images):
    return StaticInt8(samples=128).pack(graph, {}, on_images(images.numpy()))[0]


def written(graph, path):
    save(graph, path)
    return path


def biased(graph, path, amount=1.5):
    """A file that adds to one class's score."""
    broken = onnx.ModelProto()
    broken.CopyFrom(graph)
    bias = next(node for node in broken.graph.node if node.op_type == "Gemm").input[2]
    tensor = next(one for one in broken.graph.initializer if one.name == bias)
    array = onnx.numpy_helper.to_array(tensor).copy()
    array[3] += amount
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, bias))
    return written(broken, path)


@pytest.mark.parametrize("batch", [1, 7])
def test_a_fixed_batch_is_fed_exactly_that_many(batch, network, images, tmp_path):
    settings = OnnxExporter(batch=batch)
    path = written(to_graph(network, images[:2], settings), tmp_path / "fixed.onnx")
    model = load_onnx(path)
    assert model.batch == batch
    assert open_session(path).get_outputs()[0].shape == [batch, 10]
    assert model(images[:10]).shape == (10, 10)
    difference, same = check_float(
        load_onnx(path), network_reference(network), images[:50], batch=batch
    )
    assert difference.value < 1e-4
    assert (same.value, same.n) == (1.0, 50)


@pytest.mark.parametrize("made, wanted", [(None, 4), (4, 3)])
def test_another_batch_than_promised_is_found(made, wanted, network, images, tmp_path):
    settings = OnnxExporter(batch=made)
    path = written(to_graph(network, images[:2], settings), tmp_path / "model.onnx")
    with pytest.raises(LimitError, match=f"takes {made or 'any'} images a call, not {wanted}"):
        check_float(load_onnx(path), network_reference(network), images[:8], batch=wanted)


def test_rows_that_depend_on_their_place_are_found(network, images, tmp_path):
    graph = to_graph(network, images[:2], OnnxExporter(batch=2))
    last = graph.graph.output[0].name
    for node in graph.graph.node:
        node.output[:] = ["mixed" if name == last else name for name in node.output]
    graph.graph.initializer.append(
        onnx.numpy_helper.from_array(np.array([[0], [1]], dtype=np.float32), "places")
    )
    graph.graph.node.append(onnx.helper.make_node("Add", ["mixed", "places"], [last]))
    path = written(graph, tmp_path / "places.onnx")
    answer = graph_reference(path)
    with pytest.raises(LimitError, match="differs from the same image in another place by 1 on"):
        check_float(load_onnx(path), answer, images[:8], batch=2)


def test_a_graph_of_fixed_batch_is_quantised_and_checked(network, images, tmp_path):
    graph = to_graph(network, images[:2], OnnxExporter(batch=5))
    packed = StaticInt8(samples=64).pack(graph, {}, on_images(images[:64].numpy()))[0]
    path = written(packed, tmp_path / "int8.onnx")
    (agreed,) = check_quantized(load_onnx(path), network_reference(network), images, 0.9, batch=5)
    assert agreed.value >= 0.9


def test_the_runtimes_own_format_passes_the_same_checks(graph, packed, network, images, tmp_path):
    save_ort(written(graph, tmp_path / "float.onnx"), tmp_path / "float.ort")
    save_ort(written(packed, tmp_path / "int8.onnx"), tmp_path / "int8.ort")
    assert (tmp_path / "float.ort").read_bytes()[4:8] == b"ORTM"
    assert (
        check_float(load_onnx(tmp_path / "float.ort"), network_reference(network), images)[1].value
        == 1.0
    )
    (agreed,) = check_quantized(
        load_onnx(tmp_path / "int8.ort"), network_reference(network), images, 0.9
    )
    assert agreed.value >= 0.9
    save_ort(biased(graph, tmp_path / "wrong.onnx"), tmp_path / "wrong.ort")
    with pytest.raises(LimitError, match=r"wrong\.ort: differs from the network by 1\.5"):
        check_float(load_onnx(tmp_path / "wrong.ort"), network_reference(network), images)


def test_no_file_in_the_runtimes_format_comes_from_no_graph(tmp_path):
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(AugcompressError, match=r"text\.onnx: ONNX Runtime cannot load it"):
        save_ort(tmp_path / "text.onnx", tmp_path / "text.ort")


def test_the_worst_images_are_named(graph, network, images, tmp_path):
    path = biased(graph, tmp_path / "broken.onnx")
    names = [f"val/{number}.png" for number in range(len(images))]
    with pytest.raises(LimitError, match=r"by 1\.5 on image val/\d+\.png, 1\.5 on image val/"):
        check_float(load_onnx(path), network_reference(network), images, names=names)
    path = biased(graph, tmp_path / "broken.onnx", 40)
    numbers = np.arange(len(images)) + 9000
    with pytest.raises(
        LimitError, match=r"furthest off: [\d.]+ on image 9\d\d\d, [\d.]+ on image 9"
    ):
        check_quantized(load_onnx(path), network_reference(network), images, names=numbers)


def test_a_share_is_below_where_its_whole_interval_is(graph, network, images, tmp_path):
    path, reference = biased(graph, tmp_path / "model.onnx", 2.0), network_reference(network)
    (found,) = check_quantized(load_onnx(path), reference, images, 0.01)
    assert found.low < found.value < found.high < 1
    check_quantized(load_onnx(path), reference, images, found.high - 1e-6)
    names = ["zero", "one", "two", "three", *"456789"]
    told = {"classes": names, "field": "export.targets.1.agreement"}
    with pytest.raises(LimitError, match="below") as caught:
        check_quantized(load_onnx(path), reference, images, found.high + 1e-6, **told)
    wrong = reference(images).argmax(1).numpy() != load_onnx(path)(images).argmax(1)
    assert str(caught.value).startswith("export.targets.1.agreement: ")
    assert "model.onnx chooses its float network's class on" in str(caught.value)
    assert f"n={len(images)}" in str(caught.value)
    assert re.search(r"most often three instead of (\w+) (\d+) times", str(caught.value))
    assert sum(map(int, re.findall(r"(\d+) times", str(caught.value)))) <= wrong.sum()


def test_a_graph_may_be_the_reference(graph, packed, network, images, tmp_path):
    plain = written(graph, tmp_path / "float.onnx")
    for reference in (graph_reference(plain), graph_reference(graph)):
        assert check_float(load_onnx(plain), reference, images)[0].value == 0.0
    file = written(packed, tmp_path / "int8.onnx")
    by_graph = check_quantized(load_onnx(file), graph_reference(plain), images, 0.9)
    assert by_graph == check_quantized(load_onnx(file), network_reference(network), images, 0.9)


def test_probabilities_are_compared_with_probabilities(network, images, tmp_path):
    graph = to_graph(network, images[:2], OnnxExporter(**MIXED))
    path = written(graph, tmp_path / "model.onnx")
    assert check_float(load_onnx(path), graph_reference(path), images)[0].value < 1e-6
    chosen = graph_reference(graph)(images).argmax(1)
    with torch.no_grad():
        assert torch.equal(chosen, network.eval()(images).argmax(1))


def test_options_of_the_exporter_fit_a_graph(graph, network, images, tmp_path):
    settings = OnnxExporter(**MIXED, batch=6)
    changed = with_options(graph, settings)
    (given,), (returned,) = changed.graph.input, changed.graph.output
    assert (given.name, returned.name) == ("input", "probabilities")
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert given.type.tensor_type.shape.dim[0].dim_value == 6
    path = written(changed, tmp_path / "model.onnx")
    assert check_float(load_onnx(path), network_reference(network), images, batch=6)[0].value < 1e-4
    again = with_options(changed, OnnxExporter())
    assert again == changed
    assert graph.graph.output[0].name == "logits"


def test_modes_are_put_back_when_the_reference_fails(network, images, tmp_path, graph):
    class Failing(torch.nn.Dropout):
        def forward(self, images):
            raise ValueError("no answer")

    failing = Failing().train()
    with pytest.raises(ValueError, match="no answer"):
        check_float(
            load_onnx(written(graph, tmp_path / "model.onnx")), network_reference(failing), images
        )
    assert failing.training


def with_last(graph, path, make):
    """A file whose scores go through further nodes; `make` names them from `inner` to `logits`."""
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    for node in changed.graph.node:
        node.output[:] = ["inner" if name == "logits" else name for name in node.output]
    changed.graph.node.extend(make())
    return changed, written(changed, path)


def test_file_with_a_column_too_many_is_caught(graph, network, images, tmp_path):
    def twice():
        return [onnx.helper.make_node("Concat", ["inner", "inner"], ["logits"], axis=1)]

    changed, path = with_last(graph, tmp_path / "wide.onnx", twice)
    changed.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 20
    save(changed, path)
    with pytest.raises(LimitError, match=r"returns \(\d+, 20\), the network \(\d+, 10\)"):
        check_float(load_onnx(path), network_reference(network), images)


def test_file_whose_rows_depend_on_each_other_is_caught(graph, images, tmp_path):
    def less_the_mean():
        mean = onnx.helper.make_node("ReduceMean", ["inner", "first"], ["centre"], keepdims=1)
        return [mean, onnx.helper.make_node("Sub", ["inner", "centre"], ["logits"])]

    changed, path = with_last(graph, tmp_path / "mixed.onnx", less_the_mean)
    axes = onnx.numpy_helper.from_array(np.array([0]), "first")
    changed.graph.initializer.append(axes)
    save(changed, path)
    with pytest.raises(LimitError, match="differs from the larger batch"):
        check_float(load_onnx(path), graph_reference(path), images)
