"""Freed memory is kept, where the C library can."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from augcompress.system.memory import keep_freed_memory

FAULTS = """
import resource, torch
from augcompress.system.memory import keep_freed_memory
torch.set_num_threads(1)
if {keep}: keep_freed_memory()
def step():
    images = torch.full((128, 3, 32, 32), 0.5)
    for _ in range(4): images = images * 0.5 + images
for _ in range(20): step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20): step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(keep: bool) -> int:
    told = subprocess.run(
        [sys.executable, "-c", FAULTS.format(keep=keep)], check=True, capture_output=True, text=True
    )
    return int(told.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_tensors_that_are_made_again_fault_no_pages_in():
    assert keep_freed_memory()
    assert 5 * faults(True) <= faults(False)  # none at all where the system keeps it anyway


@pytest.mark.parametrize("error", [OSError, AttributeError, TypeError])
def test_other_c_libraries_are_left_alone(monkeypatch, error):
    def absent(_):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert keep_freed_memory.__wrapped__() is False
