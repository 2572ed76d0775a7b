"""Measures: plain functions that return a Measurement, with its n, interval and conditions."""

from enum import StrEnum

from augcompress.measures.cost import (
    count_macs,
    macs,
    macs_by_layer,
    nonzero_parameters,
    parameters,
    size_bytes,
)
from augcompress.measures.latency import BENCH_SCRIPT, Opener, footprint, time_file
from augcompress.measures.quality import calibrated, quality
from augcompress.measures.selection import SelectBy, select_by


class MeasureName(StrEnum):
    """Names that measurements of this room have."""

    TOP1 = "top1"
    TOP5 = "top5"
    MACRO_F1 = "macro_f1"
    RECALL = "recall"
    ROC_AUC = "roc_auc"
    NLL = "nll"
    NLL_SCALED = "nll_scaled"
    ECE = "ece"
    ECE_SCALED = "ece_scaled"
    AGREEMENT = "agreement"
    TOP1_DIFFERENCE = "top1_difference"
    ROBUST_TOP1 = "robust_top1"
    ROBUST_DROP = "robust_drop"
    PARAMETERS = "parameters"
    NONZERO_PARAMETERS = "nonzero_parameters"
    MACS = "macs"
    SIZE_BYTES = "size_bytes"
    COMPRESSED_BYTES = "compressed_bytes"
    LATENCY_MS = "latency_ms"
    LATENCY_P95_MS = "latency_p95_ms"
    THROUGHPUT = "throughput"
    SPEEDUP = "speedup"
    LOAD_MS = "load_ms"
    PEAK_MEMORY_BYTES = "peak_memory_bytes"
