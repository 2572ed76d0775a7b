"""What every compression is: prepare, (calibrate or train), convert; or pack on the graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from augcompress.batch import Batch, Progress
from augcompress.component import Component, Section
from augcompress.errors import AugcompressError
from augcompress.evidence import Measurement

if TYPE_CHECKING:
    import onnx

History = dict[str, Any]
"""What a conversion changed, as JSON data: enough to rebuild the architecture."""

Notes = dict[str, dict[str, Any]]
"""What a graph step may know beside the graph: by the kind of the component that left it, then by
named point (`augcompress.modules.points`): the name of a tensor in the graph."""

Decisions = dict[str, Any]
"""What a graph step decided by itself, by name, for people."""

CostName = Literal["macs", "parameters", "bytes", "latency_ms"]
"""Multiply-adds of one image; parameters; bytes of the float file; milliseconds that it takes for
one image in ONNX Runtime on one thread, the least of several calls."""


@dataclass(frozen=True)
class Probe:
    """What a network compression may ask of the world, as functions given by the stage."""

    example: Tensor
    """`(2,C,H,W)` in [0,1], on the network's device; two, so that nothing is specialised to one."""
    batches: Callable[[], Iterator[Batch]]
    """Batches of the training split, the same ones at each call."""
    calibration: Callable[[], Iterator[Tensor]]
    """Training images `(N,C,H,W)` as a network takes them, never augmented, on its device; the same
    ones at each call."""
    loss: Callable[[nn.Module, Batch], Tensor]
    """The stage's own loss, a scalar: its objectives with its teacher and augmentations."""
    score: Callable[[nn.Module], float]
    """Accuracy on the validation split, higher is better."""
    cost: Callable[[nn.Module, CostName], float]
    """What a network costs."""
    original: Callable[[CostName], float]
    """What the network that the stage began with costs: targets count from there, in every round,
    also after earlier ones were read back."""


@dataclass(frozen=True)
class GraphProbe:
    """What a graph compression may ask of the world, as functions given by the stage."""

    calibration: Callable[[], Iterator[np.ndarray]]
    """Training images `(N,C,H,W)` float32 in [0,1], never augmented; the same ones at each call."""
    score: Callable[[onnx.ModelProto], float]
    """Accuracy of a graph on the validation split, higher is better."""
    reference: Callable[[Tensor], Tensor]
    """What the first graph was made from: images `(N,C,H,W)` in [0,1] to logits `(N,classes)`."""


class Prepared:
    """A network on its way from `prepare` to `convert`: trained, calibrated or neither in between.

    A compression overrides the hooks that it needs; the others do nothing.  What must survive an
    interruption, or belongs to the best epoch, is a buffer of `network`: `convert` takes it out.
    """

    needs: Literal["nothing", "calibration", "training"] = "training"
    """Training where the section has some; forward passes over calibration batches, without
    gradients and in the modes that `prepare` left; or nothing."""

    settled: bool = True
    """May the weights of now be kept as the best epoch's?  False while a schedule still rises; the
    last epoch's always may."""

    def __init__(self, network: nn.Module, history: History | None = None) -> None:
        self.network = network
        self.history = {} if history is None else history

    def on_progress(self, progress: Progress) -> None:
        """Before each optimiser step: schedules that rise during training."""

    def penalties(self) -> dict[str, Tensor]:
        """Scalars by name that are added to the losses of each batch: regularisers of weights."""
        return {}

    def after_backward(self) -> None:
        """When the step's gradients are there and before they are clipped and used."""

    def after_step(self) -> None:
        """When the optimiser has changed the weights: masks."""

    def convert(self) -> tuple[nn.Module, History]:
        """The compressed network, with the outputs of the prepared one, and what was changed."""
        return self.network, self.history


class AnyCompression(Component, ABC):
    """A compression of either level."""

    level: ClassVar[Literal["network", "graph"]]


class NetworkCompression(AnyCompression):
    """A compression of the torch network; its artefact is a checkpoint."""

    level: ClassVar[Literal["network", "graph"]] = "network"
    reshapes: ClassVar[bool] = False
    """Does it take channels away, so that shares counted before no longer hold?"""
    rounds: int = Field(1, ge=1)
    """Rounds of compressing and fine-tuning; each is committed by itself, and targets count from
    the original network."""

    @abstractmethod
    def prepare(self, network: nn.Module, probe: Probe, *, round: int = 0) -> Prepared:
        """A copy of `network` made ready for round `round` (from 0)."""

    def unreachable(
        self, network: nn.Module, example: Tensor, macs: Callable[[nn.Module], float]
    ) -> str:
        """Which setting asks for what no network of this architecture can be, and what to do;
        empty where that cannot be told without its weights.  `example` is `(2,C,H,W)`."""
        return ""

    def stop_after(self, done: int, score: Callable[[int], float]) -> int | None:
        """After `done` rounds: None goes on; a number ends the step with the network that it had
        after so many rounds (0: before the first).

        `score(n)` is the validation accuracy after `n` rounds, measured when it is asked for.
        """
        return None

    @abstractmethod
    def replay(self, network: nn.Module, history: History) -> nn.Module:
        """Give a fresh network the converted one's architecture; its weights are loaded next."""

    @abstractmethod
    def check(
        self, network: nn.Module, history: History, probe: Probe | None = None
    ) -> list[Measurement]:
        """The promise, measured on the reopened network (with `probe`, its cost as well).

        Raises LimitError when it is not kept.
        """

    def mask_hooks(self, network: nn.Module, history: History) -> Prepared | None:
        """The hooks that keep the promise while a later step or stage trains `network`, in place;
        None where training cannot break it."""
        return None

    def marked(self, network: nn.Module, history: History) -> nn.Module:
        """`network` as graph steps want it: where a graph face will do the work, what imitates it
        in training is replaced by a named point, in place.  A float export keeps the imitation."""
        return network

    def notes(self, network: nn.Module, history: History) -> dict[str, Any]:
        """What the graph face needs, by named point, read from `network` before `marked`: a stage
        after `convert` may have trained it on."""
        return {}

    def check_file(self, graph: onnx.ModelProto, history: History) -> list[Measurement]:
        """The promise that holds in the reopened file as well, be its weights float or quantised.

        Raises LimitError when it is not kept.
        """
        return []


