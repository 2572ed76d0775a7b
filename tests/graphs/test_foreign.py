"""Classifiers made outside the package, by plain torch and by hand."""

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from torch import nn

from augcompress.compressions import GraphProbe, StaticInt8
from augcompress.errors import AugcompressError
from augcompress.exporters import check_float, check_quantized, graph_reference
from augcompress.graphs import adopt, is_foreign, optimizer_operators, save
from augcompress.inference import load_onnx

HOW = {"scale": 16, "mean": [4.9], "std": [6.0]}
"""What the foreign network sees: digits of 0 to 16, then normalised."""


class Foreign(nn.Module):
    """A small network as one finds them, with a reshape that a trace may fix."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.body = nn.Conv2d(8, 16, 3, padding=1)
        self.head = nn.Linear(16 * 4 * 4, 10)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.max_pool2d(torch.relu(self.body(x)), 2)
        return self.head(x.view(x.size(0), -1))


def on_images(images) -> GraphProbe:
    return GraphProbe(lambda: iter([images]), lambda graph: 0.0, lambda images: images)


@pytest.fixture(scope="session")
def digits():
    found = load_digits()
    pixels = (found.images * (255 / 16)).round().astype(np.uint8)[:, None]
    return pixels, torch.tensor(found.target)


def seen(pixels):
    """As the foreign network was trained."""
    images = torch.from_numpy(pixels).float() / 255 * 16
    return (images - 4.9) / 6.0


@pytest.fixture(scope="session")
def foreign(digits):
    torch.manual_seed(0)
    network, images, labels = Foreign(), seen(digits[0][:1300]), digits[1][:1300]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for start in [*range(0, 1280, 64)] * 4:
        optimizer.zero_grad()
        rows = slice(start, start + 64)
        nn.functional.cross_entropy(network(images[rows]), labels[rows]).backward()
        optimizer.step()
    return network.eval()


def exported(network, path, example, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (example,), str(path), verbose=False, **how)
    return onnx.load(path)


LEGACY = {"dynamo": False, "opset_version": 17, "input_names": ["x"], "output_names": ["y"]}
EXPORTS = {
    "legacy, batch of one": LEGACY,
    "legacy, any batch": LEGACY | {"dynamic_axes": {"x": {0: "n"}, "y": {0: "n"}}},
    "legacy, opset 11": LEGACY | {"opset_version": 11},
    "legacy, weights as inputs": LEGACY | {"keep_initializers_as_inputs": True},
    "legacy, batch norm kept": LEGACY | {"training": torch.onnx.TrainingMode.PRESERVE},
    "dynamo, any batch": {"dynamo": True, "dynamic_shapes": ({0: torch.export.Dim("n")},)},
    "dynamo, batch of two": {"dynamo": True},
}


@pytest.mark.parametrize("how", EXPORTS.values(), ids=list(EXPORTS))
def test_a_foreign_classifier_goes_through_everything(how, foreign, digits, tmp_path):
    pixels = digits[0][1300:]
    example = seen(pixels[: 2 if how["dynamo"] else 1])
    original = exported(foreign, tmp_path / "foreign.onnx", example, **how)
    before = original.SerializeToString(deterministic=True)
    graph = adopt(original, **HOW)
    assert original.SerializeToString(deterministic=True) == before
    save(graph, tmp_path / "float.onnx")
    with torch.no_grad():
        want = foreign(seen(pixels))
    got = load_onnx(tmp_path / "float.onnx")(pixels)
    assert np.abs(want.numpy() - got).max() < 1e-4
    assert (want.argmax(1) == digits[1][1300:]).float().mean() > 0.85
    reference = graph_reference(graph)
    assert check_float(load_onnx(tmp_path / "float.onnx"), reference, pixels)[1].value == 1.0
    packed = StaticInt8(samples=128).pack(graph, {}, on_images(digits[0][:128]))[0]
    save(packed, tmp_path / "int8.onnx")
    shares = StaticInt8().check(onnx.load(tmp_path / "int8.onnx"))
    assert [row.value for row in shares] == [1.0, 1.0]  # int8 weights, integer kernels
    assert check_quantized(load_onnx(tmp_path / "int8.onnx"), reference, pixels)[0].value > 0.97


def test_the_adopted_graph_says_what_ours_say(foreign, digits, tmp_path):
    graph = adopt(exported(foreign, tmp_path / "a.onnx", seen(digits[0][:1]), **LEGACY), **HOW)
    (given,), (returned,) = graph.graph.input, graph.graph.output
    assert (given.name, returned.name) == ("input", "logits")
    shape = given.type.tensor_type.shape.dim
    assert shape[0].dim_param == "batch"
    assert [one.dim_value for one in shape[1:]] == [1, 8, 8]
    assert not is_foreign(graph)
    names = [node.name for node in graph.graph.node]
    assert len({*names}) == len(names)
    assert "" not in names


def test_nothing_of_the_machine_stays(foreign, digits, tmp_path):
    original = exported(foreign, tmp_path / "a.onnx", seen(digits[0][:1]), **LEGACY)
    original.doc_string = "from /home/someone/train.py"
    original.metadata_props.add(key="path", value="/home/someone")
    original.graph.node[0].doc_string = "/home/someone/net.py(7): forward"
    data = adopt(original, **HOW).SerializeToString()
    assert b"/home" not in data
    assert b".py" not in data


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "shufflenet_v2_x0_5"])
def test_torchvisions_classifiers_are_adopted_and_quantised(name, tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, num_classes=5).eval()
    graph = exported(network, tmp_path / "a.onnx", torch.rand(1, 3, 32, 32), **LEGACY)
    adopted = adopt(graph, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    images = np.random.default_rng(1).integers(0, 256, (8, 3, 32, 32), dtype=np.uint8)
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    with torch.no_grad():
        want = network((torch.from_numpy(images) / 255 - mean) / std).numpy()
    got = load_onnx(adopted.SerializeToString())(images)
    assert np.abs(got - want).max() < 1e-4 * max(1, np.abs(want).max())
    packed = StaticInt8(samples=8).pack(adopted, {}, on_images(images))[0]
    assert [row.value for row in StaticInt8().check(packed)] == [1.0, 1.0]


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def hand_made(nodes, inputs, outputs, opset=17, **stored):
    """A graph of these nodes with these weights."""
    arrays = [numpy_helper.from_array(array, name) for name, array in stored.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, arrays)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


WEIGHTS = np.random.default_rng(3).normal(size=(12, 3)).astype(np.float32)


def linear(takes=("n", 3, 2, 2), kind=TensorProto.FLOAT, last=(), outputs=None, opset=17):
    """Flatten and Gemm, then `last`: (operator, attributes) pairs."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["s0"]),
    ]
    for place, (operator, attributes) in enumerate(last):
        nodes.append(helper.make_node(operator, [f"s{place}"], [f"s{place + 1}"], **attributes))
    outputs = outputs or [value(f"s{len(last)}", None, kind)]
    return hand_made(nodes, [value("x", takes, kind)], outputs, opset, w=WEIGHTS.astype(dtype))


