"""Files opened in ONNX Runtime."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from augcompress.errors import AugcompressError
from augcompress.inference import load_onnx


def graph_bytes() -> bytes:
    """Images `(N,1,1,2)` to logits `(N,2)`, with metadata."""
    node = helper.make_node("Flatten", ["images"], ["scores"], name="reshaping")
    graph = helper.make_graph(
        [node],
        "a graph",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 1, 1, 2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2])],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, producer_name="somebody"
    )
    model.metadata_props.add(key="whose", value="its own")
    return model.SerializeToString()


def test_what_a_file_says_of_itself():
    assert load_onnx(graph_bytes()).metadata == {"whose": "its own"}


@pytest.mark.parametrize(
    "text",
    [b"images", b"scores", b"whose", b"its own", b"Flatten", b"somebody", b"a graph", b"reshaping"],
)
def test_text_that_is_no_utf8_is_refused_or_taken_without_a_word(text, capfd):
    content = graph_bytes().replace(text, b"\xff" + text[1:])
    if text in (b"images", b"scores", b"whose", b"its own", b"Flatten"):
        with pytest.raises(AugcompressError, match="graph: ONNX Runtime cannot load it: 'utf-8'"):
            load_onnx(content)
    else:
        load_onnx(content)
    assert capfd.readouterr() == ("", "")
