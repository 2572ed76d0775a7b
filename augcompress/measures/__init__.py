"""Measures: plain functions that return a Measurement, with its n, interval and conditions."""

from enum import StrEnum

from augcompress.measures.accuracy import agreement, top_k
from augcompress.measures.cost import count_macs, macs, nonzero_parameters, parameters, size_bytes
from augcompress.measures.latency import latency, speedup


class MeasureName(StrEnum):
    """Names that measurements of this room have."""

    TOP1 = "top1"
    TOP5 = "top5"
    AGREEMENT = "agreement"
    PARAMETERS = "parameters"
    NONZERO_PARAMETERS = "nonzero_parameters"
    MACS = "macs"
    SIZE_BYTES = "size_bytes"
    LATENCY_MS = "latency_ms"
    SPEEDUP = "speedup"


__all__ = [
    "MeasureName",
    "agreement",
    "count_macs",
    "latency",
    "macs",
    "nonzero_parameters",
    "parameters",
    "size_bytes",
    "speedup",
    "top_k",
]
