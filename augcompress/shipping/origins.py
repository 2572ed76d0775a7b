"""What a file is made from: a network or a graph; and the baselines beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from torch import nn

from augcompress.compressions import Notes
from augcompress.exporters import OnnxExporter, Reference, graph_reference, network_reference
from augcompress.graphs import save
from augcompress.networks import Network, open_graph, open_network
from augcompress.running import Context, Input, Inputs
from augcompress.scoring import PredictFunction, predict_with_network, predict_with_onnx

FLOAT_GRAPH = "float.onnx"
"""What `quantize` leaves beside its graph when it started from a graph: what that one was."""
TEACHER, FLOAT = "teacher", "float"
"""Roles of baselines: the recipe's teacher, and what is shipped before it was quantised."""


@dataclass(frozen=True)
class Origin:
    """What a file is made from: a network, or a graph whose network is not known."""

    graph: onnx.ModelProto
    network: Network | None = None

    @property
    def source(self) -> nn.Module | onnx.ModelProto:
        """What exporters write: the network where there is one."""
        return self.graph if self.network is None else self.network.module.to("cpu")

    @property
    def reference(self) -> Reference:
        """What the file must do."""
        if self.network is None:
            return graph_reference(self.graph)
        return network_reference(self.network.module.to("cpu"))

    def predict_function(self, context: Context) -> PredictFunction:
        """It as a predict function."""
        if self.network is None:
            return predict_with_onnx(self.graph.SerializeToString(), context)
        return predict_with_network(self.network.module, context)

    @property
    def notes(self) -> Notes:
        """What compressions left for graph steps."""
        return {} if self.network is None else self.network.notes()


@dataclass(frozen=True)
class Baseline:
    """What the shipped file is compared with, as the fp32 file that it would ship as.

    Where teacher and float network are one artefact, both have one origin."""

    role: str
    origin: Origin
    file: Path


def open_origin(
    context: Context, given: Input, where: str, exporter: OnnxExporter, *, marked: bool = False
) -> Origin:
    """What a stage makes its file from; `marked`: with the named points that graph steps look for.

    Raises AugcompressError when it is no graph and no network, or does not fit the data.
    """
    example = context.example()
    if given.path.suffix == ".onnx":
        return Origin(exporter.to_graph(open_graph(context, given.path), example))
    teacher = context.spec.train_teacher
    model = teacher.model if teacher is not None else None
    network = open_network(context, given.path, model, where)
    module = (network.marked() if marked else network).module.to("cpu")
    return Origin(exporter.to_graph(module, example), network)


def open_baselines(context: Context, inputs: Inputs, folder: Path) -> dict[str, Baseline]:
    """Teacher and float network by role, written side by side with the headline's settings."""
    imitates = inputs["source"].path.suffix == ".onnx"  # then the file has the real thing
    exporter, found = context.spec.export.headline, dict[str, Baseline]()
    for role in (TEACHER, FLOAT):
        if role in inputs:
            origin = _opened_already(inputs, role, found) or open_origin(
                context, inputs[role], f"export.{role}", exporter, marked=imitates
            )
            file = folder / f"{role}.onnx"
            save(origin.graph, file)
            if exporter.input == "image":
                exporter.prepare_inside(file, context.data.resizing, context.data.size)
            found[role] = Baseline(role, origin, file)
    return found


def _opened_already(inputs: Inputs, role: str, found: Mapping[str, Baseline]) -> Origin | None:
    """The origin of a role that has the same artefact."""
    same = (one for one in found if inputs[one].digest == inputs[role].digest)
    return next((found[one].origin for one in same), None)
