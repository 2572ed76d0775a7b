"""Compressions: what makes a network or its graph smaller and faster."""

from typing import Annotated, TypeVar

from pydantic import Field

from augcompress.component import Plugin
from augcompress.compressions.base import (
    GraphCompression,
    History,
    NetworkCompression,
    Notes,
    Prepared,
    Probe,
)
from augcompress.compressions.channels import Channels
from augcompress.compressions.magnitude import Magnitude
from augcompress.compressions.static_int8 import StaticInt8
from augcompress.compressions.stored import stored_weights

PruneStep = Annotated[Magnitude | Channels | Plugin, Field(discriminator="kind")]
QuantizeStep = Annotated[StaticInt8 | Plugin, Field(discriminator="kind")]

Step = TypeVar("Step", NetworkCompression, GraphCompression)


def resolve(step: Step | Plugin, expected: type[Step]) -> Step:
    """The compression itself; a plug-in's class is loaded and must be an `expected`."""
    return step.component(expected) if isinstance(step, Plugin) else step


__all__ = [
    "Channels",
    "GraphCompression",
    "History",
    "Magnitude",
    "NetworkCompression",
    "Notes",
    "Prepared",
    "Probe",
    "PruneStep",
    "QuantizeStep",
    "StaticInt8",
    "resolve",
    "stored_weights",
]
