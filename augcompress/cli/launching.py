"""Several devices: a command starts itself once for each, by torch's own launcher, and waits."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from augcompress.cli.joining import CLOSING_S, LAUNCHED, LOST, STEP_TIMEOUT, share_cores
from augcompress.cli.layout import Layout
from augcompress.errors import AugcompressError

if TYPE_CHECKING:
    from torch.distributed.launcher.api import LaunchConfig


def launch(layout: Layout) -> int:
    """Start this very command once for each device of this machine, and wait; its exit code.

    Raises AugcompressError when a process was killed, KeyboardInterrupt when asked to stop.
    """
    share_cores(layout.devices)
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(CLOSING_S))
    logging.disable(logging.CRITICAL)  # the launcher's log of what is said here in one line
    os.environ[LAUNCHED] = str(os.getpid())
    try:
        with tempfile.TemporaryDirectory(prefix="augcompress-") as folder:
            return outcome(exit_codes(layout, folder), layout.world)
    finally:
        del os.environ[LAUNCHED]  # this process speaks for itself


def exit_codes(layout: Layout, folder: str) -> dict[int, int]:
    """Run the processes; the exit codes of those that failed by rank, the first to fail first.

    Raises AugcompressError when the machines do not meet, KeyboardInterrupt when asked to stop.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.launcher.api import elastic_launch

    try:
        elastic_launch(launch_config(layout, folder), sys.executable)(*own_command())
    except ChildFailedError as error:
        return {rank: failure.exitcode for rank, failure in error.failures.items()}
    except SignalException as error:
        raise KeyboardInterrupt from error
    except (RendezvousError, TimeoutError, RuntimeError) as error:
        if layout.nodes == 1:
            raise
        raise AugcompressError(
            f"--rendezvous {layout.rendezvous}: the machines do not find each other"
            f" ({str(error).splitlines()[0]}); check the address, and that all were started"
        ) from error
    return {}


def launch_config(layout: Layout, folder: str) -> LaunchConfig:
    """torchrun's settings: `--standalone` on one machine, else a fixed meeting point."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

    shared: dict[str, Any] = {
        "min_nodes": layout.nodes,
        "max_nodes": layout.nodes,
        "nproc_per_node": layout.devices,
        "max_restarts": 0,
        "logs_specs": DefaultLogsSpecs(log_dir=folder),
    }
    if layout.nodes == 1:
        return LaunchConfig(
            **shared,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
        )
    return LaunchConfig(
        **shared,
        run_id="augcompress",
        rdzv_backend="static",
        rdzv_endpoint=layout.rendezvous,
        rdzv_configs={"rank": layout.node_rank, "timeout": int(STEP_TIMEOUT.total_seconds())},
    )


def own_command() -> list[str]:
    """The arguments of Python for this very command.  Modules in the working directory are out of
    reach where they are for this process."""
    reachable = os.getcwd() in {os.path.abspath(path) for path in sys.path}
    return [*([] if reachable else ["-P"]), "-m", "augcompress", *sys.argv[1:]]


def outcome(codes: Mapping[int, int], world: int) -> int:
    """The exit code of a command whose processes ended with these, the first to fail first.

    Raises AugcompressError when one was killed: nobody else can say so.
    """
    if not codes:
        return 0
    closing = (-signal.SIGTERM, LOST)  # those that had to stop because of another
    for rank, code in codes.items():
        if code < 0 and code not in closing:
            raise AugcompressError(
                f"process {rank + 1} of {world} was killed ({signal.Signals(-code).name}); the same"
                " command goes on from the last state"
            )
        if code > 0 and code not in closing:
            return code
    raise AugcompressError(
        f"the {world} processes lost each other; see what the other machines say, then the same"
        " command goes on from the last state"
    )
