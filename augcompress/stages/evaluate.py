"""evaluate: any artefact on the recipe's images, in fp32, as it ships."""

from __future__ import annotations

from pathlib import Path

from augcompress import measures
from augcompress.running import Context, Input, Inputs, Output, Sources, Stage
from augcompress.scoring import (
    averaged,
    costs,
    measure_calibration,
    measure_quality,
    measure_robustness,
    open_predict_function,
    predict,
)


def inputs(sources: Sources) -> dict[str, Input]:
    """What `--from` names, or the last artefact of the pipeline."""
    return {"source": sources.source("evaluate")}


def body(context: Context, inputs: Inputs, folder: Path) -> Output:
    """Predict all images of the split and score the predictions."""
    path, section = inputs["source"].path, context.spec.evaluate
    function, network = open_predict_function(context, path, "evaluate")
    if section.test_time_augmentation is not None:
        function = averaged(function, context, section.test_time_augmentation)
    found = predict(function, context, section.split)
    rows = measure_quality(found, path.name)
    rows += measure_robustness(context, function, network, found, path.name)
    if section.temperature_scaling and section.split != "validation":
        rows += measure_calibration(function, context, found, path.name)
    if network is None:
        return Output(None, [*rows, measures.size_bytes(path, subject=path.name)], found)
    return Output(None, rows + costs(network, context, path.name), found)


STAGE = Stage("evaluate", inputs, body, makes=None, version=2)
