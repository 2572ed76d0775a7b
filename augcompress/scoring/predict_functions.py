"""Predict functions: any artefact as a function of a batch, in fp32, run over a split."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from augcompress.augmentations import build_pipeline
from augcompress.batch import Batch, Progress
from augcompress.evidence import Predictions
from augcompress.inference import LoadedModel, load_onnx, softmax
from augcompress.models import place
from augcompress.modules import in_evaluation
from augcompress.networks import Network, load_network, open_graph, open_network
from augcompress.running import Context
from augcompress.spec import TestTimeAugmentation

PredictFunction = Callable[[Batch], np.ndarray]
"""A batch to probabilities `(N,classes)` float32."""


def predict_with_network(network: nn.Module, context: Context) -> PredictFunction:
    """A network as a predict function: fp32, evaluation mode."""
    data, device = context.data, context.device
    place(network, device)

    def probabilities(batch: Batch) -> np.ndarray:
        with torch.inference_mode(), in_evaluation(network):
            logits = network(data.ready(batch, device).inputs)
        return softmax(logits.float().cpu().numpy())

    return probabilities


def predict_with_file(model: LoadedModel, context: Context) -> PredictFunction:
    """A file that an exporter opened as a predict function, run as it ships."""
    data = context.data
    return lambda batch: model.probabilities(data.ready(batch, "cpu").images())


def predict_with_onnx(file: Path | bytes, context: Context) -> PredictFunction:
    """An ONNX file, or its bytes, as a predict function, run as it ships."""
    return predict_with_file(load_onnx(file), context)


def load_checkpoint(path: Path) -> LoadedModel:
    """One of our checkpoints as a function of images, which says of itself what a file does.

    Raises AugcompressError when it is none.
    """
    network = load_network(path)

    def call(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network.module(torch.from_numpy(images)).float().numpy()

    told = {"labels": json.dumps(network.classes), "resizing": json.dumps(network.resizing)}
    return LoadedModel(str(path), call, metadata=told)


def open_predict_function(
    context: Context, path: Path, where: str
) -> tuple[PredictFunction, Network | None]:
    """Any artefact as a predict function: a graph from anywhere, a checkpoint, foreign weights.

    Raises AugcompressError when it cannot be opened or does not fit the data.
    """
    if path.suffix == ".onnx":
        return predict_with_onnx(open_graph(context, path).SerializeToString(), context), None
    teacher = context.spec.train_teacher
    model = teacher.model if teacher is not None else None
    network = open_network(context, path, model, where)
    return predict_with_network(network.module, context), network


def averaged(
    function: PredictFunction, context: Context, views: TestTimeAugmentation
) -> PredictFunction:
    """The mean of the probabilities over a batch as it is and augmented versions of it."""
    where = "evaluate.test_time_augmentation.pipeline"
    pipeline = build_pipeline(views.pipeline, context.augmentation_facts, where)

    def mean_probabilities(batch: Batch) -> np.ndarray:
        seen = [batch]
        for view in range(1, views.views):
            drawn = pipeline(batch, seed=context.spec.seed, progress=Progress(), view=view)
            seen.append(drawn)
        return np.mean([function(each) for each in seen], axis=0)

    return mean_probabilities


def predict(function: PredictFunction, context: Context, split: str) -> Predictions:
    """Probabilities for a whole split."""
    part, outputs = context.evaluated(split), []
    for batch in context.evaluation_batches(split):
        outputs.append(function(batch))
    return Predictions(
        np.concatenate(outputs),
        part.labels,
        part.index,
        classes=tuple(context.data.classes),
        split=split,
        data=context.fingerprint,
    )
