"""export: the file to ship, verified on real images, measured on test, dressed in metadata."""

from __future__ import annotations

import tempfile
from pathlib import Path

from augcompress.assembly.artifacts import GRAPH, Network, open_network
from augcompress.assembly.context import Context
from augcompress.assembly.delivery import (
    Baseline,
    check_parity,
    compare,
    graph_of,
    metadata,
    open_baselines,
    read_graph,
    score_shipped,
)
from augcompress.assembly.scoring import check_graph_fits
from augcompress.assembly.stage import Input, Inputs, Output, Runner, Stage
from augcompress.exporters import OnnxExporter, dress, save
from augcompress.records import Measurement
from augcompress.rundir import write_aside


def inputs(runner: Runner) -> dict[str, Input]:
    """The artefact to ship; the float network it came from and the teacher, to compare with."""
    source = runner.source("export")
    found = {"source": source}
    if source.path.suffix != ".onnx":
        found["float"] = source
    elif (before := runner.network_before("export")) is not None:
        found["float"] = before
    if (teacher := runner.teacher()) is not None:
        found["teacher"] = teacher
    return found


def body(context: Context, inputs: Inputs, folder: Path) -> Output:
    """Write, verify, measure; the file gets its final name when all of it holds."""
    settings = context.spec.export.targets[0]
    with tempfile.TemporaryDirectory() as scratch:
        baselines = open_baselines(context, inputs, settings, Path(scratch))
        draft = Path(scratch) / GRAPH
        write_draft(context, inputs, settings, baselines, draft)
        rows = verify(context, inputs, settings, baselines, draft)
        scores, found = score_shipped(context, draft)
        classes = tuple(context.data.classes)
        graph = dress(read_graph(draft), metadata(context, classes, scores))
        with write_aside(folder / GRAPH) as aside:
            save(graph, aside)
        scores, found = score_shipped(context, folder / GRAPH)
        for baseline in baselines:
            context.reporter.message(f"export: comparing with the {baseline.role}'s fp32 file")
            rows += compare(context, folder / GRAPH, found, baseline)
    notes = context.data_notes()
    if "float" not in inputs:
        notes.append("parity: not checked, the float network of this graph is not known")
    return Output(GRAPH, scores + rows, found, notes)


def write_draft(
    context: Context, inputs: Inputs, settings: OnnxExporter, baselines: list[Baseline], draft: Path
) -> None:
    """The graph as it is, or the network as a graph."""
    source = inputs["source"].path
    graph = read_graph(source) if source.suffix == ".onnx" else None
    if graph is not None:
        check_graph_fits(context, source)
    save(graph or graph_of(context, float_network(context, inputs, baselines), settings), draft)


def float_network(context: Context, inputs: Inputs, baselines: list[Baseline]) -> Network:
    """The network that the file stands for."""
    known = [baseline.network for baseline in baselines if baseline.role == "float"]
    return known[0] if known else open_network(context, inputs["source"].path, None, "export")


def verify(
    context: Context, inputs: Inputs, settings: OnnxExporter, baselines: list[Baseline], draft: Path
) -> list[Measurement]:
    """Parity with the float network, where it is known.

    Raises LimitError when it does not hold.
    """
    if "float" not in inputs:
        return []
    quantized = inputs["source"].path.suffix == ".onnx"
    network = float_network(context, inputs, baselines)
    rows = check_parity(context, draft, network, settings, quantized=quantized)
    if quantized:
        return rows
    return rows + [
        row
        for applied in network.compressions
        for row in applied.compression.check_file(read_graph(draft), applied.history)
    ]


STAGE = Stage("export", inputs, body, makes="graph")
