"""The command in a process forked from this one, which may be killed on its way.

A fork costs no imports, so that moments fall into the work.  It is killed after a time, or just
before the n-th operation of it on a file: what lies between two operations takes no time, and no
clock would hit it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from augcompress import cli

LATE = (
    "augcompress.compare", "augcompress.gate", "augcompress.render", "augcompress.report.page",
    "augcompress.search", "augcompress.stages", "onnxruntime.quantization", "scipy.stats",
    "sklearn.datasets", "torch_pruning", "torch.onnx", "onnxscript", "accelerate",
)  # fmt: skip
"""What commands import on their way."""
for name in LATE:
    importlib.import_module(name)
OPERATIONS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate"}
"""Python's audit events that change a folder; opening a file for writing is one, too."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass(frozen=True)
class Moment:
    """When a process is sent which signal: after seconds, or before an operation on a file."""

    number: signal.Signals
    after_s: float = float("inf")
    operation: int = 0

    @property
    def kind(self) -> str:
        return "before an operation" if self.operation else "at a time"

    def __str__(self) -> str:
        when = f"operation {self.operation}" if self.operation else f"{self.after_s:.3f} s"
        return f"{self.number.name} at {when}"


NEVER = Moment(signal.SIGKILL)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """The exit code; negative: the signal."""
    out: str
    err: str
    seconds: float
    operations: int
    """On files, as many as were begun."""

    @property
    def errors(self) -> list[str]:
        """The lines that tell of errors."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


def command(folder: Path, *arguments: str, moment: Moment = NEVER) -> Ended:
    """`augcompress ARGUMENTS` in `folder`, with its temporary files and its cache beside it."""
    told = [os.memfd_create(name) for name in ("out", "err", "operations")]
    began = time.monotonic()
    process = os.fork()
    if process == 0:
        _become(folder, arguments, moment, told)
    code = _wait(process, began, moment)
    seconds = time.monotonic() - began
    _wait_for_group(process)
    out, err, operations = map(_content, told)
    return Ended(code, out, err, seconds, len(operations))


def _content(descriptor: int) -> str:
    with open(descriptor, errors="replace") as file:
        file.seek(0)
        return file.read()


def _wait(process: int, began: float, moment: Moment) -> int:
    sent = False
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if not sent and time.monotonic() - began >= moment.after_s:
            os.kill(process, moment.number)
            sent = True
        time.sleep(0.001)


def _wait_for_group(process: int, grace_s: float = 60.0) -> None:
    """Processes that it had started are allowed to end.

    Raises AssertionError when one does not.
    """
    deadline = time.monotonic() + grace_s
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(process, 0)
            time.sleep(0.05)
        os.killpg(process, signal.SIGKILL)
        raise AssertionError(f"a process that {process} had started lives {grace_s:g} s longer")


def _become(folder: Path, arguments: tuple[str, ...], moment: Moment, told: list[int]) -> None:
    """Be the command; never returns."""
    code: Any = 70
    try:
        os.setpgid(0, 0)
        for number in (1, 2):
            os.dup2(told[number - 1], number)
        sys.stdout, sys.stderr = (
            open(n, "w", buffering=1, closefd=False)  # noqa: SIM115
            for n in (1, 2)
        )
        os.chdir(folder)
        scratch = folder.parent / "scratch"
        scratch.mkdir(exist_ok=True)
        os.environ |= {"TMPDIR": str(scratch), "XDG_CACHE_HOME": str(folder.parent / "cache")}
        tempfile.tempdir = None
        sys.argv = ["augcompress", *arguments]
        sys.addaudithook(_watch(str(folder), moment, told[2]))
        cli.main()
    except SystemExit as error:
        code = error.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _watch(folder: str, moment: Moment, counter: int) -> Callable[[str, tuple[Any, ...]], None]:
    """Counts operations below `folder`, a byte each, and sends the signal before its own."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if not _is_operation(event, arguments, folder):
            return
        count += 1
        os.write(counter, b".")
        if count == moment.operation:
            os.kill(os.getpid(), moment.number)

    return hook


def _is_operation(event: str, arguments: tuple[Any, ...], folder: str) -> bool:
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, int) or not flags & WRITING:
            return False
    elif event not in OPERATIONS:
        return False
    return os.path.abspath(os.fsdecode(arguments[0])).startswith(folder)
