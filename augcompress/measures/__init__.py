"""Measures: plain functions that return a Measurement, with its n, interval and conditions."""

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
