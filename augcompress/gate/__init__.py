"""The gate: whether a run kept what its recipe promised, and its files are what was measured."""

from augcompress.gate.check import check_run
from augcompress.gate.formats import junit, summary
from augcompress.gate.integrity import completeness, integrity, shipped_file
from augcompress.gate.timing import read_timing
from augcompress.gate.verdicts import check_limits, not_kept