class GraphCompression(AnyCompression):
    """A compression of the exported ONNX graph; its artefact is an `.onnx`."""

    level: ClassVar[Literal["network", "graph"]] = "graph"

    @abstractmethod
    def pack(
        self, graph: onnx.ModelProto, notes: Notes, probe: GraphProbe
    ) -> tuple[onnx.ModelProto, Decisions]:
        """The compressed graph, and what was decided; neither `graph` nor `notes`, which holds what
        network faces learned (ranges, scales), is modified, and named points keep their names."""

    @abstractmethod
    def check(self, graph: onnx.ModelProto) -> list[Measurement]:
        """The promise, measured on the reopened graph.

        Raises LimitError when it is not kept.
        """


def matches(name: str, pattern: str) -> bool:
    """Does a glob match a dotted name, or its end from some dot on (`linear`, `layer1.*.conv1`)?"""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")


class LayerSelection(Section):
    """Which layers a step works on: globs of names, or names of types (`Linear`)."""

    include: tuple[str, ...] = ("*",)
    """Layers to take."""
    exclude: tuple[str, ...] = ()
    """Layers to leave out of those."""

    def choose(
        self, network: nn.Module, types: tuple[type[nn.Module], ...]
    ) -> dict[str, nn.Module]:
        """The chosen layers of these types, by name.

        Raises AugcompressError when a pattern matches nothing, or nothing is left.
        """
        layers = {name: one for name, one in network.named_modules() if isinstance(one, types)}
        included = _union(layers, self.include)
        excluded = _union(layers, self.exclude)
        chosen = {name: one for name, one in layers.items() if name in included - excluded}
        if not chosen:
            raise AugcompressError("layers: no layer is left; exclude fewer")
        return chosen


def _union(layers: dict[str, nn.Module], patterns: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        hits = {
            n for n, one in layers.items() if matches(n, pattern) or type(one).__name__ == pattern
        }
        if not hits:
            known = ", ".join(list(layers)[:4])
            raise AugcompressError(f"layers: {pattern} matches no layer; names are like {known}")
        found |= hits
    return found


WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Operators with weights."""


def stored_weights(graph: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Each layer's weights as the file stores them, by the name of its node: behind whatever turns
    stored numbers into floats."""
    return {name: one for name, (one, _) in _sources(graph).items()}


def count_zeros(graph: onnx.ModelProto) -> dict[str, int]:
    """How many of each layer's stored weights stand for 0, by the name of its node: integers that
    equal their zero point."""
    from onnx.numpy_helper import to_array

    return {
        name: int((to_array(one) == zero).sum()) for name, (one, zero) in _sources(graph).items()
    }


def _sources(graph: onnx.ModelProto) -> dict[str, tuple[onnx.TensorProto, np.ndarray]]:
    """Stored weights and the number that stands for 0, which broadcasts against them."""
    arrays = {one.name: one for one in graph.graph.initializer}
    made = {output: node for node in graph.graph.node for output in node.output}
    found = {}
    for node in graph.graph.node:
        if node.op_type not in WEIGHTED:
            continue
        source, zero = node.input[1], np.zeros(())
        while source not in arrays and source in made and made[source].input:
            if made[source].op_type == "DequantizeLinear" and len(made[source].input) > 2:
                zero = _zero_point(made[source], arrays)
            source = made[source].input[0]
        if source in arrays:
            found[node.name] = (arrays[source], zero)
    return found


def _zero_point(node: onnx.NodeProto, arrays: dict[str, onnx.TensorProto]) -> np.ndarray:
    """A zero point `()` or, one per channel, `(1,…,channels,…,1)` as its axis says."""
    from onnx.numpy_helper import to_array

    weights, zero = arrays[node.input[0]], to_array(arrays[node.input[2]])
    if zero.ndim == 0:
        return zero
    axis = next((one.i for one in node.attribute if one.name == "axis"), 1)
    return zero.reshape([-1 if place == axis else 1 for place in range(len(weights.dims))])
