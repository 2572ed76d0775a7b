"""Answers and their scores: any artefact run over a split, always in fp32 when it is measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from augcompress import measures
from augcompress.assembly.artifacts import Network, images_of
from augcompress.assembly.context import Context
from augcompress.batch import Batch
from augcompress.errors import AugcompressError
from augcompress.exporters import open_session, run
from augcompress.records import Measurement, Predictions
from augcompress.training import Engine

Answer = Callable[[Batch], np.ndarray]  # scaled batch -> logits or probabilities (N, classes)


def network_answer(network: nn.Module, device: torch.device) -> Answer:
    """A network as a function, in fp32."""
    network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def answer(batch: Batch) -> np.ndarray:
        with torch.inference_mode():
            return network(images_of(batch.to(device).images())).float().cpu().numpy()

    return answer


def graph_answer(path: Path) -> Answer:
    """An ONNX file as a function, run as it ships."""
    session = open_session(path)
    return lambda batch: run(session, batch.images().numpy())


def check_graph_fits(context: Context, path: Path) -> None:
    """Raises AugcompressError when a graph takes other images or tells other classes apart."""
    session = open_session(path)
    takes, gives = session.get_inputs()[0].shape, session.get_outputs()[0].shape
    data = context.data
    has_all = (*takes[1:], *gives[1:])
    pairs = zip(has_all, (data.channels, *data.size, len(data.classes)), strict=False)
    fits = len(takes) == 4 and len(gives) == 2
    if not fits or any(isinstance(has, int) and has != wants for has, wants in pairs):
        raise AugcompressError(
            f"{path.name}: takes {list(takes)} and gives {list(gives)}, the data has images"
            f" {[data.channels, *data.size]} of {len(data.classes)} classes; give another file"
        )


def predict(answer: Answer, context: Context, split: str) -> Predictions:
    """Probabilities for a whole split."""
    outputs, labels, index = [], [], []
    for batch in context.evaluation_batches(split):
        outputs.append(answer(batch.scaled()))
        assert batch.targets is not None
        labels.append(batch.targets.argmax(1).numpy())
        index.append(batch.index.numpy())
    return Predictions(
        probabilities(np.concatenate(outputs)), np.concatenate(labels), np.concatenate(index)
    )


def probabilities(outputs: np.ndarray) -> np.ndarray:
    """Softmax of logits; probabilities stay as they are."""
    if outputs.min() >= 0 and np.allclose(outputs.sum(1), 1, atol=1e-3):
        return outputs.astype(np.float32)
    shifted = np.exp(outputs - outputs.max(1, keepdims=True))
    return (shifted / shifted.sum(1, keepdims=True)).astype(np.float32)


def accuracy_scorer(context: Context, engine: Engine) -> Callable[[nn.Module], float]:
    """Top-1 on validation as training sees it: the score that chooses the epoch."""

    def score(network: nn.Module) -> float:
        was_training = network.training
        network.eval()
        right = total = 0
        with torch.inference_mode(), engine.autocast():
            for batch in context.evaluation_batches("validation"):
                moved = batch.to(engine.device).scaled()
                answers = network(images_of(moved.images())).argmax(1)
                assert moved.targets is not None
                right += int((answers == moved.targets.argmax(1)).sum())
                total += len(batch)
        network.train(was_training)
        return right / total

    return score


def accuracy(found: Predictions, split: str, subject: str, role: str = "") -> list[Measurement]:
    """Top-1, and top-5 where there are more than five classes."""
    ks = (1, 5) if found.probabilities.shape[1] > 5 else (1,)
    rows = [
        measures.top_k(found.probabilities, found.labels, k, split=split, subject=subject)
        for k in ks
    ]
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
