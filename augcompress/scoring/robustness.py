"""Robust accuracy: predictions for disturbed images, paired with those for the images as they
are."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from augcompress.augmentations import Pipeline, assemble
from augcompress.batch import Batch, Progress
from augcompress.errors import AugcompressError
from augcompress.evidence import Measurement, Predictions, robustness
from augcompress.networks import Network
from augcompress.running import Context
from augcompress.scoring.predict_functions import PredictFunction, predict
from augcompress.scoring.scores import loss_of

WHERE = "evaluate.robustness"
NETWORKS = ("prune", "distill", "train_teacher", "pretrain")
"""Stages that leave a network, the last first."""


def measure_robustness(
    context: Context,
    function: PredictFunction,
    network: Network | None,
    clean: Predictions,
    subject: str,
) -> list[Measurement]:
    """robust_top1 and robust_drop under each disturbance of the section.

    Raises AugcompressError when one changes labels, or attacks what is no network.
    """
    rows = []
    for position, setting in enumerate(context.spec.evaluate.robustness):
        if network is None and getattr(setting, "needs_model", False):
            raise AugcompressError(_no_network(context, position, setting.kind, subject))
        pipeline = assemble([(position, setting)], context.augmentation_facts, WHERE)
        context.reporter.message(f"evaluate: under {setting.kind}")
        found = predict(disturbed(function, context, pipeline, network), context, clean.split)
        rows += robustness(clean, found, subject=subject, conditions=disturbance(setting))
    return rows


def disturbed(
    function: PredictFunction, context: Context, pipeline: Pipeline, network: Network | None
) -> PredictFunction:
    """Predictions for disturbed images; an attack is computed anew for this network."""
    loss = None if network is None else loss_of(network.module, context.ready)
    device = torch.device("cpu") if network is None else context.device

    def probabilities(batch: Batch) -> np.ndarray:
        moved = batch.to(device)
        with torch.no_grad():
            seen = pipeline(moved, seed=context.spec.seed, progress=Progress(), loss=loss)
        _check_labels(pipeline, moved, seen)
        return function(seen)

    return probabilities


def disturbance(setting: Any) -> dict[str, Any]:
    """The conditions of a measurement: which disturbance, with its settings."""
    settings = setting.model_dump(mode="json", exclude={"kind", "ramp"})
    return {"under": setting.kind, **settings}


def _check_labels(pipeline: Pipeline, before: Batch, after: Batch) -> None:
    assert before.targets is not None
    assert after.targets is not None
    if not torch.equal(before.targets, after.targets):
        position, setting = pipeline.numbered[0]
        raise AugcompressError(
            f"{WHERE}.{position}: {setting.kind} changes labels, and there is nothing to compare"
            " predictions with; leave it out"
        )


def _no_network(context: Context, position: int, kind: str, subject: str) -> str:
    stages = context.spec.stages()
    known = next((stage for stage in NETWORKS if stage in stages), None)
    advice = f"--from {known.replace('_', '-')}" if known else "--from WEIGHTS.safetensors"
    return (
        f"{WHERE}.{position}: {kind} needs the gradients of a network, and {subject} is a graph"
        f" without; evaluate the network: {advice}"
    )
