"""The shipped files beside their baselines: quality, cost and speed."""

from __future__ import annotations

from collections.abc import Mapping

from augcompress import measures
from augcompress.evidence import Measurement, Predictions, agreement, top1_difference
from augcompress.exporters import OnnxExporter
from augcompress.graphs import read_graph
from augcompress.running import Context
from augcompress.scoring import costs, measure_quality, predict, predict_with_onnx, with_role
from augcompress.shipping.origins import Baseline
from augcompress.shipping.targets import WrittenTarget, opener

SMOKE_ROUNDS = 2


def twin_of(baseline: Baseline, others: Mapping[str, Baseline]) -> Baseline | None:
    """The first of the baselines that is the same artefact, if it is another one."""
    first = next(one for one in others.values() if one.origin is baseline.origin)
    return None if first is baseline else first


def under_another_role(
    rows: list[Measurement], twin: Baseline, baseline: Baseline
) -> list[Measurement]:
    """What was measured of a baseline and against it, for its twin under that one's names."""
    found = []
    for row in rows:
        if row.subject == twin.file.name:
            named = row.model_copy(update={"subject": baseline.file.name})
            found.append(with_role(named, baseline.role))
        elif row.baseline == twin.role:
            found.append(row.model_copy(update={"baseline": baseline.role}))
    return found


def measure_baseline(context: Context, baseline: Baseline) -> tuple[list[Measurement], Predictions]:
    """A baseline's quality and cost, and what it predicts for the test images."""
    role, name, network = baseline.role, baseline.file.name, baseline.origin.network
    found = predict(predict_with_onnx(baseline.file, context), context, "test")
    return [
        *measure_quality(found, name, role),
        *(costs(network, context, name, role) if network is not None else []),
        with_role(measures.size_bytes(baseline.file, subject=name), role),
    ], found


def compare(
    context: Context, target: WrittenTarget, baseline: Baseline, theirs: Predictions
) -> list[Measurement]:
    """How a file differs from a baseline on the same images, and the speed of both."""
    role, name, ours = baseline.role, target.file.name, target.predictions
    rows = [
        agreement(
            ours.probabilities, theirs.probabilities, split=ours.split, subject=name, baseline=role
        ),
        top1_difference(ours, theirs, subject=name, baseline=role),
    ]
    timed = timings_of_equals if is_same_graph(target, baseline) else timings
    return [*(with_role(row, target.role) for row in rows), *timed(context, target, baseline)]


def is_same_graph(target: WrittenTarget, baseline: Baseline) -> bool:
    """Do the two files compute the same by the same nodes and weights?"""
    if not isinstance(target.exporter, OnnxExporter):
        return False
    ours, theirs = (read_graph(one.file).graph for one in (target, baseline))
    return (*ours.node, *ours.initializer) == (*theirs.node, *theirs.initializer)


def timings_of_equals(
    context: Context, target: WrittenTarget, baseline: Baseline
) -> list[Measurement]:
    """The speed of a file that is its baseline: timed once, and as fast as itself."""
    rows, theirs = list[Measurement](), baseline.file.name
    for row in timings(context, target, None):
        rows += [row, with_role(row.model_copy(update={"subject": theirs}), baseline.role)]
    settings = {"threads": rows[0].conditions["threads"], "batch": rows[0].conditions["batch"]}
    equal = Measurement(
        name="speedup",
        value=1,
        unit="ratio",
        better="higher",
        subject=target.file.name,
        baseline=baseline.role,
        conditions={**settings, "same_graph": True},
    )
    return [with_role(equal, target.role), *rows]


def timings(
    context: Context, target: WrittenTarget, baseline: Baseline | None
) -> list[Measurement]:
    """The file's speed, and the baseline's taken in turns, for each number of threads and images
    a call that the recipe asks for."""
    section, rows = context.spec.export.timing, list[Measurement]()
    both = (target.exporter, context.spec.export.headline)
    fixed = both[0].batch or both[1].batch
    if any(one.input == "image" for one in both):
        fixed = 1
    against = "" if baseline is None else f" against {baseline.role}"
    for threads in section.threads:
        for batch in section.batches if fixed is None else (fixed,):
            context.reporter.message(f"export: timing{against}, threads {threads}, batch {batch}")
            rows += measures.time_file(
                target.file,
                baseline=None if baseline is None else baseline.file,
                threads=threads,
                batch=batch,
                subject=target.file.name,
                baseline_name=None if baseline is None else baseline.role,
                rounds=SMOKE_ROUNDS if context.smoke else section.rounds,
                opener=opener(context, target),
            )
    theirs = None if baseline is None else baseline.file.name
    role = target.role if baseline is None else baseline.role
    return [with_role(r, role if r.subject == theirs else target.role) for r in rows]
