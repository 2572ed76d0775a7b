"""The resume state: everything that decides how a training goes on, in one file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from augcompress.storage import write_aside
from augcompress.system import Reporter
from augcompress.training.processes import Processes

STATE_FILE = "fit.pt"
VERSION = 3
"""Raise it when the state of an older version cannot be resumed."""

_UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError)


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state, aside and renamed."""
    with write_aside(folder / STATE_FILE) as aside:
        torch.save({"version": VERSION, **state}, aside)


def read_state(folder: Path, reporter: Reporter) -> dict[str, Any] | None:
    """The state of an interrupted training, on the CPU; None where there is none, or, with a
    message, none that can be resumed."""
    file = folder / STATE_FILE
    if not file.exists():
        return None
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except _UNREADABLE:
        state = {}
    if not isinstance(state, dict) or state.get("version") != VERSION:
        reporter.message(f"{file.name}: cannot be gone on from; the training begins anew")
        return None
    return state


def random_state(processes: Processes, device: torch.device) -> dict[str, Tensor]:
    """Torch's streams, a row a process; every process asks for it at the same time."""
    streams = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        streams["cuda"] = torch.cuda.get_rng_state(device)
    return {name: processes.gather(one[None].to(device)).cpu() for name, one in streams.items()}


def set_random_state(rows: dict[str, Tensor], processes: Processes, device: torch.device) -> None:
    """Put torch's streams where they were; a process too many takes another's row."""
    own = {name: one.cpu()[processes.rank % len(one)].clone() for name, one in rows.items()}
    torch.set_rng_state(own["cpu"])  # a clone, as torch crashes on a view
    if "cuda" in own and device.type == "cuda":
        torch.cuda.set_rng_state(own["cuda"], device)


def put_state(module: nn.Module, values: dict[str, Tensor]) -> None:
    """Load values by name; the versions that some layers keep beside them come from `module`."""
    state = module.state_dict()
    state.update(values)
    module.load_state_dict(state)
