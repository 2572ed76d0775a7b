"""Weights that lie outside of a graph's file: found wherever they are, and part of its digest."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from augcompress.errors import AugcompressError
from augcompress.graphs import adopt, content_digest, read_graph
from augcompress.inference import load_onnx
from augcompress.storage import digest_file

TAKES = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 2, 2])
GIVES = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
WEIGHTS = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]


def outside(location: str) -> TensorProto:
    """A weight whose numbers lie in a file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=WEIGHTS.shape)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def constant(location: str) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["w"], value=outside(location))


def classifier(*nodes: onnx.NodeProto, stored=(), functions=()) -> onnx.ModelProto:
    """Flatten and MatMul with the weights `w` that `nodes` or `stored` give."""
    last = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    graph = helper.make_graph([*nodes, *last], "g", [TAKES], [GIVES], [*stored])
    made = helper.make_model(graph, opset_imports=OPSETS, functions=[*functions])
    made.ir_version = 9
    return made


def in_a_branch(location: str) -> onnx.ModelProto:
    given = helper.make_tensor_value_info("w", TensorProto.FLOAT, WEIGHTS.shape)
    branch = helper.make_graph([constant(location)], "branch", [], [given])
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("t", 9, [], [True]))
    either = helper.make_node("If", ["yes"], ["w"], then_branch=branch, else_branch=branch)
    return classifier(yes, either)


def in_a_function(location: str) -> onnx.ModelProto:
    body = helper.make_function("own", "Weights", [], ["w"], [constant(location)], OPSETS[:1])
    call = helper.make_node("Weights", [], ["w"], domain="own")
    return classifier(call, functions=[body])


PLACES = {
    "initializer": lambda location: classifier(stored=[outside(location)]),
    "Constant node": lambda location: classifier(constant(location)),
    "branch": in_a_branch,
    "function": in_a_function,
}


@pytest.mark.parametrize("location", ["w.bin", "sub/deep/w.bin"])
@pytest.mark.parametrize("place", PLACES)
def test_other_weights_beside_a_file_are_another_content(place, location, tmp_path):
    weights, file = tmp_path / location, tmp_path / "m.onnx"
    weights.parent.mkdir(parents=True, exist_ok=True)
    WEIGHTS.tofile(weights)
    file.write_bytes(PLACES[place](location).SerializeToString())
    before = content_digest(file)
    (-WEIGHTS).tofile(weights)
    assert content_digest(file) != before
    WEIGHTS.tofile(weights)
    assert content_digest(file) == before


@pytest.mark.parametrize("place", ["initializer", "Constant node", "branch"])
def test_weights_in_a_folder_below_are_read(place, tmp_path):
    (tmp_path / "sub").mkdir()
    WEIGHTS.tofile(tmp_path / "sub/w.bin")
    file = tmp_path / "m.onnx"
    file.write_bytes(PLACES[place]("sub/w.bin").SerializeToString())
    images = np.random.default_rng(1).random((5, 3, 2, 2), dtype=np.float32)
    got = load_onnx(adopt(read_graph(file)).SerializeToString())(images)
    np.testing.assert_allclose(got, images.reshape(5, -1) @ WEIGHTS, rtol=1e-5)


@pytest.mark.parametrize("place", PLACES)
def test_missing_weights_are_named(place, tmp_path):
    file = tmp_path / "m.onnx"
    file.write_bytes(PLACES[place]("gone/w.bin").SerializeToString())
    with pytest.raises(AugcompressError, match=r"gone/w\.bin"):
        content_digest(file)


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "sub/../../secret"])
def test_paths_that_lead_out_of_the_folder_are_not_followed(location, tmp_path):
    folder = tmp_path / "graph"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(WEIGHTS.tobytes())
    file = folder / "m.onnx"
    file.write_bytes(PLACES["initializer"](location).SerializeToString())
    assert content_digest(file) == digest_file(file)
    with pytest.raises(AugcompressError, match="is no ONNX file that can be read"):
        read_graph(file)
