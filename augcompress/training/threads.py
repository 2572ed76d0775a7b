"""How many CPU threads a training runs on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from augcompress.system import available_cpus

SMALL_STEP = 1e9
"""Multiply-adds of a step, forward and backward, below which one thread does it.  Threads meet at
every operator, and where these take microseconds, meeting costs more than a second core brings; on
a machine with other work, many times more."""


def use_available_cpus() -> None:
    """As many threads as affinity and the container's quota allow, unless OMP_NUM_THREADS says."""
    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(available_cpus())


def threads_of_step(macs: float) -> int:
    """Threads for steps of so many multiply-adds: one for small ones, else the CPUs that there are.

    It depends on nothing that changes between two runs: other numbers of threads give other bits.
    """
    return 1 if macs < SMALL_STEP else available_cpus()


@contextmanager
def cpu_threads(macs: float) -> Iterator[None]:
    """Torch's threads for a training whose steps have so many multiply-adds; OMP_NUM_THREADS, where
    it is set, decides instead."""
    before = torch.get_num_threads()
    if not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(threads_of_step(macs))
    try:
        yield
    finally:
        torch.set_num_threads(before)
