"""What a file is made from: a network or a graph; and the baselines beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from augcompress.compressions import Notes
from augcompress.exporters import (
    OnnxExporter,
    Reference,
    as_reference,
    save,
    to_graph,
    with_options,
)
from augcompress.networks import Network, open_graph, open_network
from augcompress.running import Context, Input, Inputs
from augcompress.scoring import (
    PredictFunction,
    predict_with_network,
    predict_with_onnx,
)

FLOAT_GRAPH = "float.onnx"
"""What `quantize` leaves beside its graph when it started from a graph: what that one was."""


@dataclass(frozen=True)
class Origin:
    """What a file is made from: a network, or a graph whose network is not known."""

    graph: onnx.ModelProto
    network: Network | None = None

    @property
    def reference(self) -> Reference:
        """What the file must do."""
        if self.network is None:
            return as_reference(self.graph)
        return self.network.module.to("cpu").eval()

    def answer(self, context: Context) -> PredictFunction:
        """What it says to a batch."""
        if self.network is None:
            return predict_with_onnx(self.graph.SerializeToString(), context)
        return predict_with_network(self.network.module, context)

    @property
    def notes(self) -> Notes:
        """What compressions left for graph steps."""
        return {} if self.network is None else self.network.notes()


@dataclass(frozen=True)
class Baseline:
    """What the shipped file is compared with, as the fp32 file that it would ship as."""

    role: str
    origin: Origin
    file: Path


def open_origin(
    context: Context, given: Input, where: str, settings: OnnxExporter, *, marked: bool = False
) -> Origin:
    """What a stage makes its file from; `marked`: with the named points that graph steps look for.

    Raises AugcompressError when it is no graph and no network, or does not fit the data.
    """
    if given.path.suffix == ".onnx":
        return Origin(with_options(open_graph(context, given.path), settings))
    teacher = context.spec.train_teacher
    model = teacher.model if teacher is not None else None
    network = open_network(context, given.path, model, where)
    return Origin(graph_of(context, network.marked() if marked else network, settings), network)


def graph_of(context: Context, network: Network, settings: OnnxExporter) -> onnx.ModelProto:
    """The network as an ONNX graph, traced with real images."""
    network.module.to("cpu").eval()
    return to_graph(network.module, context.example(), settings)


def open_baselines(
    context: Context, inputs: Inputs, settings: OnnxExporter, folder: Path
) -> list[Baseline]:
    """Teacher and float network, written side by side with the same settings."""
    imitates = inputs["source"].path.suffix == ".onnx"  # then the file has the real thing
    found = []
    for role in ("teacher", "float"):
        if role in inputs:
            where = f"export.{role}"
            origin = open_origin(context, inputs[role], where, settings, marked=imitates)
            file = folder / f"{role}.onnx"
            save(origin.graph, file)
            found.append(Baseline(role, origin, file))
    return found
