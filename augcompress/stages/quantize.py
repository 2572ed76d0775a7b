"""quantize: the network as a graph of smaller numbers, checked on the reopened file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from augcompress import measures
from augcompress.compressions import Decisions, GraphCompression, GraphProbe, resolve_steps
from augcompress.errors import AugcompressError, LimitError
from augcompress.evidence import Measurement
from augcompress.graphs import dress, is_quantized, optimizer_operators, read_graph, save
from augcompress.learning import check_promises, compress_network, compression_inputs
from augcompress.networks import GRAPH, WEIGHTS
from augcompress.running import (
    Context,
    Input,
    Inputs,
    Output,
    Sources,
    Stage,
    rank_zero_only,
    training_reads,
)
from augcompress.scoring import accuracy, predict, predict_with_onnx
from augcompress.shipping import (
    FLOAT_GRAPH,
    Origin,
    calibration,
    check_file_promises,
    check_parity,
    open_origin,
    usage,
)
from augcompress.spec import QuantizeSection, Spec, require_section
from augcompress.storage import write_aside


def inputs(sources: Sources) -> dict[str, Input]:
    """The float network, or a float graph; the teacher where an objective follows one."""
    return compression_inputs(sources, "quantize")


def body(context: Context, inputs: Inputs, folder: Path) -> Output:
    """Take the network through its steps; export it and pack its graph; check, measure."""
    section: QuantizeSection = require_section(context.spec, "quantize")
    on_network, on_graph = resolve_steps(section.steps, "quantize")
    source = inputs["source"]
    if on_network and source.path.suffix == ".onnx":
        raise AugcompressError(
            f"quantize.steps.0: {on_network[0].kind} works on a network, and {source.path.name} is"
            " a graph; start from model.safetensors"
        )
    promises = list[Measurement]()
    if on_network:
        _, promises = compress_network(context, "quantize", inputs, folder)
        source = replace(source, path=folder / WEIGHTS)
    output = rank_zero_only(
        context, lambda: make_graph(context, source, inputs["source"], on_graph, folder)
    )
    if output is None:
        return Output(GRAPH)
    return replace(output, measurements=[*output.measurements, *promises])


def make_graph(
    context: Context, source: Input, began_with: Input, steps: list[GraphCompression], folder: Path
) -> Output:
    """Export, pack step by step, reopen, check promises, parity and accuracy."""
    section: QuantizeSection = require_section(context.spec, "quantize")
    exporter = context.spec.export.headline
    origin = open_origin(context, source, "quantize", exporter, marked=True)
    if is_quantized(origin.graph):
        raise AugcompressError(
            f"quantize: {source.path.name} is quantised already; give its float file"
        )
    if made := optimizer_operators(origin.graph):
        raise AugcompressError(
            f"quantize: {source.path.name} has been optimised by ONNX Runtime already"
            f" ({', '.join(made[:3])}), which hides its layers; give the file from before that"
        )
    graph, decided = packed(context, origin, steps)
    with write_aside(folder / GRAPH) as aside:
        save(dress(graph, usage(context)), aside)
    if origin.network is None:  # nobody else knows what it was
        save(origin.graph, folder / FLOAT_GRAPH)
    rows = check_graph(read_graph(folder / GRAPH), origin, steps)
    rows += check_parity(context, exporter, folder / GRAPH, origin, quantized=bool(steps))
    rows.append(measures.size_bytes(folder / GRAPH, subject=GRAPH))
    found = predict(predict_with_onnx(folder / GRAPH, context), context, "validation")
    scores = accuracy(found, GRAPH)
    if section.max_drop is not None:
        before = origin
        if source != began_with:
            before = open_origin(context, began_with, "quantize", exporter)
        check_drop(context, before, scores[0], section.max_drop)
    return Output(GRAPH, scores + rows, found, decided)


def packed(
    context: Context, origin: Origin, steps: list[GraphCompression]
) -> tuple[onnx.ModelProto, list[str]]:
    """The graph after all steps, and what they decided, in words."""
    graph, sentences = origin.graph, list[str]()
    probe = GraphProbe(
        calibration=lambda: calibration(context),
        score=lambda graph: graph_score(context, graph),
        reference=origin.reference,
    )
    for step in steps:
        context.reporter.message(f"{step.kind}: calibrating")
        graph, decisions = step.pack(graph, origin.notes, probe)
        if decisions:
            sentences.append(format_decisions(step.kind, decisions))
    return graph, sentences


def graph_score(context: Context, graph: onnx.ModelProto) -> float:
    """Top-1 of a graph on validation."""
    found = predict(predict_with_onnx(graph.SerializeToString(), context), context, "validation")
    return accuracy(found, GRAPH)[0].value


def check_graph(
    graph: onnx.ModelProto, origin: Origin, steps: list[GraphCompression]
) -> list[Measurement]:
    """The promises of all steps, measured on the reopened file and the reopened network.

    Raises LimitError when one is not kept.
    """
    rows = [row for step in steps for row in step.check(graph)]
    if origin.network is not None:
        check_promises(origin.network)
        rows += check_file_promises(graph, origin.network)
    return rows


def format_decisions(kind: str, decisions: Decisions) -> str:
    """What a step decided, in words: `static_int8: reduce_range false, samples 512`."""
    listed = (f"{name} {str(value).lower()}" for name, value in decisions.items())
    return f"{kind}: " + ", ".join(listed)


def check_drop(context: Context, before: Origin, score: Measurement, max_drop: float) -> None:
    """Raises LimitError when the graph lost more validation top-1 than allowed."""
    had = accuracy(predict(before.predict_function(context), context, "validation"), "float")[0]
    if had.value - score.value > max_drop:
        raise LimitError(
            f"quantize.max_drop: validation top-1 fell from {had.value:.4f} to {score.value:.4f}"
            f" (n={score.n}), more than {max_drop}; exclude layers, calibrate on more samples, or"
            " raise the limit"
        )


def reads(spec: Spec) -> dict[str, Any]:
    """The first target shapes the graph; augmentations and sampling shape what is trained."""
    section = require_section(spec, "quantize")
    trained = training_reads("quantize")(spec) if section.training is not None else {}
    return {"targets": spec.export.targets[:1], **trained}


STAGE = Stage("quantize", inputs, body, makes="graph", reads=reads, trains=True, version=2)
