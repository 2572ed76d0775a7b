"""evaluate: any artefact on the recipe's images, in fp32, as it ships."""

from __future__ import annotations

from pathlib import Path

from augcompress import measures
from augcompress.running import Context, Input, Inputs, Output, Sources, Stage
from augcompress.scoring import (
    averaged,
    calibrated,
    costs,
    open_answer,
    predict,
    quality,
    robustness,
)


def inputs(sources: Sources) -> dict[str, Input]:
    """What `--from` names, or the last artefact of the pipeline."""
    return {"source": sources.source("evaluate")}


def body(context: Context, inputs: Inputs, folder: Path) -> Output:
    """Answer all images of the split and score them."""
    path, section = inputs["source"].path, context.spec.evaluate
    answer, network = open_answer(context, path, "evaluate")
    if section.test_time_augmentation is not None:
        answer = averaged(answer, context, section.test_time_augmentation)
    found = predict(answer, context, section.split)
    rows = quality(found, path.name) + robustness(context, answer, network, found, path.name)
    if section.temperature_scaling and section.split != "validation":
        rows += calibrated(answer, context, found, path.name)
    if network is None:
        return Output(None, [*rows, measures.size_bytes(path, subject=path.name)], found)
    return Output(None, rows + costs(network, context, path.name), found)


STAGE = Stage("evaluate", inputs, body, makes=None, version=2)
