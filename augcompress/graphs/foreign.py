"""Foreign graphs: ONNX classifiers from elsewhere, brought to the package's convention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from augcompress.errors import AugcompressError, first_line
from augcompress.graphs.batches import free_batch
from augcompress.graphs.edits import (
    BATCH_NAME,
    drop_unused,
    graph_copy,
    is_quantized,
    name_free_dimensions,
    name_nodes,
    opset_of,
    put_before,
    put_behind,
    shape_of,
    simplified,
)
from augcompress.graphs.foreign_input import Reading, read_input
from augcompress.graphs.foreign_output import Scores, original_rows, running
from augcompress.graphs.foreign_refusals import (
    company_error,
    fixed_batch_error,
    optimized_error,
    random_error,
    require_evaluation,
)
from augcompress.graphs.names import strip
from augcompress.graphs.reading import stored_tensors, weight_files
from augcompress.inference import load_onnx, runtime_errors

PRODUCER = "augcompress"
LEAST_OPSET = 13
"""First version of the operators with quantisation per channel."""
LEAST_IR = 8
"""Version of the file format, at least: weights need not be inputs."""
CLOSE = 1e-3
"""Largest difference to the original's outputs, relative to the largest one (or to 1)."""


def is_foreign(graph: ModelProto) -> bool:
    """Did something else than augcompress make it?"""
    return graph.producer_name != PRODUCER


def adopt(
    graph: ModelProto,
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    scale: float = 1.0,
    layout: Literal["NCHW", "NHWC"] = "NCHW",
    size: tuple[int, int] | None = None,
    where: str = "graph",
    images: np.ndarray | None = None,
) -> ModelProto:
    """A copy in our convention: `input`, images in [0,1] `(N,C,H,W)`, any N, float32; `logits`, or
    `probabilities` where the rows sum to 1 and are never negative, `(N,classes)`.

    The original was trained on `(x * scale - mean) / std` per channel, x in [0,1] (scale 255: on 0
    to 255), laid out as `layout`; these steps go into the graph.  An original that takes uint8
    images keeps doing so, 0 to 255, without them.  `size`: height and width to try the copy with
    where the graph leaves them free.  Constants and batch norm are folded, operators brought to
    opset 13 where they are older, a batch fixed by reshapes is freed, and descriptions are removed.
    The copy is compared with the original on `images`, uint8 `(N,C,H,W)` (three of noise where
    there are none), all at once and as batches of one and of three.

    Raises AugcompressError, beginning with `where`, when the graph is no classifier of one image
    input and one output of class scores, takes another layout, is in training mode, holds NaN,
    chooses each class by itself (sigmoid), or cannot be made to take batches.
    """
    original = _plain(graph, where)
    require_evaluation(original, where)
    reading = read_input(original, mean, std, scale, layout, size, where)
    seen = reading.trial(3) if images is None else images
    output = Scores.find(original, reading, seen, where)
    adopted = _modern(original, where)
    _free(adopted, reading)
    _keep_output(adopted, output)
    drop_unused(adopted.graph)
    put_before(adopted.graph, reading.steps(adopted), reading.kind, reading.takes())
    put_behind(adopted.graph, output.steps(), output.name, [BATCH_NAME, output.classes])
    adopted = _finished(adopted, reading, where)
    _require_same(original, adopted, reading, output, seen, where)
    return adopted


def _plain(graph: ModelProto, where: str) -> ModelProto:
    """A copy whose weights are in the file and not among its inputs."""
    plain = graph_copy(graph)
    if any(one.data_location == TensorProto.EXTERNAL for one in stored_tensors(plain)):
        raise AugcompressError(
            f"{where}: its weights lie in another file, {', '.join(weight_files(plain))}; put it"
            " beside the graph"
        )
    name_free_dimensions(plain.graph)
    stored = {one.name for one in plain.graph.initializer}
    inputs = [one for one in plain.graph.input if one.name not in stored]
    del plain.graph.input[:]
    plain.graph.input.extend(inputs)
    plain.ir_version = max(plain.ir_version, LEAST_IR)
    return plain


def _modern(graph: ModelProto, where: str) -> ModelProto:
    """A copy in an opset that quantisation knows."""
    if opset_of(graph) >= LEAST_OPSET:
        return graph_copy(graph)
    try:
        return onnx.version_converter.convert_version(graph, LEAST_OPSET)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise optimized_error(graph, where) or AugcompressError(
            f"{where}: opset {opset_of(graph)} cannot be converted to {LEAST_OPSET}"
            f" ({first_line(error)}); export it with opset {LEAST_OPSET} or later"
        ) from error


def _free(graph: ModelProto, reading: Reading) -> None:
    """Forget a fixed batch, and the shapes that were inferred from it."""
    del graph.graph.value_info[:]
    if reading.batch is not None:
        inferred = onnx.shape_inference.infer_shapes(graph).graph.value_info
        shapes = {one.name: shape_of(one) for one in inferred}
        free_batch(graph.graph, reading.batch, shapes)


def _keep_output(graph: ModelProto, output: Scores) -> None:
    kept = [one for one in graph.graph.output if one.name == output.source]
    del graph.graph.output[:]
    graph.graph.output.extend(kept)


def _finished(graph: ModelProto, reading: Reading, where: str) -> ModelProto:
    """Folded, stripped, with named nodes."""
    adapted = graph
    try:
        graph = graph if is_quantized(graph) else simplified(graph)
        strip(graph)
        name_nodes(graph.graph)
        graph.producer_name, graph.producer_version = PRODUCER, ""
        onnx.checker.check_model(graph)
    except runtime_errors(onnx.checker.ValidationError) as error:
        if (told := optimized_error(adapted, where)) is not None or reading.batch is not None:
            raise told or fixed_batch_error(where, first_line(error)) from error
        raise AugcompressError(
            f"{where}: ONNX Runtime cannot load what is made of it ({first_line(error)}); export it"
            " again"
        ) from error
    return graph


def _require_same(
    original: ModelProto,
    adopted: ModelProto,
    reading: Reading,
    output: Scores,
    images: np.ndarray,
    where: str,
) -> None:
    """All images, and batches of one and of three, give the rows that the original gives."""
    model, want = load_onnx(adopted.SerializeToString()), output.rows
    for count in (1, 3, len(images)):
        try:
            got = model(images[:count])
        except runtime_errors() as error:
            raise fixed_batch_error(where, first_line(error)) from error
        if not _close(got, want[:count]):
            raise _difference(original, reading, output, images, count, where)


def _close(got: np.ndarray, want: np.ndarray) -> bool:
    allowed = CLOSE * max(1.0, float(np.abs(want).max()))
    return got.shape == want.shape and bool(np.abs(got - want).max() <= allowed)


def _difference(
    original: ModelProto,
    reading: Reading,
    output: Scores,
    images: np.ndarray,
    count: int,
    where: str,
) -> AugcompressError:
    """Why an adopted graph gives other rows: the original's own fault, or a batch that stays."""
    run = running(original, reading, where)
    once, again = (original_rows(run, output.source, images, reading.batch) for _ in range(2))
    if not _close(again, once):
        return random_error(original, where)
    if reading.batch != 1 and len(images) > 1:
        others = np.roll(np.arange(len(images)), 1)
        size = reading.batch or len(images)
        together = original_rows(run, output.source, images[others], size)
        if not _close(together, output.rows[others]):
            return company_error(where)
    return fixed_batch_error(where, f"{count} images at once give other scores")