def answers(graph, images):
    return load_onnx(graph.SerializeToString())(images)


@pytest.fixture
def images():
    return np.random.default_rng(0).random((5, 3, 2, 2), dtype=np.float32)


def logits(images):
    return images.reshape(len(images), -1) @ WEIGHTS


def test_scale_mean_and_std_are_applied_in_this_order(images):
    mean, std = [1.0, 2.0, 3.0], [4.0, 5.0, 6.0]
    column = [np.reshape(v, (1, 3, 1, 1)).astype(np.float32) for v in (mean, std)]
    graph = adopt(linear(), scale=255, mean=mean, std=std)
    want = logits((images * 255 - column[0]) / column[1])
    np.testing.assert_allclose(answers(graph, images), want, rtol=1e-4, atol=1e-4)


def test_channels_last_is_accepted_when_it_is_said(images):
    graph = adopt(linear(("n", 2, 2, 3)), layout="NHWC")
    got = answers(graph, images)
    np.testing.assert_allclose(got, logits(images.transpose(0, 2, 3, 1)), rtol=1e-5)
    assert [d.dim_value for d in graph.graph.input[0].type.tensor_type.shape.dim[1:]] == [3, 2, 2]


def test_half_precision_is_cast_at_both_ends(images):
    graph = adopt(linear(kind=TensorProto.FLOAT16))
    assert graph.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    got = answers(graph, images)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, logits(images), atol=0.01)


