"""From a network or a graph to the files that ship: verified, compared, described."""

from __future__ import annotations

from augcompress.shipping.comparison import compare
from augcompress.shipping.layers import layers
from augcompress.shipping.metadata import metadata
from augcompress.shipping.origins import FLOAT_GRAPH, Baseline, Origin, open_baselines, open_origin
from augcompress.shipping.verification import calibration, check_baseline, check_parity

__all__ = [
    "FLOAT_GRAPH",
    "Baseline",
    "Origin",
    "calibration",
    "check_baseline",
    "check_parity",
    "compare",
    "layers",
    "metadata",
    "open_baselines",
    "open_origin",
]
