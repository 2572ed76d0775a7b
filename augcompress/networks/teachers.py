"""Teachers: what a student is compared with, be it a network, an ONNX graph or stored logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from augcompress.batch import Batch, Inputs
from augcompress.inference import load_onnx
from augcompress.models import place
from augcompress.networks.graphs import open_graph
from augcompress.networks.opening import open_network
from augcompress.objectives import forward_with_features, stage_ends
from augcompress.running import Context

Outputs = tuple[Tensor, dict[str, Tensor]]
"""Logits `(N,classes)` in fp32, and the features of the layers asked for, by name."""
SMALLEST = 1e-12
"""Probabilities below count as this."""


class Teacher(ABC):
    """A frozen classifier: a batch, as networks take it, to logits and features.

    It is no module, so that it is neither trained nor saved with the student.  It resizes images
    to its own input size and normalises them itself.
    """

    gives_features: ClassVar[bool] = False
    """Can it give the outputs of hidden layers?"""
    networks: Sequence[nn.Module] = ()
    """The networks in it that can be compiled."""

    @abstractmethod
    def __call__(self, batch: Batch, layers: Sequence[str] = ()) -> Outputs:
        """Logits and the outputs of the named layers, without gradients."""

    def stage_ends(self, batch: Batch) -> dict[str, tuple[int, ...]]:
        """Where its feature maps change their size, with their shapes; see `objectives.stage_ends`.
        Empty where it gives no features."""
        return {}


class NetworkTeacher(Teacher):
    """A network in evaluation mode, without gradients."""

    gives_features: ClassVar[bool] = True

    def __init__(
        self,
        network: nn.Module,
        device: torch.device | str = "cpu",
        size: tuple[int, int] | None = None,
    ) -> None:
        """`size`: height and width that images are resized to; None: the network takes them as
        they come."""
        place(network, device)
        self.network, self.size = network.eval().requires_grad_(False), size
        self.networks = (network,)

    def __call__(self, batch: Batch, layers: Sequence[str] = ()) -> Outputs:
        with torch.no_grad():
            logits, features = forward_with_features(self.network, self._inputs(batch), layers)
            return logits.float(), features

    def stage_ends(self, batch: Batch) -> dict[str, tuple[int, ...]]:
        with torch.no_grad():
            return stage_ends(self.network, self._inputs(batch))

    def _inputs(self, batch: Batch) -> Inputs:
        return batch.inputs if self.size is None else resized(batch.images(), self.size)


class GraphTeacher(Teacher):
    """An ONNX graph, run by ONNX Runtime on the CPU in its own precision; it gives logits only."""

    def __init__(self, graph: bytes) -> None:
        self.model = load_onnx(graph, torch.get_num_threads())
        self.size = self.model.size

    def __call__(self, batch: Batch, layers: Sequence[str] = ()) -> Outputs:
        images = resized(batch.images(), self.size).contiguous()
        outputs = torch.from_numpy(self.model(images)).to(images.device)
        if self.model.output == "probabilities":
            outputs = outputs.clamp(min=SMALLEST).log()  # logits, but for a constant in each row
        return outputs, {}


class CachedTeacher(Teacher):
    """Logits of images that always look the same, computed once and found by `Batch.index`, the
    position in the source: float16, 2 bytes for each class and position.

    All are computed at the beginning and in the order of `batches`, so that a resumed training
    finds the same ones.
    """

    def __init__(self, teacher: Teacher, batches: Iterable[Batch]) -> None:
        found = [(batch.index, teacher(batch)[0].half()) for batch in batches]
        index, logits = (torch.cat(parts) for parts in zip(*found, strict=True))
        self.logits = logits.new_full((int(index.max()) + 1, logits.shape[1]), torch.nan)
        self.logits[index] = logits

    def __call__(self, batch: Batch, layers: Sequence[str] = ()) -> Outputs:
        return self.logits[batch.index].float(), {}


def open_teacher(context: Context, path: Path, model: Any, where: str) -> Teacher:
    """A teacher from an ONNX file, a checkpoint of ours, or weights from elsewhere for `model`
    (None: for the model of `train_teacher`).

    Raises AugcompressError when it cannot be opened or does not fit the data.
    """
    if path.suffix == ".onnx":
        return GraphTeacher(open_graph(context, path, resizes=True).SerializeToString())
    if model is None and context.spec.train_teacher is not None:
        model = context.spec.train_teacher.model
    network = open_network(context, path, model, where)
    size = network.facts.input.size
    return NetworkTeacher(
        network.module, context.device, None if size == context.data.size else size
    )


def cached(context: Context, teacher: Teacher) -> CachedTeacher:
    """The teacher's logits for the training images as they are."""
    batches = context.evaluation_batches("train", len(context.data.train))
    return CachedTeacher(teacher, map(context.ready, batches))


def resized(images: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Images `(N,C,H,W)` in [0,1] of another height and width, bilinear with a low-pass filter;
    the images themselves where they have that size, or where it is None."""
    if size is None or tuple(images.shape[2:]) == tuple(size):
        return images
    return F.interpolate(images, size=size, mode="bilinear", antialias=True).clamp(0, 1)
