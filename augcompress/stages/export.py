"""export: the files to ship, verified on real images, measured on test, described."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

from augcompress.errors import AugcompressError
from augcompress.evidence import LAYERS_FILE, Measurement, Predictions, gained_nothing, write_layers
from augcompress.graphs import is_quantized, read_graph
from augcompress.networks import GRAPH, WEIGHTS, stored_types
from augcompress.running import Context, Input, Inputs, Output, Sources, Stage
from augcompress.shipping import (
    FLOAT,
    FLOAT_GRAPH,
    SHIPPED,
    TEACHER,
    Baseline,
    Origin,
    WrittenTarget,
    check_baseline,
    compare,
    file_costs,
    layer_costs,
    measure_baseline,
    open_baselines,
    open_origin,
    twin_of,
    under_another_role,
    verify,
    write_target,
)
from augcompress.shipping import package as deliverable
from augcompress.storage import digest_file, write_aside


def inputs(sources: Sources) -> dict[str, Input]:
    """The artefact to ship; what it was in floating point and the teacher, to compare with."""
    source = sources.source("export")
    found = {"source": source}
    left = [source.path.with_name(name) for name in (WEIGHTS, FLOAT_GRAPH)]
    beside = [path for path in left if source.stage == "quantize" and path.is_file()]
    if source.path.suffix != ".onnx":
        found[FLOAT] = source
    elif beside:
        found[FLOAT] = Input(beside[0], digest_file(beside[0]))
    elif (before := sources.network_before("export")) is not None:
        found[FLOAT] = before
    elif source.stage == "quantize":
        found[FLOAT] = sources.source("quantize")
    elif not is_quantized(read_graph(source.path)):
        found[FLOAT] = source
    if (teacher := sources.teacher()) is not None:
        found[TEACHER] = teacher
    return found


def body(context: Context, inputs: Inputs, folder: Path) -> Output:
    """Write, verify, measure; the files get their final names when all of it holds."""
    with tempfile.TemporaryDirectory() as scratch:
        baselines = open_baselines(context, inputs, Path(scratch))
        origin = origin_to_ship(context, inputs, baselines)
        targets = write_targets(context, origin, Path(scratch))
        rows, others = measure(context, targets, baselines)
        headline = targets[0]
        write_beside(context, folder, baselines, origin.graph, headline.predictions, others)
        ship(context, folder, targets, baselines)
        files = [file.name for target in targets for file in target.files]
    deliverable.write_scripts(context, folder)
    deliverable.write_sums(folder, files)
    known = FLOAT in baselines and baselines[FLOAT].origin.network is not None
    deliverable.write_card(context, folder, [*rows, *context.licences], foreign=not known)
    notes = context.data_notes()
    if sentence := gained_nothing(rows):
        notes.insert(0, sentence)
    if FLOAT not in inputs:
        notes.append("parity: not checked, the float network of this graph is not known")
    return Output(GRAPH, rows, headline.predictions, notes)


def origin_to_ship(context: Context, inputs: Inputs, baselines: Mapping[str, Baseline]) -> Origin:
    """The float network, which is a baseline already, or the graph that is given."""
    if inputs["source"].path.suffix != ".onnx":
        return baselines[FLOAT].origin
    return open_origin(context, inputs["source"], "export", context.spec.export.headline)


def write_targets(context: Context, origin: Origin, scratch: Path) -> list[WrittenTarget]:
    """Every target's file, in a folder of its own; the headline is the graph that is there.

    Raises AugcompressError when two would ship one file.
    """
    settings = context.spec.export.targets
    found = [write_target(context, settings[0], origin.graph, scratch / "0", SHIPPED)]
    for number, setting in enumerate(settings[1:], 1):
        found.append(write_target(context, setting, origin.source, scratch / str(number)))
    names = [file.name for target in found for file in target.files]
    if len(set(names)) < len(names):
        raise AugcompressError(
            f"export.targets: two of them write one file ({', '.join(names)}); leave one out"
        )
    return found


def measure(
    context: Context, targets: Sequence[WrittenTarget], baselines: Mapping[str, Baseline]
) -> tuple[list[Measurement], dict[str, Predictions]]:
    """All files verified and measured, those of the headline first, alone and against each
    baseline; and what the baselines predict.

    Raises LimitError when a file does not do what its network does.
    """
    verified = [verify(context, target, baselines.get(FLOAT)) for target in targets]
    rows, others = list[Measurement](), dict[str, Predictions]()
    for target, kept in zip(targets, verified, strict=True):
        rows += [*target.scores, *file_costs(context, target), *kept]
        compared = list[Measurement]()
        for role, baseline in baselines.items():
            if (twin := twin_of(baseline, baselines)) is not None:
                others[role] = others[twin.role]
                compared += under_another_role(compared, twin, baseline)
                continue
            if target is targets[0]:
                if context.spec.export.keep_baselines:
                    check_baseline(context, baseline)
                found, others[role] = measure_baseline(context, baseline)
                compared += found
            compared += compare(context, target, baseline, others[role])
        rows += compared
    return rows, others


def write_beside(
    context: Context,
    folder: Path,
    baselines: Mapping[str, Baseline],
    graph: onnx.ModelProto,
    shipped: Predictions,
    others: Mapping[str, Predictions],
) -> None:
    """What `compare` and `report` read later: baselines' predictions, layers, examples."""
    for role, found in others.items():
        found.save(folder / f"predictions-{role}.npz")
    network = baselines[FLOAT].origin.network if FLOAT in baselines else None
    if network is not None:
        rows = layer_costs(context, network, stored_types(graph))
        write_layers(folder / LAYERS_FILE, rows)
    deliverable.write_examples(context, folder, shipped, others)


def ship(
    context: Context,
    folder: Path,
    targets: Sequence[WrittenTarget],
    baselines: Mapping[str, Baseline],
) -> None:
    """Give verified files their final names, `model.onnx` last."""
    drafts = [file for target in reversed(targets) for file in target.files]
    if context.spec.export.keep_baselines:
        drafts = [*(one.file for one in baselines.values()), *drafts]
    for draft in drafts:
        with write_aside(folder / draft.name) as aside:
            aside.write_bytes(draft.read_bytes())


STAGE = Stage(
    "export",
    inputs,
    body,
    makes="graph",
    reads=lambda spec: {"recipe": spec.digest(), "title": spec.name},  # stand in file and card
    version=3,
)
