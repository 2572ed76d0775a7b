"""The layers of the shipped network: where its weights and its work are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from augcompress.evidence import Layer, count_text, percent
from augcompress.report.content import Run

MOST_SENSITIVE = 3


@dataclass(frozen=True)
class LayerRow:
    """A layer in words, with the lengths of its bars as shares of the longest."""

    name: str
    type: str
    parameters: str
    parameters_width: str
    macs: str
    macs_width: str
    zeros: str
    precision: str
    sensitivity: str
    sensitive: bool
    """Among the most sensitive ones."""


@dataclass(frozen=True)
class LayersView:
    """The section on layers."""

    rows: Sequence[LayerRow]
    total: str
    """All of them in a sentence."""
    measured: bool
    """Whether sensitivity was."""


def read_network(run: Run) -> LayersView | None:
    """None: the run has no list of layers."""
    if not run.layers:
        return None
    told = sorted(one.sensitivity_db for one in run.layers if one.sensitivity_db is not None)
    bound = told[:MOST_SENSITIVE][-1] if len(told) > MOST_SENSITIVE else None
    parameters = max(max(one.parameters for one in run.layers), 1)
    macs = max(max(one.macs for one in run.layers), 1)
    rows = [_row(one, parameters, macs, bound) for one in run.layers]
    return LayersView(rows, _total(run.layers), bool(told))


def _row(one: Layer, parameters: int, macs: int, bound: float | None) -> LayerRow:
    decibels = one.sensitivity_db
    return LayerRow(
        name=one.name,
        type=one.type,
        parameters=count_text(one.parameters),
        parameters_width=f"{one.parameters / parameters:.4f}",
        macs=count_text(one.macs),
        macs_width=f"{one.macs / macs:.4f}",
        zeros=f"{percent(_zeros([one]))} %",
        precision=one.precision,
        sensitivity="–" if decibels is None else f"{decibels:.1f} dB",
        sensitive=decibels is not None and bound is not None and decibels <= bound,
    )


def _zeros(layers: Sequence[Layer]) -> float:
    total = sum(one.parameters for one in layers)
    return 1 - sum(one.nonzero_parameters for one in layers) / total if total else 0.0


def _total(layers: Sequence[Layer]) -> str:
    parameters, macs = sum(one.parameters for one in layers), sum(one.macs for one in layers)
    precisions: dict[str, int] = {}
    for one in layers:
        precisions[one.precision] = precisions.get(one.precision, 0) + one.parameters
    shares = [
        f"{percent(count / max(parameters, 1))} % in {precision}"
        for precision, count in sorted(precisions.items())
    ]
    return (
        f"{len(layers)} layers hold {count_text(parameters)} parameters, {', '.join(shares)},"
        f" {percent(_zeros(layers))} % of them zero; one image takes {count_text(macs)}"
        " multiply-adds."
    )
