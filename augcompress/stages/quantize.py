"""quantize: the network as a graph of smaller numbers, checked on the reopened file."""

from __future__ import annotations

from pathlib import Path

from augcompress import measures
from augcompress.compressions import GraphCompression, resolve
from augcompress.errors import AugcompressError, LimitError
from augcompress.evidence import Measurement
from augcompress.exporters import is_quantized, read_graph, save
from augcompress.networks import GRAPH
from augcompress.running import Context, Input, Inputs, Output, Sources, Stage
from augcompress.scoring import accuracy, predict, predict_with_onnx
from augcompress.shipping import FLOAT_GRAPH, Origin, calibration, check_parity, open_origin
from augcompress.spec import require_section
from augcompress.storage import write_aside


def inputs(sources: Sources) -> dict[str, Input]:
    """The float network, or a float graph."""
    return {"source": sources.source("quantize")}


def body(context: Context, inputs: Inputs, folder: Path) -> Output:
    """Export, pack step by step, reopen, check promises, parity and accuracy."""
    section = require_section(context.spec, "quantize")
    exporter = context.spec.export.headline
    origin = open_origin(context, inputs["source"], "quantize", exporter, marked=True)
    graph, notes = origin.graph, origin.notes
    if is_quantized(graph):
        raise AugcompressError(
            f"quantize: {inputs['source'].path.name} is quantised already; give its float file"
        )
    steps = [resolve(step, GraphCompression) for step in section.steps]
    for step in steps:
        context.reporter.message(f"{step.kind}: calibrating")
        graph = step.pack(graph, notes, lambda: calibration(context))
    with write_aside(folder / GRAPH) as aside:
        save(graph, aside)
    if origin.network is None:  # nobody else knows what it was
        save(origin.graph, folder / FLOAT_GRAPH)
    reopened = read_graph(folder / GRAPH)
    rows = [row for step in steps for row in step.check(reopened)]
    rows += check_parity(context, exporter, folder / GRAPH, origin, quantized=True)
    rows.append(measures.size_bytes(folder / GRAPH, subject=GRAPH))
    found = predict(predict_with_onnx(folder / GRAPH, context), context, "validation")
    scores = accuracy(found, GRAPH)
    check_drop(context, origin, scores[0], section.max_drop)
    decided = [told_as_text(s.kind, notes[s.kind]) for s in steps if s.kind in notes]
    return Output(GRAPH, scores + rows, found, decided)


def told_as_text(kind: str, told: dict) -> str:
    """What a step decided, in words: `static_int8: reduce_range false, samples 512`."""
    return f"{kind}: " + ", ".join(f"{name} {str(value).lower()}" for name, value in told.items())


def check_drop(
    context: Context, origin: Origin, score: Measurement, max_drop: float | None
) -> None:
    """Raises LimitError when the graph lost more validation top-1 than allowed."""
    if max_drop is None:
        return
    before = accuracy(predict(origin.predict_function(context), context, "validation"), "float")[0]
    if before.value - score.value > max_drop:
        raise LimitError(
            f"quantize.max_drop: validation top-1 fell from {before.value:.4f} to {score.value:.4f}"
            f" (n={score.n}), more than {max_drop}; exclude layers, calibrate on more samples, or"
            " raise the limit"
        )


STAGE = Stage(
    "quantize",
    inputs,
    body,
    makes="graph",
    reads=lambda spec: {"targets": spec.export.targets[:1]},  # it shapes the graph
)