def test_bytes_stay_bytes(images):
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["f"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["s"]),
    ]
    takes = [value("x", ("n", 3, 2, 2), TensorProto.UINT8)]
    original = hand_made(nodes, takes, [value("s", None)], w=WEIGHTS)
    graph = adopt(original)
    assert graph.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    pixels = (images * 255).round().astype(np.uint8)
    want = logits(pixels.astype(np.float32))
    np.testing.assert_allclose(answers(graph, pixels), want, rtol=1e-4)
    with pytest.raises(AugcompressError, match=r"uint8 images .* leave mean, std and scale out"):
        adopt(original, scale=255)


@pytest.mark.parametrize(
    "last, name",
    [
        ([("Softmax", {"axis": 1})], "probabilities"),
        ([("Softmax", {"axis": -1}), ("Identity", {})], "probabilities"),
        ([("Softmax", {"axis": 0})], "logits"),
        ([("LogSoftmax", {"axis": 1})], "logits"),
        ([], "logits"),
    ],
)
def test_the_output_is_named_after_what_it_is(last, name, images):
    if last and last[0][1].get("axis") == 0:  # over the batch: each image's row depends on others
        with pytest.raises(
            AugcompressError, match="other scores among other images, as batch norm"
        ):
            adopt(linear(last=last))
        return
    graph = adopt(linear(last=last))
    assert graph.graph.output[0].name == name
    assert (abs(answers(graph, images).sum(1) - 1) < 1e-5).all() == (name == "probabilities")


def test_pooled_scores_lose_their_empty_axes(images):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["y"]),
    ]
    weights = np.ones((4, 3, 1, 1), dtype=np.float32)
    graph = adopt(hand_made(nodes, [value("x", ("n", 3, 2, 2))], [value("y", None)], w=weights))
    assert answers(graph, images).shape == (5, 4)


def test_the_output_that_may_be_meant_is_taken(images):
    many = linear(outputs=[value("flat", None), value("s0", None)])
    many.graph.node.insert(0, helper.make_node("ReduceMax", ["x"], ["most"], axes=[1], keepdims=1))
    del many.graph.output[0]
    many.graph.output.append(value("most", None))
    graph = adopt(many)
    assert [one.name for one in graph.graph.output] == ["logits"]
    assert "ReduceMax" not in {node.op_type for node in graph.graph.node}


def test_names_that_ours_need_may_be_taken(images):
    nodes = [
        helper.make_node("Flatten", ["logits"], ["probabilities"]),
        helper.make_node("MatMul", ["probabilities", "image_scale"], ["input"]),
    ]
    takes, gives = [value("logits", ("n", 3, 2, 2))], [value("input", None)]
    graph = adopt(hand_made(nodes, takes, gives, image_scale=WEIGHTS), scale=2)
    np.testing.assert_allclose(answers(graph, images), 2 * logits(images), rtol=1e-5)


