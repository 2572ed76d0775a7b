"""What a stage is: a verb with inputs and a body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from augcompress.evidence import Measurement, Predictions
from augcompress.running.context import Context
from augcompress.spec import StageName


@dataclass(frozen=True)
class Input:
    """A file that a stage reads, and the digest of its content."""

    path: Path
    digest: str
    stage: str | None = None
    """The stage that made it; None for a file from elsewhere."""


@dataclass(frozen=True)
class Output:
    """What a stage's body leaves in its folder."""

    artifact: str | None
    """File name of the network or graph that later stages start from."""
    measurements: list[Measurement] = field(default_factory=list)
    predictions: Predictions | None = None
    notes: list[str] = field(default_factory=list)
    """Sentences for people."""


Inputs = Mapping[str, Input]


class Sources(Protocol):
    """What a stage may ask for when it names its inputs; `Runner` answers."""

    context: Context
    target: str
    """The stage that `--from` speaks of."""

    def artifact_of(self, name: StageName) -> Input: ...
    def source(self, name: StageName) -> Input: ...
    def teacher(self) -> Input | None: ...
    def network_before(self, name: StageName) -> Input | None: ...
    def file(self, given: str) -> Input: ...


@dataclass(frozen=True)
class Stage:
    """A verb of the command line."""

    name: StageName
    inputs: Callable[[Sources], dict[str, Input]]
    """The files that the stage reads, by role; asked before the key is made."""
    body: Callable[[Context, Inputs, Path], Output]
    """The work: writes into the folder that it is given."""
    makes: str | None
    """`network` or `graph`: what a later stage may start from; None where nothing is passed on."""
    trains: bool = False
    """Do several processes carry out the body together?  Else the first does, the others wait."""
    version: int = 1
    """Raise it when the same settings give another result than before."""
