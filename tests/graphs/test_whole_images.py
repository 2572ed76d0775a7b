"""A graph that prepares whole images: as Pillow does, whatever their size."""

from __future__ import annotations

import json
from io import BytesIO

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from augcompress.errors import AugcompressError
from augcompress.graphs import takes_whole_images, with_preparation, without_preparation
from augcompress.inference import as_decoded, load_image, load_onnx
from augcompress.measures import bench

SIZE = (12, 10)
RESIZINGS = {
    "stretched": {"resize": [12, 10], "crop": None, "interpolation": "bilinear"},
    "bicubic": {"resize": [12, 10], "crop": None, "interpolation": "bicubic"},
    "nearest": {"resize": [12, 10], "crop": None, "interpolation": "nearest"},
    "cropped": {"resize": 14, "crop": [12, 10], "interpolation": "bilinear"},
    "bicubic, cropped": {"resize": 15, "crop": [12, 10], "interpolation": "bicubic"},
    "nearest, cropped": {"resize": 13, "crop": [12, 10], "interpolation": "nearest"},
    "both sides, cropped": {"resize": [17, 15], "crop": [12, 10], "interpolation": "bilinear"},
}
IMAGES = [(12, 10), (40, 30), (30, 41), (7, 90), (256, 110), (10, 12), (14, 10), (9, 5)]


def pixels_given_on(channels: int, kind: int = TensorProto.FLOAT, opset: int = 20):
    """A graph that gives its image as the scores of so many classes."""
    images = helper.make_tensor_value_info("input", kind, ["batch", channels, *SIZE])
    classes = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", channels * 120])
    nodes = [
        helper.make_node("Cast", ["input"], ["prepare_0"], "float", to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["prepare_0"], ["logits"], "flat"),
    ]
    graph = helper.make_graph(nodes, "given", [images], [classes])
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, producer_name="augcompress", ir_version=9)


def photograph(height: int, width: int, mode: str) -> Image.Image:
    """Smooth shapes and some noise."""
    y, x = np.mgrid[:height, :width]
    waves = [127 + 100 * np.sin(x / 7 + k) * np.cos(y / 5 - k) for k in range(3)]
    draw = np.random.default_rng(height).normal(0, 12, (height, width, 3))
    made = np.clip(np.stack(waves, axis=2) + draw, 0, 255).astype(np.uint8)
    return Image.fromarray(made).convert(mode)


def as_file(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("how", RESIZINGS)
def test_pixels_are_those_of_pillow(how, mode):
    resizing, channels = {**RESIZINGS[how], "mode": mode}, len(mode) if mode == "RGB" else 1
    made = with_preparation(pixels_given_on(channels), resizing, SIZE)
    model = load_onnx(made.SerializeToString())
    off, largest = [], 1 if "nearest" not in how else 0
    for size in IMAGES:
        file = as_file(photograph(*size, mode))
        whole = load_image(file, as_decoded(resizing))
        (found,) = model.call(whole.transpose(2, 0, 1)[None])
        want = load_image(file, resizing).transpose(2, 0, 1).ravel()
        off += np.abs(np.rint(found * 255) - want).tolist()
    assert max(off) <= largest
    assert np.mean(off) < 0.03  # halves, rounded otherwise


@pytest.mark.parametrize("how", RESIZINGS)
def test_prepared_images_stay_as_they_are_one_a_call_or_many(how):
    made = with_preparation(pixels_given_on(3), {**RESIZINGS[how], "mode": "RGB"}, SIZE)
    model = load_onnx(made.SerializeToString())
    images = np.random.default_rng(1).integers(0, 256, (5, 3, *SIZE), dtype=np.uint8)
    assert (model.input, model.batch, model.size) == ("image", None, None)
    want = images.reshape(5, -1) / np.float32(255)
    np.testing.assert_array_equal(model(images), want)
    np.testing.assert_array_equal(model(images / np.float32(255)), want)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.UINT8])
@pytest.mark.parametrize("opset", [17, 18, 20])
def test_the_preparation_comes_off_again(kind, opset):
    graph = pixels_given_on(3, kind, opset)
    made = with_preparation(graph, {**RESIZINGS["cropped"], "mode": "RGB"}, SIZE)
    onnx.checker.check_model(made)
    assert takes_whole_images(made)
    assert not takes_whole_images(graph)
    bare = without_preparation(made)
    assert [one.op_type for one in bare.graph.node] == ["Cast", "Flatten"]
    assert (bare.graph.input, bare.graph.output) == (graph.graph.input, graph.graph.output)
    assert without_preparation(graph) == graph
    images = np.random.default_rng(1).integers(0, 256, (4, 3, *SIZE), dtype=np.uint8)
    as_was, as_is = (load_onnx(one.SerializeToString()) for one in (graph, bare))
    np.testing.assert_array_equal(as_is(images), as_was(images))
    np.testing.assert_array_equal(load_onnx(made.SerializeToString())(images), as_was(images))


def test_operators_that_are_too_old_to_be_converted_are_named():
    graph = pixels_given_on(3, opset=17)
    graph.graph.node.add(op_type="Unknown", input=["input"], output=["y"])
    with pytest.raises(AugcompressError, match=r"image needs opset 18, .* of opset 17 .*uint8"):
        with_preparation(graph, {**RESIZINGS["cropped"], "mode": "RGB"}, SIZE)


def test_bench_feeds_one_image_as_large_as_the_network_sees():
    made = with_preparation(pixels_given_on(3), {**RESIZINGS["cropped"], "mode": "RGB"}, SIZE)
    session = bench.onnxruntime.InferenceSession(made.SerializeToString())
    (image,) = bench.feed_of(session, "model.onnx").values()
    assert (image.shape, image.dtype) == ((12, 10, 3), np.uint8)
    with pytest.raises(bench.BenchError, match=r"model\.onnx: takes batches of 1, not 8"):
        bench.feed_of(session, "model.onnx", 8)
    assert json.loads(made.metadata_props[1].value) == [3, 12, 10]
    del made.metadata_props[:]
    session = bench.onnxruntime.InferenceSession(made.SerializeToString())
    with pytest.raises(bench.BenchError, match="takes images of any size and names none"):
        bench.feed_of(session, "model.onnx")
