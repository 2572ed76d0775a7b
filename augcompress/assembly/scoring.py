"""Answers and their scores: any artefact run over a split, always in fp32 when it is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from onnxruntime import InferenceSession
from torch import nn

from augcompress import measures
from augcompress.assembly.artifacts import Network, images_of, open_network
from augcompress.assembly.context import EVALUATION_BATCH, Context
from augcompress.assembly.graphs import open_graph
from augcompress.augmentations import build_pipeline
from augcompress.batch import Batch, Progress
from augcompress.datasets import Batches
from augcompress.exporters import open_session, run
from augcompress.modes import in_evaluation
from augcompress.predictions import Predictions
from augcompress.records import Measurement
from augcompress.spec.sections import TestTimeAugmentation
from augcompress.training import Engine, Score

Answer = Callable[[Batch], np.ndarray]  # scaled batch -> probabilities (N, classes) float32


def network_answer(network: nn.Module, device: torch.device) -> Answer:
    """A network as a function, in fp32."""
    network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def answer(batch: Batch) -> np.ndarray:
        with torch.inference_mode():
            logits = network(images_of(batch.to(device).images())).float().cpu().numpy()
        return softmax(logits)

    return answer


def graph_answer(file: Path | bytes) -> Answer:
    """An ONNX file, or its bytes, as a function, run as it ships."""
    session = open_session(file)
    return lambda batch: session_answer(session, batch.images().numpy())


def session_answer(session: InferenceSession, images: np.ndarray) -> np.ndarray:
    """Probabilities `(N,classes)` for images, uint8 or in [0,1].  The output's name tells whether
    the file gives them or logits; those of a quantised file need not sum to 1 by themselves."""
    outputs = run(session, images)
    if session.get_outputs()[0].name != "probabilities":
        return softmax(outputs)
    shares = np.clip(outputs, 0, None)
    return (shares / np.clip(shares.sum(1, keepdims=True), 1e-12, None)).astype(np.float32)


def open_answer(context: Context, path: Path, where: str) -> tuple[Answer, Network | None]:
    """Any artefact as a function: a graph of whatever origin, a checkpoint, foreign weights.

    Raises AugcompressError when it cannot be opened or does not fit the data.
    """
    if path.suffix == ".onnx":
        return graph_answer(open_graph(context, path).SerializeToString()), None
    teacher = context.spec.train_teacher
    model = teacher.model if teacher is not None else None
    network = open_network(context, path, model, where)
    return network_answer(network.module, context.device), network


def averaged(answer: Answer, context: Context, views: TestTimeAugmentation) -> Answer:
    """The mean of the probabilities over a batch as it is and augmented versions of it."""
    where = "evaluate.test_time_augmentation.pipeline"
    pipeline = build_pipeline(views.pipeline, context.augmentation_facts, where)

    def answer_views(batch: Batch) -> np.ndarray:
        seen = [batch]
        for view in range(1, views.views):
            drawn = pipeline(batch, seed=context.spec.seed, progress=Progress(), view=view)
            seen.append(drawn)
        return np.mean([answer(each) for each in seen], axis=0)

    return answer_views


def predict(answer: Answer, context: Context, split: str) -> Predictions:
    """Probabilities for a whole split."""
    part, outputs = context.evaluated(split), []
    for batch in context.evaluation_batches(split):
        outputs.append(answer(batch.scaled()))
    return Predictions(
        np.concatenate(outputs),
        part.labels,
        part.index,
        classes=tuple(context.data.classes),
        split=split,
        data=context.fingerprint,
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities `(N,classes)` float32."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return (powers / powers.sum(1, keepdims=True)).astype(np.float32)


def accuracy_scorer(context: Context, engine: Engine) -> Callable[[nn.Module], Score]:
    """Top-1 on validation as training sees it: the score that chooses the epoch.

    Several processes share the images out, and all of them must ask for it.
    """

    def score(network: nn.Module) -> Score:
        right = torch.zeros((), dtype=torch.int64, device=engine.device)
        with torch.inference_mode(), in_evaluation(network), engine.autocast():
            for batch in share_of(context, "validation"):
                moved = batch.to(engine.device).scaled()
                answers = network(images_of(moved.images())).argmax(1)
                assert moved.targets is not None
                right += (answers == moved.targets.argmax(1)).sum()
        n = len(context.evaluated("validation"))
        return Score(int(context.processes.total(right)) / n, n)

    return score


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
        measures.top_k(found.probabilities, found.labels, k, split=found.split, subject=subject)
        for k in ks
    ]
    return [with_role(row, role) for row in rows]


def quality(found: Predictions, subject: str, role: str = "") -> list[Measurement]:
    """Everything that predictions tell of a classifier."""
    return [with_role(row, role) for row in measures.quality(found, subject=subject)]


def calibrated(
    answer: Answer, context: Context, found: Predictions, subject: str, role: str = ""
) -> list[Measurement]:
    """NLL and calibration error after temperature scaling fitted on validation."""
    validation = predict(answer, context, "validation")
    rows = measures.calibrated(validation, found, subject=subject)
    return [with_role(row, role) for row in rows]


def costs(network: Network, context: Context, subject: str, role: str = "") -> list[Measurement]:
    """Parameters, those that are not zero, and multiply-adds for one image."""
    example = context.example()
    module = network.module.to("cpu").eval()
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
