"""The resume state: everything that decides how a training goes on, in one file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from augcompress.storage import write_aside
from augcompress.system import Reporter
from augcompress.training.processes import Processes
from augcompress.untrusted import MAX_DEPTH

STATE_FILE = "fit.pt"
VERSION = 4
"""Raise it when the state of an older version cannot be resumed."""


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state and its digest, aside and renamed."""
    with write_aside(folder / STATE_FILE) as aside:
        torch.save({"version": VERSION, "sha256": digest_of_state(state), **state}, aside)


def read_state(folder: Path, reporter: Reporter) -> dict[str, Any] | None:
    """The state of an interrupted training, on the CPU; None where there is none, or, with a
    message, none that is as it was written."""
    file = folder / STATE_FILE
    if not file.exists():
        return None
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        version, digest = state.pop("version"), state.pop("sha256")
        is_whole = version == VERSION and digest == digest_of_state(state)
    except Exception:  # whatever torch raises on bytes that have changed
        is_whole = False
    if not is_whole:
        reporter.message(f"{file.name}: cannot be gone on from; the training begins anew")
        return None
    return state


def digest_of_state(state: dict[str, Any]) -> str:
    """SHA-256 of everything in a state: names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for part in _parts(state):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any, depth: int = 0) -> Iterator[bytes | memoryview]:
    if depth > MAX_DEPTH:
        raise ValueError("a state inside itself")
    if isinstance(value, Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        yield value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data
    elif isinstance(value, dict | list | tuple):
        yield f"{type(value).__name__}{len(value)}".encode()
        for inner in value.items() if isinstance(value, dict) else value:
            yield from _parts(inner, depth + 1)
    else:
        yield repr(value).encode()


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
