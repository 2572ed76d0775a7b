"""Scores of predictions, the loss of each sample, and what a network costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augcompress import measures
from augcompress.augmentations import Loss
from augcompress.batch import Batch
from augcompress.datasets import Batches
from augcompress.evidence import Measurement, Predictions, top_k
from augcompress.modules import in_evaluation
from augcompress.networks import Network
from augcompress.running import EVALUATION_BATCH, Context
from augcompress.scoring.predict_functions import PredictFunction, predict
from augcompress.training import Engine, Score


def accuracy_scorer(context: Context, engine: Engine) -> Callable[[nn.Module], Score]:
    """Top-1 on validation as training sees it: the score that chooses the epoch.

    Several processes share the images out, and all of them must ask for it.
    """

    def score(network: nn.Module) -> Score:
        right = torch.zeros((), dtype=torch.int64, device=engine.device)
        with torch.inference_mode(), in_evaluation(network), engine.autocast():
            for batch in share_of(context, "validation"):
                moved = context.data.ready(batch, engine.device)
                answers = network(moved.inputs).argmax(1)
                assert moved.targets is not None
                right += (answers == moved.targets.argmax(1)).sum()
        n = len(context.evaluated("validation"))
        return Score(int(context.processes.all_reduce_sum(right)) / n, n)

    return score


def scorer(
    context: Context, engine: Engine, select_by: str = "top1"
) -> Callable[[nn.Module], Score]:
    """The score that chooses the epoch: a measure on validation, as training sees it.

    Several processes share the images out, and all of them must ask for it.
    """
    if select_by == "top1":  # counted on the device
        return accuracy_scorer(context, engine)
    labels = context.evaluated("validation").labels

    def score(network: nn.Module) -> Score:
        found = measures.select_by(select_by, probabilities_of(network, context, engine), labels)
        return Score(found.value, name=found.name, better=found.better or "higher")

    return score


def probabilities_of(network: nn.Module, context: Context, engine: Engine) -> np.ndarray:
    """`(N,classes)` on validation, in its order: each process computes a share, all get all."""
    processes, count = context.processes, len(context.evaluated("validation"))
    found = torch.zeros(count, len(context.data.classes), device=engine.device)
    own, filled = found[processes.rank :: processes.world], 0
    with torch.inference_mode(), in_evaluation(network), engine.autocast():
        for batch in share_of(context, "validation"):
            logits = network(context.data.ready(batch, engine.device).inputs)
            own[filled : filled + len(batch)] = logits.float().softmax(1)
            filled += len(batch)
    return processes.all_reduce_sum(found).cpu().numpy()


def share_of(context: Context, split: str) -> Iterator[Batch]:
    """This process's batches of a split: every `world`-th sample, each in one process only."""
    part, processes = context.evaluated(split), context.processes
    if processes.world > 1:
        part = part.take(np.arange(processes.rank, len(part), processes.world))
    classes, seed = len(context.data.classes), context.spec.seed
    return Batches(part, classes, EVALUATION_BATCH, shuffle=False, seed=seed).epoch(0)


def accuracy(found: Predictions, subject: str, role: str = "") -> list[Measurement]:
    """Top-1, and top-5 where there are more than five classes."""
    ks = (1, 5) if found.probabilities.shape[1] > 5 else (1,)
    rows = [
        top_k(found.probabilities, found.labels, k, split=found.split, subject=subject) for k in ks
    ]
    return [with_role(row, role) for row in rows]


def measure_quality(found: Predictions, subject: str, role: str = "") -> list[Measurement]:
    """Every measure of a classifier that its predictions give."""
    return [with_role(row, role) for row in measures.quality(found, subject=subject)]


def measure_calibration(
    function: PredictFunction, context: Context, found: Predictions, subject: str, role: str = ""
) -> list[Measurement]:
    """NLL and calibration error after temperature scaling fitted on validation."""
    validation = predict(function, context, "validation")
    rows = measures.calibrated(validation, found, subject=subject)
    return [with_role(row, role) for row in rows]


def costs(network: Network, context: Context, subject: str, role: str = "") -> list[Measurement]:
    """Parameters, those that are not zero, and multiply-adds for one image."""
    example = context.example()
    module = network.module.to("cpu")
    rows = [
        measures.parameters(module, subject=subject),
        measures.nonzero_parameters(module, subject=subject),
        measures.macs(module, example[:1], subject=subject),
    ]
    return [with_role(row, role) for row in rows]


def with_role(row: Measurement, role: str) -> Measurement:
    """Marks whose measurement it is: teacher, float or shipped; limits look for that."""
    if not role:
        return row
    return row.model_copy(update={"conditions": {**row.conditions, "role": role}})


def loss_of(network: nn.Module, ready: Callable[[Batch], Batch]) -> Loss:
    """What adversarial augmentations climb: the cross-entropy `(N,)` of a network in evaluation
    mode, so that its running statistics stay and no sample depends on another.  Where there are no
    labels, the network's own answers stand in for them.  `ready` makes a batch one that the network
    takes."""

    def loss(batch: Batch) -> Tensor:
        with in_evaluation(network):
            logits = network(ready(batch).inputs).float()
        labels = batch.targets if batch.targets is not None else logits.detach().argmax(1)
        targets = labels.to(logits.dtype) if labels.dim() > 1 else labels
        return F.cross_entropy(logits, targets, reduction="none")

    return loss
