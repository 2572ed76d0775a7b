"""export: the file to ship, verified on real images, measured on test, dressed in metadata."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx

from augcompress import measures
from augcompress.errors import LimitError
from augcompress.evidence import LAYERS_FILE, Measurement, Predictions, write_layers
from augcompress.exporters import OnnxExporter, dress, is_quantized, read_graph, save, save_ort
from augcompress.networks import GRAPH, same_but_for_metadata, stored_types
from augcompress.running import Context, Input, Inputs, Output, Sources, Stage
from augcompress.scoring import (
    measure_calibration,
    measure_quality,
    predict,
    predict_with_onnx,
    with_role,
)
from augcompress.shipping import (
    FLOAT_GRAPH,
    Baseline,
    Origin,
    check_baseline,
    check_parity,
    compare,
    layers,
    metadata,
    open_baselines,
    open_origin,
)
from augcompress.shipping import package as deliverable
from augcompress.storage import digest_file, write_aside

ORT_FILE = "model.ort"


def inputs(sources: Sources) -> dict[str, Input]:
    """The artefact to ship; what it was in floating point and the teacher, to compare with."""
    source = sources.source("export")
    found = {"source": source}
    beside = source.path.with_name(FLOAT_GRAPH)
    if source.path.suffix != ".onnx":
        found["float"] = source
    elif source.stage == "quantize" and beside.is_file():
        found["float"] = Input(beside, digest_file(beside))
    elif (before := sources.network_before("export")) is not None:
        found["float"] = before
    elif source.stage == "quantize":
        found["float"] = sources.source("quantize")
    elif not is_quantized(read_graph(source.path)):
        found["float"] = source
    if (teacher := sources.teacher()) is not None:
        found["teacher"] = teacher
    return found


def body(context: Context, inputs: Inputs, folder: Path) -> Output:
    """Write, verify, measure; the file gets its final name when all of it holds."""
    settings = context.spec.export.targets[0]
    with tempfile.TemporaryDirectory() as scratch:
        baselines = open_baselines(context, inputs, settings, Path(scratch))
        graph = graph_to_ship(context, inputs, settings, baselines)
        shipped, scores = score(context, graph)
        draft = Path(scratch) / GRAPH
        save(dress(graph, metadata(context, graph, scores)), draft)
        rows = verify(context, inputs, graph, baselines, draft)
        if settings.ort_format:
            save_ort(draft, draft.with_name(ORT_FILE))
            verify_parity(context, inputs, graph, baselines, draft.with_name(ORT_FILE))
        others: dict[str, Predictions] = {}
        for baseline in baselines:
            if context.spec.export.keep_baselines:
                check_baseline(context, baseline)
            compared, others[baseline.role] = compare(context, draft, shipped, baseline)
            rows += compared
        rows = [*scores, *file_costs(draft), *rows]
        write_beside(context, folder, baselines, graph, shipped, others)
        ship(context, folder, Path(scratch), baselines)
    known = "float" in inputs and origin_of(baselines, "float").network is not None
    deliverable.write_card(context, folder, rows, foreign=not known)
    deliverable.write_sums(folder)
    notes = context.data_notes()
    if "float" not in inputs:
        notes.append("parity: not checked, the float network of this graph is not known")
    return Output(GRAPH, rows, shipped, notes)


def graph_to_ship(
    context: Context, inputs: Inputs, settings: OnnxExporter, baselines: list[Baseline]
) -> onnx.ModelProto:
    """The graph as it is, or the network as a graph."""
    if inputs["source"].path.suffix != ".onnx":
        return origin_of(baselines, "float").graph
    return open_origin(context, inputs["source"], "export", settings).graph


def origin_of(baselines: list[Baseline], role: str) -> Origin:
    """The origin of a baseline that is there."""
    return next(baseline.origin for baseline in baselines if baseline.role == role)


def score(context: Context, graph: onnx.ModelProto) -> tuple[Predictions, list[Measurement]]:
    """The graph on all test images, run as it ships."""
    function = predict_with_onnx(graph.SerializeToString(), context)
    found = predict(function, context, "test")
    rows = measure_quality(found, GRAPH, "shipped")
    return found, rows + measure_calibration(function, context, found, GRAPH, "shipped")


def file_costs(file: Path) -> list[Measurement]:
    """Bytes, as they are and compressed, time to load and memory."""
    rows = [
        measures.size_bytes(file, subject=file.name),
        *measures.footprint(file, subject=file.name),
    ]
    return [with_role(row, "shipped") for row in rows]


def verify(
    context: Context,
    inputs: Inputs,
    graph: onnx.ModelProto,
    baselines: list[Baseline],
    draft: Path,
) -> list[Measurement]:
    """The reopened file: the graph that was measured, and it does what its network does.

    Raises LimitError when that does not hold.
    """
    reopened = read_graph(draft)
    if not same_but_for_metadata(reopened, graph):
        raise LimitError(f"{draft.name}: holds another graph than was written; export it again")
    rows = verify_parity(context, inputs, graph, baselines, draft)
    network = origin_of(baselines, "float").network if "float" in inputs else None
    if network is None or is_quantized(graph):
        return rows
    return rows + [
        row
        for applied in network.standing()
        for row in applied.compression.check_file(reopened, applied.history)
    ]


def verify_parity(
    context: Context,
    inputs: Inputs,
    graph: onnx.ModelProto,
    baselines: list[Baseline],
    file: Path,
) -> list[Measurement]:
    """A written file against its float network on real images, where that is known.

    Raises LimitError when it does not hold.
    """
    if "float" not in inputs:
        return []
    origin, settings = origin_of(baselines, "float"), context.spec.export.targets[0]
    return check_parity(context, file, origin, settings, quantized=is_quantized(graph))


def write_beside(
    context: Context,
    folder: Path,
    baselines: list[Baseline],
    graph: onnx.ModelProto,
    shipped: Predictions,
    others: dict[str, Predictions],
) -> None:
    """What `compare` and `report` read later: answers of the baselines, layers, examples."""
    for role, found in others.items():
        found.save(folder / f"predictions-{role}.npz")
    networks = [b.origin.network for b in baselines if b.role == "float"]
    if networks and networks[0] is not None:
        rows = layers(context, networks[0], stored_types(graph))
        write_layers(folder / LAYERS_FILE, rows)
    deliverable.write_examples(context, folder, shipped, others)
    deliverable.write_scripts(context, folder, graph)


def ship(context: Context, folder: Path, drafts: Path, baselines: list[Baseline]) -> None:
    """Give verified files their final names."""
    kept = [b.file.name for b in baselines] if context.spec.export.keep_baselines else []
    for name in (*kept, ORT_FILE, GRAPH):
        if (drafts / name).exists():
            with write_aside(folder / name) as aside:
                aside.write_bytes((drafts / name).read_bytes())


STAGE = Stage(
    "export",
    inputs,
    body,
    makes="graph",
    reads=lambda spec: {"recipe": spec.digest(), "title": spec.name},  # stand in file and card
    version=2,
)
