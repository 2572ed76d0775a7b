"""The shipped files beside their baselines: quality, cost and speed."""

from __future__ import annotations

from augcompress import measures
from augcompress.evidence import Measurement, Predictions, top1_difference
from augcompress.running import Context
from augcompress.scoring import costs, measure_quality, predict, predict_with_onnx, with_role
from augcompress.shipping.origins import Baseline
from augcompress.shipping.targets import WrittenTarget, opener

SMOKE_ROUNDS = 2


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
        measures.agreement(
            ours.probabilities, theirs.probabilities, split=ours.split, subject=name, baseline=role
        ),
        top1_difference(ours, theirs, subject=name, baseline=role),
    ]
    return [*(with_role(row, target.role) for row in rows), *timings(context, target, baseline)]


def timings(context: Context, target: WrittenTarget, baseline: Baseline) -> list[Measurement]:
    """The file's speed and the baseline's, taken in turns, for each number of threads and images
    a call that the recipe asks for."""
    section, rows = context.spec.export.timing, list[Measurement]()
    fixed = target.exporter.batch or context.spec.export.headline.batch
    for threads in section.threads:
        for batch in section.batches if fixed is None else (fixed,):
            context.reporter.message(
                f"export: timing against {baseline.role}, threads {threads}, batch {batch}"
            )
            rows += measures.time_file(
                target.file,
                baseline=baseline.file,
                threads=threads,
                batch=batch,
                subject=target.file.name,
                baseline_name=baseline.role,
                rounds=SMOKE_ROUNDS if context.smoke else section.rounds,
                opener=opener(context, target),
            )
    theirs = baseline.file.name
    return [with_role(r, baseline.role if r.subject == theirs else target.role) for r in rows]
