"""Foreign graphs: ONNX classifiers from elsewhere, brought to the package's convention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from augcompress.errors import AugcompressError, first_line
from augcompress.exporters.base import filled
from augcompress.exporters.foreign_input import Reading, read_input
from augcompress.exporters.foreign_output import Scores
from augcompress.exporters.graph_edits import (
    BATCH_NAME,
    drop_unused,
    free_batch,
    graph_copy,
    is_quantized,
    name_nodes,
    opset_of,
    put_before,
    put_behind,
    simplified,
)
from augcompress.exporters.graph_names import strip
from augcompress.exporters.sessions import RUNTIME_ERRORS, load_onnx, open_session

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
    `probabilities` where the last step is a softmax over classes, `(N,classes)`.

    The original was trained on `(x * scale - mean) / std` per channel, x in [0,1] (scale 255: on 0
    to 255), laid out as `layout`; these steps go into the graph.  An original that takes uint8
    images keeps doing so, 0 to 255, without them.  `size`: height and width to try the copy with
    where the graph leaves them free.  Constants and batch norm are folded, operators brought to
    opset 13 where they are older, a batch fixed by reshapes is freed, and descriptions are removed.
    The copy is compared with the original on `images`, uint8 `(N,C,H,W)` (three of noise where
    there are none), all at once and as batches of one and of three.

    Raises AugcompressError, beginning with `where`, when the graph is no classifier of one image
    input and one output of class scores, takes another layout, or cannot be made to take batches.
    """
    original = _plain(graph, where)
    reading = read_input(original, mean, std, scale, layout, size, where)
    output = Scores.find(original, reading, where)
    adopted = _modern(original, where)
    _free(adopted, reading)
    _keep_output(adopted, output)
    drop_unused(adopted.graph)
    put_before(adopted.graph, reading.steps(adopted), reading.kind, reading.takes())
    put_behind(adopted.graph, output.steps(), output.name, [BATCH_NAME, output.classes])
    adopted = _finished(adopted, where)
    seen = reading.trial(3) if images is None else images
    _require_same(original, adopted, reading, output, seen, where)
    return adopted


def _plain(graph: ModelProto, where: str) -> ModelProto:
    """A copy whose weights are in the file and not among its inputs."""
    plain = graph_copy(graph)
    outside = [one for one in plain.graph.initializer if one.data_location == TensorProto.EXTERNAL]
    if outside:
        files = {entry.value for entry in outside[0].external_data if entry.key == "location"}
        raise AugcompressError(
            f"{where}: its weights lie in another file, {', '.join(files)}; put it beside the graph"
        )
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
        raise AugcompressError(
            f"{where}: opset {opset_of(graph)} cannot be converted to {LEAST_OPSET}"
            f" ({first_line(error)}); export it with opset {LEAST_OPSET} or later"
        ) from error


def _free(graph: ModelProto, reading: Reading) -> None:
    """Forget a fixed batch, and the shapes that were inferred from it."""
    del graph.graph.value_info[:]
    if reading.batch is not None:
        free_batch(graph.graph, reading.batch)


def _keep_output(graph: ModelProto, output: Scores) -> None:
    kept = [one for one in graph.graph.output if one.name == output.source]
    del graph.graph.output[:]
    graph.graph.output.extend(kept)


def _finished(graph: ModelProto, where: str) -> ModelProto:
    """Folded, stripped, with named nodes."""
    try:
        graph = graph if is_quantized(graph) else simplified(graph)
        strip(graph)
        name_nodes(graph.graph)
        graph.producer_name, graph.producer_version = PRODUCER, ""
        onnx.checker.check_model(graph)
    except (*RUNTIME_ERRORS, onnx.checker.ValidationError) as error:
        raise _fixed_batch_error(where, first_line(error)) from error
    return graph


def _fixed_batch_error(where: str, reason: str) -> AugcompressError:
    return AugcompressError(
        f"{where}: cannot take any number of images ({reason}); its shapes are fixed to the batch"
        " it was exported with: export it with a dynamic batch axis"
    )


def _require_same(
    original: ModelProto,
    adopted: ModelProto,
    reading: Reading,
    output: Scores,
    images: np.ndarray,
    where: str,
) -> None:
    """All images, and batches of one and of three, give the rows that the original gives."""
    want = _rows(original, reading, images, output)
    model = load_onnx(adopted.SerializeToString())
    allowed = CLOSE * max(1.0, float(np.abs(want).max()))
    for count in (1, 3, len(images)):
        try:
            got = model(images[:count])
        except RUNTIME_ERRORS as error:
            raise _fixed_batch_error(where, first_line(error)) from error
        if got.shape != want[:count].shape or not np.abs(got - want[:count]).max() <= allowed:
            raise _fixed_batch_error(where, f"{count} images at once give other scores")


def _rows(graph: ModelProto, reading: Reading, images: np.ndarray, output: Scores) -> np.ndarray:
    """The original's scores `(N,classes)`, in calls of its own batch or one by one."""
    session = open_session(graph.SerializeToString())
    name, size = graph.graph.input[0].name, reading.batch or 1
    rows = []
    for start in range(0, len(images), size):
        part = reading.seen(images[start : start + size])
        (found,) = session.run([output.source], {name: filled(part, size)})
        rows.append(found.reshape(len(found), -1)[: len(part)])
    return np.concatenate(rows).astype(np.float32)
