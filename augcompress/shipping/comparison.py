"""The shipped file beside its baselines: quality, cost and speed."""

from __future__ import annotations

from pathlib import Path

from augcompress import measures
from augcompress.evidence import Measurement, Predictions, top1_difference
from augcompress.running import Context
from augcompress.scoring import (
    costs,
    measure_quality,
    predict,
    predict_with_onnx,
    with_role,
)
from augcompress.shipping.origins import Baseline

SMOKE_ROUNDS = 2


def compare(
    context: Context, file: Path, shipped: Predictions, baseline: Baseline
) -> tuple[list[Measurement], Predictions]:
    """A baseline's quality and cost on the same images, how the file differs from it, and both
    files' speed; and what the baseline answered."""
    role, name = baseline.role, baseline.file.name
    found = predict(predict_with_onnx(baseline.file, context), context, "test")
    ours, theirs = shipped.probabilities, found.probabilities
    rows = [
        measures.agreement(ours, theirs, split="test", subject=file.name, baseline=role),
        top1_difference(shipped, found, subject=file.name, baseline=role),
    ]
    network = baseline.origin.network
    return [
        *measure_quality(found, name, role),
        *(costs(network, context, name, role) if network is not None else []),
        with_role(measures.size_bytes(baseline.file, subject=name), role),
        *(with_role(row, "shipped") for row in rows),
        *timings(context, file, baseline),
    ], found


def timings(context: Context, file: Path, baseline: Baseline) -> list[Measurement]:
    """The file's speed and the baseline's, taken in turns, for each number of threads and images
    a call that the recipe asks for."""
    section, rows = context.spec.export.timing, list[Measurement]()
    fixed = context.spec.export.targets[0].batch
    for threads in section.threads:
        for batch in section.batches if fixed is None else (fixed,):
            context.reporter.message(
                f"export: timing against {baseline.role}, threads {threads}, batch {batch}"
            )
            rows += measures.timing(
                file,
                baseline=baseline.file,
                threads=threads,
                batch=batch,
                subject=file.name,
                baseline_name=baseline.role,
                rounds=SMOKE_ROUNDS if context.smoke else section.rounds,
            )
    theirs = baseline.file.name
    return [with_role(r, baseline.role if r.subject == theirs else "shipped") for r in rows]
