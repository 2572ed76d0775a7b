"""The names of measurements."""

from __future__ import annotations

import difflib
from enum import StrEnum


class MeasureName(StrEnum):
    """Names that measurements have; plug-ins may bring others."""

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
    MACS_KEPT = "macs_kept"
    SPARSITY = "sparsity"
    INT8_WEIGHTS = "int8_weights"
    INT8_KERNELS = "int8_kernels"
    INT8_TIME = "int8_time"
    MAX_ABS_DIFFERENCE = "max_abs_difference"
    WEIGHTS_LICENCE = "weights_licence"


OF_SHIPPED_FILES = (
    "compressed_bytes",
    "latency_ms",
    "latency_p95_ms",
    "throughput",
    "speedup",
    "load_ms",
    "peak_memory_bytes",
    "int8_time",
    "weights_licence",
)
"""What is measured of the files that `export` writes only."""
TEXTS = ("weights_licence",)
"""Measures that are no numbers: a limit on them says which texts it allows."""
UNKNOWN = "unknown"
"""What they are where nobody says."""
OTHER_NAMES = {
    "accuracy": "top1",
    "acc": "top1",
    "acc1": "top1",
    "top_1": "top1",
    "acc5": "top5",
    "top_5": "top5",
    "f1": "macro_f1",
    "auc": "roc_auc",
    "loss": "nll",
    "cross_entropy": "nll",
    "params": "parameters",
    "flops": "macs",
    "size": "size_bytes",
    "file_size": "size_bytes",
    "latency": "latency_ms",
    "memory": "peak_memory_bytes",
    "license": "weights_licence",
    "licence": "weights_licence",
    "weights_license": "weights_licence",
}
"""What other tools call some of them."""


_UNITS = {
    "nll": "nats",
    "nll_scaled": "nats",
    "parameters": "count",
    "nonzero_parameters": "count",
    "macs": "count",
    "throughput": "images/s",
    "speedup": "ratio",
    "max_abs_difference": "",
    "weights_licence": "weights",
}


def unit_of(name: str, told: str = "") -> str:
    """The unit of a measure by its name: `fraction` of what is a share; what was `told` of a
    plug-in's."""
    if name not in list(MeasureName):
        return told
    ending = name.rpartition("_")[2]
    return _UNITS.get(name, ending if ending in ("bytes", "ms") else "fraction")


def unknown_measure(name: str) -> str:
    """What is wrong with a name that no measurement has; empty: one has it."""
    if name in OTHER_NAMES:
        return f"unknown measure {name!r}; did you mean {OTHER_NAMES[name]}?"
    known = [one.value for one in MeasureName]
    if name in known:
        return ""
    near = difflib.get_close_matches(name[:100], known, 1, 0.5)
    return f"unknown measure {name!r}; " + (
        f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    )
