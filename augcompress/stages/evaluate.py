"""evaluate: any artefact on the recipe's test images, in fp32, as it ships."""

from __future__ import annotations

from pathlib import Path

from augcompress import measures
from augcompress.assembly.artifacts import open_network
from augcompress.assembly.context import Context
from augcompress.assembly.scoring import (
    accuracy,
    check_graph_fits,
    costs,
    graph_answer,
    network_answer,
    predict,
)
from augcompress.assembly.stage import Input, Inputs, Output, Runner, Stage


def inputs(runner: Runner) -> dict[str, Input]:
    """What `--from` names, or the last artefact of the pipeline."""
    return {"source": runner.source("evaluate")}


def body(context: Context, inputs: Inputs, folder: Path) -> Output:
    """Answer all images of the split and score them."""
    path, split = inputs["source"].path, context.spec.evaluate.split
    if path.suffix == ".onnx":
        check_graph_fits(context, path)
        found = predict(graph_answer(path), context, split)
        rows = [measures.size_bytes(path, subject=path.name)]
    else:
        teacher = context.spec.train_teacher
        model = teacher.model if teacher is not None else None
        network = open_network(context, path, model, "evaluate")
        found = predict(network_answer(network.module, context.device), context, split)
        rows = costs(network, context, path.name)
    return Output(None, accuracy(found, split, path.name) + rows, found)


STAGE = Stage("evaluate", inputs, body, makes=None)