def test_branches_see_the_renamed_images(images):
    def branch(name, operator):
        node = helper.make_node(operator, ["x"], [f"{name}_input"])
        return helper.make_graph([node], name, [], [value(f"{name}_input", None)])

    nodes = [
        helper.make_node(
            "If", ["yes"], ["b"], then_branch=branch("t", "Neg"), else_branch=branch("e", "Abs")
        ),
        helper.make_node("Flatten", ["b"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["s"]),
    ]
    takes = [value("x", ("n", 3, 2, 2))]
    graph = hand_made(nodes, takes, [value("s", None)], w=WEIGHTS, yes=np.array(True))
    np.testing.assert_allclose(answers(adopt(graph), images), -logits(images), rtol=1e-5)


def test_an_integer_graph_is_left_as_it_is(foreign, digits, tmp_path):
    graph = adopt(exported(foreign, tmp_path / "a.onnx", seen(digits[0][:1]), **LEGACY), **HOW)
    packed = StaticInt8(samples=64).pack(graph, {}, on_images(digits[0][:64]))[0]
    packed.producer_name = "another tool"
    kinds = [node.op_type for node in packed.graph.node]
    assert [node.op_type for node in adopt(packed).graph.node] == kinds


def test_weights_beside_the_file_come_into_it(foreign, digits, tmp_path):
    how = EXPORTS["dynamo, any batch"] | {"external_data": True}
    path = tmp_path / "a.onnx"
    exported(foreign, path, seen(digits[0][:2]), **how)
    apart = onnx.load(path, load_external_data=False)
    if not any(one.data_location == TensorProto.EXTERNAL for one in apart.graph.initializer):
        onnx.save(onnx.load(path), path, save_as_external_data=True, size_threshold=0, location="w")
        apart = onnx.load(path, load_external_data=False)
    with pytest.raises(
        AugcompressError, match=r"its weights lie in another file, .*; put it beside"
    ):
        adopt(apart, **HOW)
    data = adopt(onnx.load(path), **HOW).SerializeToString()
    assert onnxruntime.InferenceSession(data).get_outputs()[0].shape == ["batch", 10]


def two_inputs():
    graph = linear()
    graph.graph.input.append(value("mask", (1, 7)))
    return graph


def fixed_inside():
    """One image, taken out of its batch: no freedom."""
    nodes = [
        helper.make_node("Squeeze", ["x", "first"], ["alone"]),
        helper.make_node("Unsqueeze", ["alone", "first"], ["again"]),
        helper.make_node("Flatten", ["again"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["s"]),
    ]
    first, weights = np.array([0]), np.ones((12, 3), np.float32)
    return hand_made(nodes, [value("x", (1, 3, 2, 2))], [value("s", None)], first=first, w=weights)


REFUSED = {
    "several inputs": (two_inputs(), {}, r"has 2 inputs \(x \[n, 3, 2, 2\], mask \[1, 7\]\)"),
    "channels last": (
        linear((1, 2, 2, 3)),
        {},
        r"\[1, 2, 2, 3\], channels last .* foreign.layout: NHWC",
    ),
    "channels first": (linear(), {"layout": "NHWC"}, "channels first .*; set foreign.layout: NCHW"),
    "no images": (linear((1, 12)), {}, r"its input is \[1, 12\] and must be images \(N,C,H,W\)"),
    "whole numbers": (
        hand_made(
            [helper.make_node("Flatten", ["x"], ["y"])],
            [value("x", (1, 3, 2, 2), TensorProto.INT64)],
            [value("y", None, TensorProto.INT64)],
        ),
        {},
        "its input x is INT64; it must be float images, or uint8",
    ),
    "too few means": (
        linear(),
        {"mean": [0.1, 0.2]},
        "foreign.mean has 2 values and .* 3 channels",
    ),
    "no spread": (linear(), {"std": [1, 0, 1]}, "foreign.std must be positive"),
    "two scores": (
        linear(outputs=[value("flat", None), value("s0", None)]),
        {},
        r"gives flat \[2, 12\], s0 \[2, 3\] for 2 images, and more than one may be",
    ),
    "a map of scores": (
        hand_made(
            [helper.make_node("Relu", ["x"], ["y"])],
            [value("x", ("n", 3, 2, 2))],
            [value("y", None)],
        ),
        {},
        r"gives y \[2, 3, 2, 2\] for 2 images, and none is",
    ),
    "one class": (
        linear(last=[("ReduceMax", {"axes": [1], "keepdims": 1})]),
        {},
        r"gives s1 \[2, 1\] for 2 images, and none is",
    ),
    "one image inside": (fixed_inside(), {}, "cannot take any number of images .* dynamic batch"),
    "wrong image size": (
        linear(("n", 3, "h", "w")),
        {"size": (4, 4)},
        r"cannot be run on \[2, 3, 4, 4\]",
    ),
    "an unknown operator": (
        hand_made(
            [helper.make_node("Bloom", ["x"], ["y"])],
            [value("x", (1, 3, 2, 2))],
            [value("y", None)],
        ),
        {},
        "ONNX Runtime cannot load it",
    ),
}


@pytest.mark.parametrize("graph, how, message", REFUSED.values(), ids=list(REFUSED))
def test_what_is_no_classifier_of_images_is_refused(graph, how, message):
    with pytest.raises(AugcompressError, match=message) as caught:
        adopt(graph, **how, where="net.onnx")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_loaded_is_named():
    graph = linear()
    graph.graph.node[0].op_type = "Nope"
    with pytest.raises(AugcompressError, match=r"^mine\.onnx: ONNX Runtime cannot load it: "):
        adopt(graph, where="mine.onnx")


def test_free_sizes_are_tried_as_told(images):
    graph = adopt(linear(("n", 3, "h", "w")), size=(2, 2))
    assert [d.dim_param for d in graph.graph.input[0].type.tensor_type.shape.dim[2:]] == ["h", "w"]
    np.testing.assert_allclose(answers(graph, images), logits(images), rtol=1e-5)


def test_old_softmax_over_flattened_axes_is_converted(images):
    graph = adopt(linear(last=[("Softmax", {"axis": 1})], opset=9))
    assert {one.domain: one.version for one in graph.opset_import}[""] == 13
    assert graph.graph.output[0].name == "probabilities"
    assert answers(graph, images).sum(1) == pytest.approx(np.ones(5))


def node(operator, given, made, **attributes):
    return helper.make_node(operator, given.split(), made.split(), **attributes)


def ending(*nodes, **stored):
    """The linear classifier with these nodes behind its scores `s0`."""
    graph = linear(outputs=[value(nodes[-1].output[0], None)])
    graph.graph.node.extend(nodes)
    arrays = {name: np.asarray(array, np.float32) for name, array in stored.items()}
    graph.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    return graph


SUM = node("ReduceMean", "e", "mean", axes=[1], keepdims=1)
PROBABILITIES = {
    "softmax by parts": ending(
        node("Exp", "s0", "e"), SUM, node("Mul", "mean k", "t"), node("Div", "e t", "y"), k=3
    ),
    "softmax, clipped": ending(
        node("Softmax", "s0", "p", axis=1), node("Clip", "p lo hi", "y"), lo=1e-7, hi=1
    ),
    "mean of two": ending(
        node("Softmax", "s0", "p", axis=1),
        node("Mul", "s0 k", "z"),
        node("Softmax", "z", "q", axis=1),
        node("Mean", "p q", "y"),
        k=0.9,
    ),
    "normalised sigmoids": ending(
        node("Sigmoid", "s0", "e"), SUM, node("Mul", "mean k", "t"), node("Div", "e t", "y"), k=3
    ),
    "two columns of a sigmoid": ending(
        node("ReduceMax", "s0", "m", axes=[1], keepdims=1),
        node("Sigmoid", "m", "p"),
        node("Sub", "k p", "q"),
        node("Concat", "q p", "y", axis=1),
        k=1,
    ),
}


@pytest.fixture
def pixels():
    """Images of many brightnesses: scores of all sizes."""
    bright = np.linspace(0.1, 1, 9)[:, None, None, None]
    return (np.random.default_rng(2).integers(0, 256, (9, 3, 2, 2)) * bright).astype(np.uint8)


@pytest.mark.parametrize("graph", PROBABILITIES.values(), ids=list(PROBABILITIES))
def test_rows_that_sum_to_1_and_are_never_negative_are_probabilities(graph, pixels):
    adopted = adopt(graph, images=pixels)
    assert adopted.graph.output[0].name == "probabilities"
    model = load_onnx(adopted.SerializeToString())
    np.testing.assert_allclose(model.probabilities(pixels), model(pixels), atol=1e-6)


def test_rounded_probabilities_may_miss_1_by_a_little(pixels):
    """Numbers of few bits, as a quantised file has them: steps of 0.1."""
    rounded = [node("QuantizeLinear", "p k z", "q"), node("DequantizeLinear", "q k z", "y")]
    graph = ending(node("Softmax", "s0", "p", axis=1), *rounded, k=0.1)
    graph.graph.initializer.append(numpy_helper.from_array(np.uint8(0), "z"))
    adopted = adopt(graph, images=pixels)
    assert abs(answers(adopted, pixels).sum(1) - 1).max() > 0.05
    assert adopted.graph.output[0].name == "probabilities"


@pytest.mark.parametrize("shift", [0.0, 1 / 3])
def test_rows_that_sum_to_0_or_1_with_negative_numbers_are_logits(shift, pixels):
    centred = [SUM, node("Sub", "e mean", "c"), node("Add", "c k", "y")]
    graph = ending(node("Identity", "s0", "e"), *centred, k=shift)
    assert adopt(graph, images=pixels).graph.output[0].name == "logits"


SIGMOIDS = {
    "sigmoid": ending(node("Sigmoid", "s0", "y")),
    "sigmoid by parts": ending(
        node("Neg", "s0", "n"),
        node("Exp", "n", "e"),
        node("Add", "e k", "t"),
        node("Reciprocal", "t", "y"),
        k=1,
    ),
    "hard sigmoid": ending(node("HardSigmoid", "s0", "y")),
    "sigmoid, clipped": ending(
        node("Sigmoid", "s0", "p"), node("Clip", "p lo hi", "y"), lo=1e-7, hi=0.999
    ),
    "half of a tanh": ending(
        node("Tanh", "s0", "p"), node("Mul", "p k", "h"), node("Add", "h k", "y"), k=0.5
    ),
}


@pytest.mark.parametrize("graph", SIGMOIDS.values(), ids=list(SIGMOIDS))
def test_scores_of_each_class_by_itself_are_refused(graph, pixels):
    with pytest.raises(
        AugcompressError, match=r"each by itself .* do not sum to 1 .* gives logits"
    ):
        adopt(graph, images=pixels)


def biased(*made, batch=1, channels=3, **stored):
    """A convolution, plus the bias `b4` that `made` reshape, for a fixed batch."""
    nodes = [
        node("Conv", "x k", "c"),
        *made,
        node("Add", "c b4", "a"),
        node("GlobalAveragePool", "a", "p"),
        node("Reshape", "p rows", "f"),
        node("MatMul", "f w", "y"),
    ]
    kernel = np.eye(channels, 3, dtype=np.float32).reshape(channels, 3, 1, 1)
    stored |= {"k": kernel, "w": np.eye(channels, dtype=np.float32) * 20}
    stored |= {"rows": np.array([batch, channels])}
    bias = np.linspace(-1, 1, channels, dtype=np.float32)
    takes = [value("x", (batch, 3, 2, 2))]
    return hand_made(nodes, takes, [value("y", (batch, channels))], b=bias, **stored)


def beside(token):
    """A token put beside the rows of each image, and the largest value of both."""
    return [
        node("Concat", f"{token} c", "both", axis=-2),
        node("ReduceMax", "both", "b4", axes=[2, 3]),
    ]


TOKEN = np.array([3, -4, 0.5, 6, -7, 8], np.float32).reshape(1, 3, 1, 2)
SHAPE = helper.make_tensor("s", TensorProto.INT64, [4], [1, 3, 1, 1])
FIXED = {
    "a stored bias": biased(node("Reshape", "b s", "b4"), s=np.array([1, 3, 1, 1])),
    "a shape from a Constant": biased(
        node("Constant", "", "s", value=SHAPE), node("Reshape", "b s", "b4")
    ),
    "a bias behind other nodes": biased(
        node("Neg", "b", "n"),
        node("Neg", "n", "m"),
        node("Reshape", "m s", "b4"),
        s=np.array([1, 3, 1, 1]),
    ),
    "as many channels as images": biased(
        node("Reshape", "b s", "b4"), batch=4, channels=4, s=np.array([4, 1, 1])
    ),
    "tokens and back": biased(
        node("Reshape", "c s", "t"),  # (positions, channels) of one image after the other
        node("Reshape", "t u", "c2"),
        node("Sub", "c2 c", "b4"),
        s=np.array([12, 1]),
        u=np.array([1, 3, 2, 2]),
    ),
    "a free side": biased(
        node("Reshape", "c s", "t"),  # (channels, positions)
        node("Softmax", "t", "t2", axis=1),
        node("Reshape", "t2 u", "c2"),
        node("Sub", "c2 c", "b4"),
        s=np.array([3, -1]),
        u=np.array([-1, 3, 2, 2]),
    ),
    "a token beside each image": biased(*beside("token"), token=TOKEN),
    "a token made of another": biased(node("Neg", "t", "token"), *beside("token"), t=TOKEN),
    "a token from a Constant": biased(
        node("Constant", "", "token", value=numpy_helper.from_array(TOKEN)), *beside("token")
    ),
    "a token for each of four images": biased(
        *beside("token"), batch=4, token=np.repeat(TOKEN, 4, 0)
    ),
    "a token, expanded to four": biased(
        node("Expand", "t s", "token"), *beside("token"), batch=4, t=TOKEN, s=np.array([4, 3, 1, 2])
    ),
    "images resized at once": biased(
        helper.make_node("Resize", ["x", "", "", "s"], ["wide"], mode="linear"),
        node("ReduceMax", "wide", "b4", axes=[2, 3]),
        s=np.array([1, 3, 4, 6]),
    ),
    "resized to a size": biased(
        helper.make_node("Resize", ["c", "", "", "s"], ["wide"], mode="nearest"),
        node("ReduceMax", "wide", "b4", axes=[2, 3]),
        s=np.array([1, 3, 4, 6]),
    ),
}


@pytest.mark.parametrize("graph", FIXED.values(), ids=list(FIXED))
def test_a_fixed_batch_is_freed_and_constants_stay(graph, pixels):
    """The same network with its batch declared free says what is right, one image a call."""
    size = graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    want = [
        session.run(None, {"x": np.repeat(one[None], size, 0).astype(np.float32) / 255})[0][0]
        for one in pixels
    ]
    got = load_onnx(adopt(graph, images=pixels).SerializeToString())(pixels)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("takes", [(-1, 3, 2, 2), (0, 3, 2, 2), (-1, 3, -1, -1)])
def test_dimensions_below_one_are_free(takes, pixels):
    graph = adopt(linear(takes), images=pixels, size=(2, 2))
    assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    np.testing.assert_allclose(
        answers(graph, pixels), logits(pixels.astype(np.float32) / 255), rtol=1e-4
    )


def normed(**attributes):
    """A batch norm before the flattening, with its outputs for training where it is trained."""
    learns = {"mean2", "var2"} if attributes else set()
    graph = linear()
    made = " ".join(["z", *sorted(learns)])
    graph.graph.node.insert(
        0, node("BatchNormalization", "x s o m v", made, name="bn1", **attributes)
    )
    graph.graph.node[1].input[0] = "z"
    ones = {"s": 1.0, "o": 0.0, "m": 0.0, "v": 1.0}
    arrays = {name: np.full(3, number, np.float32) for name, number in ones.items()}
    graph.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    return graph


def with_weights(number):
    graph = linear()
    spoilt = WEIGHTS.copy()
    spoilt[0, 0] = number
    graph.graph.initializer[0].CopyFrom(numpy_helper.from_array(spoilt, "w"))
    return graph


FAULTS = {
    "batch norm in training mode": (normed(training_mode=1), "batch norm bn1 is in training mode"),
    "statistics of the batch by parts": (
        ending(node("ReduceMean", "s0", "m", axes=[0], keepdims=1), node("Sub", "s0 m", "y")),
        "other scores among other images",
    ),
    "noise": (
        ending(node("RandomNormalLike", "s0", "r"), node("Add", "s0 r", "y")),
        r"other scores for the same images each time \(RandomNormalLike\)",
    ),
    "noise with a seed": (
        ending(node("RandomNormalLike", "s0", "r", seed=1.0), node("Add", "s0 r", "y")),
        r"other scores for the same images each time \(RandomNormalLike\)",
    ),
    "NaN weights": (with_weights(np.nan), r"for 9 of 9 images, as its weights w hold NaN"),
    "infinite weights": (with_weights(np.inf), r"NaN or infinite scores .* check mean, std"),
}


@pytest.mark.parametrize("graph, message", FAULTS.values(), ids=list(FAULTS))
def test_each_fault_has_its_own_sentence(graph, message, pixels):
    with pytest.raises(AugcompressError, match=f"net.onnx: .*{message}") as caught:
        adopt(graph, images=pixels, where="net.onnx")
    assert "dynamic batch" not in str(caught.value)


def test_batch_norm_in_evaluation_mode_is_none_of_them(pixels):
    np.testing.assert_allclose(
        answers(adopt(normed(), images=pixels), pixels),
        logits(pixels.astype(np.float32) / 255),
        rtol=1e-3,
    )


@pytest.mark.parametrize("level, marked", [("BASIC", False), ("EXTENDED", True), ("ALL", True)])
def test_a_file_that_onnx_runtime_has_optimised_is_told(level, marked, tmp_path):
    nodes = [
        node("Conv", "x k", "c"),
        node("Relu", "c", "r"),
        node("GlobalAveragePool", "r", "p"),
        node("Flatten", "p", "y"),
    ]
    kernel = np.random.default_rng(0).normal(size=(16, 3, 1, 1)).astype(np.float32)
    graph = hand_made(nodes, [value("x", ("n", 3, 2, 2))], [value("y", None)], k=kernel)
    options = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = getattr(levels, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(graph.SerializeToString(), options)
    assert optimizer_operators(graph) == []
    assert bool(optimizer_operators(onnx.load(tmp_path / "optimised.onnx"))) is marked
