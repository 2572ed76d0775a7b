"""A process among others: those that torchrun, srun or this command itself has started meet here,
and end so that one of them says why."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from augcompress.cli.layout import PORT, Layout, first_of
from augcompress.errors import INTERRUPTED, AugcompressError, UsageError

if TYPE_CHECKING:
    import torch

    from augcompress.training import Processes

LAUNCHED = "AUGCOMPRESS_LAUNCHED"
"""Set in processes that another process of ours has started, to its id: it has the last word."""
WATCH_S = 1.0
"""How often they look whether it is still there."""
CLOSING_S = 120
"""Seconds for a process to write its state after SIGTERM, before it is killed."""
STEP_TIMEOUT = timedelta(minutes=30)
"""For processes that compute together, and to find each other."""
STAGE_TIMEOUT = timedelta(days=30)
"""For those that wait while the first process does a stage alone."""
SAYING_TIMEOUT = timedelta(seconds=20)
"""For the process that knows why all of them end, to say so."""
SAID = "augcompress/said"
LOST = 75
"""Exit code of a process that others have left; sysexits' "temporary failure"."""


def started(layout: Layout) -> bool:
    """Was this process started as one of several, by this command, torchrun or srun?

    Raises UsageError when it is one of another number than the command line says.
    """
    os.environ.update(slurm_variables(os.environ, layout))
    if not {"RANK", "LOCAL_RANK", "WORLD_SIZE"} <= os.environ.keys():
        return False
    world = int(os.environ["WORLD_SIZE"])
    if layout.world not in (1, world):
        raise UsageError(
            f"--devices: {layout.world} processes are asked for and {world} were started; leave"
            " --devices and --nodes out, whoever starts the processes decides"
        )
    return world > 1


def slurm_variables(found: Mapping[str, str], layout: Layout) -> dict[str, str]:
    """torchrun's variables for a task that srun has started; none elsewhere, and none where srun
    starts the command once on each machine to start the processes there.

    A batch script has SLURM_PROCID too, without being a task: tasks have a step, or MASTER_ADDR.
    """
    tasks = int(found.get("SLURM_STEP_NUM_TASKS") or found.get("SLURM_NTASKS") or 1)
    a_task = "SLURM_PROCID" in found and ("SLURM_STEP_ID" in found or "MASTER_ADDR" in found)
    if "RANK" in found or tasks == 1 or not a_task:
        return {}
    if layout.devices > 1 and layout.nodes == tasks:
        return {}
    per_node = re.match(r"\d+", found.get("SLURM_STEP_TASKS_PER_NODE") or f"{tasks}")
    port = 15000 + int(found.get("SLURM_JOB_ID") or PORT) % 10000
    return {
        "RANK": found["SLURM_PROCID"],
        "WORLD_SIZE": str(tasks),
        "LOCAL_RANK": found.get("SLURM_LOCALID", "0"),
        "LOCAL_WORLD_SIZE": per_node[0] if per_node else "1",
        "MASTER_ADDR": found.get("MASTER_ADDR") or first_host(found),
        "MASTER_PORT": found.get("MASTER_PORT") or str(port),
    }


def first_host(found: Mapping[str, str]) -> str:
    """The first machine of a SLURM step: `node[07-09,12],other` is node07."""
    hosts = found.get("SLURM_STEP_NODELIST") or found.get("SLURM_JOB_NODELIST") or "127.0.0.1"
    name = re.match(r"([^,\[]+)(?:\[(\d+))?", hosts)
    return "".join(part or "" for part in name.groups()) if name else hosts


def join(device: torch.device) -> Processes:
    """Meet the other processes.

    Raises AugcompressError when they do not come.
    """
    import torch.distributed as dist
    from accelerate import PartialState

    from augcompress.training import Processes

    share_cores()
    end_with(os.environ.get(LAUNCHED))
    try:
        state = PartialState(cpu=device.type == "cpu", timeout=STEP_TIMEOUT)
        patient = dist.new_group(backend="gloo", timeout=STAGE_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        place = f"{first_of('MASTER_ADDR')}:{first_of('MASTER_PORT')}"
        raise AugcompressError(
            f"process {os.environ['RANK']} of {os.environ['WORLD_SIZE']}: the processes do not"
            f" find each other at {place} ({str(error).splitlines()[0]}); check MASTER_ADDR and"
            " MASTER_PORT, and that all were started"
        ) from error
    return Processes(state.process_index, state.num_processes, patient)


def end_with(launcher: str | None) -> None:
    """End this process when the one that started it is gone, even killed: as after SIGTERM, and
    where that takes too long, at once."""

    def watch() -> None:
        while os.getppid() == int(launcher or 0):
            time.sleep(WATCH_S)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(CLOSING_S)
        os._exit(LOST)

    if launcher is not None:
        threading.Thread(target=watch, name="launcher", daemon=True).start()


def share_cores(processes: int | None = None) -> None:
    """Give each process of this machine its part of the cores, unless OMP_NUM_THREADS says it."""
    if os.environ.get("OMP_NUM_THREADS"):
        return
    import torch

    from augcompress.system import available_cpus

    own = first_of("SLURM_CPUS_PER_TASK") if processes is None else ""
    among = processes or int(first_of("LOCAL_WORLD_SIZE", default="1"))
    threads = int(own or max(1, available_cpus() // among))
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)


def in_company() -> bool:
    """Has this process joined others?"""
    dist = sys.modules.get("torch.distributed")
    return dist is not None and dist.is_initialized()


def is_news(error: BaseException) -> bool:
    """Should this process say why it ends?  Of several, the first that fails does.

    One that stops because another has failed waits until that one has said it.
    """
    if os.environ.get(LAUNCHED) and (isinstance(error, KeyboardInterrupt) or lost_contact(error)):
        return False  # the process that started this one sees it, and says it once
    if not in_company():
        return True
    from torch.distributed.distributed_c10d import _get_default_store, get_rank

    from augcompress.training import StoppedElsewhere

    try:
        if not isinstance(error, StoppedElsewhere):
            return _get_default_store().add(SAID, 1) == 1
        if error.exit_code != INTERRUPTED:
            _get_default_store().wait([SAID], SAYING_TIMEOUT)
        return False
    except RuntimeError:  # the process that keeps the store has gone
        return get_rank() == 0


def lost_contact(error: BaseException) -> bool:
    """Did a process fail only because another has gone?"""
    if not in_company() or not isinstance(error, RuntimeError):
        return False
    from torch.distributed import DistError

    return isinstance(error, DistError) or "/gloo/" in str(error)


def leave(code: int) -> None:
    """End this process, whatever its exit code; one that fails waits for no other.

    Of several processes none takes the group apart: a thread of it that finds another gone would
    abort the process whose work is done.
    """
    if not in_company():
        sys.exit(code)
    if code == 0:
        from torch.distributed import barrier

        with contextlib.suppress(RuntimeError):  # another has failed, and says so itself
            barrier()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
