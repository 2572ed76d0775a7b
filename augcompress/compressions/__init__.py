"""Compressions: what makes a network or its graph smaller and faster."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from augcompress.component import Plugin
from augcompress.compressions.base import (
    AnyCompression,
    CostName,
    Decisions,
    GraphCompression,
    GraphProbe,
    History,
    NetworkCompression,
    Notes,
    Prepared,
    Probe,
    stored_weights,
)
from augcompress.compressions.channels import Channels
from augcompress.compressions.magnitude import Magnitude
from augcompress.compressions.static_int8 import StaticInt8
from augcompress.errors import AugcompressError

Compression = Annotated[Magnitude | Channels | StaticInt8 | Plugin, Field(discriminator="kind")]


def resolve(step: AnyCompression | Plugin) -> AnyCompression:
    """The compression itself; a plug-in's class is loaded and must be one."""
    return step.component(AnyCompression) if isinstance(step, Plugin) else step


def misplaced(steps: Sequence[AnyCompression | Plugin], *, graphs: bool = True) -> int | None:
    """The first step that stands where it cannot: one on the network behind one on the graph, or,
    without `graphs`, any on the graph.  A plug-in that is not loaded may stand anywhere."""
    graph_seen = False
    for place, step in enumerate(steps):
        if isinstance(step, Plugin):
            continue
        if (step.level == "graph" and not graphs) or (step.level == "network" and graph_seen):
            return place
        graph_seen = step.level == "graph" or graph_seen
    return None


def resolve_steps(
    steps: Sequence[AnyCompression | Plugin], where: str
) -> tuple[list[NetworkCompression], list[GraphCompression]]:
    """The steps on the network and those on the graph.

    Raises AugcompressError when a plug-in among them stands where it cannot.
    """
    found = [resolve(step) for step in steps]
    if (place := misplaced(found, graphs=where != "prune")) is not None:
        raise AugcompressError(f"{where}.steps.{place}: {wrong_place(found[place])}")
    on_network = [step for step in found if isinstance(step, NetworkCompression)]
    return on_network, [step for step in found if isinstance(step, GraphCompression)]


def wrong_place(step: AnyCompression | Plugin) -> str:
    """Why a step cannot stand where it does."""
    if isinstance(step, GraphCompression):
        return f"{step.kind} works on the graph; put it under quantize"
    return f"{step.kind} works on the network and cannot follow a step on the graph; put it before"
