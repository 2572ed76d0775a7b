"""How many processes a command line asks for, and on which machines."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from augcompress.errors import UsageError

if TYPE_CHECKING:
    from augcompress.cli.options import Options

PORT = 29500  # torch's


@dataclass(frozen=True)
class Layout:
    """How many processes there are to be, and where."""

    devices: int = 1
    """Processes on this machine."""
    nodes: int = 1
    """Machines."""
    node_rank: int = 0
    """This machine among them."""
    rendezvous: str = ""
    """HOST:PORT of the first machine."""

    @property
    def world(self) -> int:
        """Processes on all machines."""
        return self.devices * self.nodes


def layout_of(options: Options) -> Layout:
    """What `--devices`, `--nodes`, `--node-rank` and `--rendezvous` say, or the environment.

    Raises UsageError where they contradict each other or the machine.
    """
    devices, nodes = device_count(options), options.nodes or 1
    if nodes == 1:
        given = {"--node-rank": options.node_rank, "--rendezvous": options.rendezvous}
        for flag in (name for name, value in given.items() if value is not None):
            raise UsageError(f"{flag}: has no meaning for one machine; give --nodes too")
        return Layout(devices)
    rank = options.node_rank
    if rank is None:
        rank = int(first_of("NODE_RANK", "GROUP_RANK", "SLURM_NODEID", default="-1"))
    if not 0 <= rank < nodes:
        raise UsageError(
            f"--nodes {nodes}: this machine's number is missing; give --node-rank 0 to {nodes - 1}"
        )
    return Layout(devices, nodes, rank, meeting_point(options.rendezvous, nodes))


def device_count(options: Options) -> int:
    """Devices to use on this machine.

    Raises UsageError when there are fewer.
    """
    given = options.devices or "1"
    if given != "auto" and not (given.isdecimal() and int(given) > 0):
        raise UsageError(f"--devices {given}: is no number of devices; give 1 or more, or auto")
    if given == "1" or (given != "auto" and options.device == "cpu"):
        return int(given)
    import torch

    found = torch.cuda.device_count() if options.device != "cpu" else 0
    if given == "auto":
        return max(found, 1)
    if 0 < found < int(given):
        raise UsageError(
            f"--devices {given}: torch finds {found} CUDA device{'s' if found > 1 else ''} here;"
            f" give --devices {found}, or --device cpu for processes on the CPU"
        )
    return int(given)


def meeting_point(given: str | None, nodes: int) -> str:
    """HOST:PORT where the machines meet.

    Raises UsageError when none is given.
    """
    host = first_of("MASTER_ADDR")
    if given is None and host:
        given = f"{host}:{first_of('MASTER_PORT', default=str(PORT))}"
    if given is None:
        raise UsageError(
            f"--nodes {nodes}: no meeting point; give --rendezvous HOST:PORT of the first machine"
        )
    name, _, port = given.rpartition(":")
    if not name:
        return f"{given}:{PORT}"
    if not (port.isdecimal() and 0 < int(port) < 65536):
        raise UsageError(f"--rendezvous {given}: {port} is no port; give HOST:PORT")
    return given


def first_of(*names: str, default: str = "") -> str:
    """The first of these environment variables that is set."""
    return next((os.environ[name] for name in names if os.environ.get(name)), default)
