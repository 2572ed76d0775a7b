"""The command line: commands parse, call and render; they import late, so help loads no torch."""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import itertools
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer

from augcompress.cli.app import app
from augcompress.cli.joining import LOST, is_news, leave, lost_contact
from augcompress.cli.usage import usage_error
from augcompress.errors import (
    BUG,
    INTERRUPTED,
    AugcompressError,
    failure_elsewhere,
    first_line,
    is_interruption,
    is_no_memory,
    visible_text,
)
from augcompress.output import close_object, one_object

# Commands register themselves; help lists them in this order.
# isort: off
from augcompress.cli import stages
from augcompress.cli import comparing
from augcompress.cli import evidence
from augcompress.cli import studies
from augcompress.cli import predicting
from augcompress.cli import runs
from augcompress.cli import about

# isort: on

ISSUES = "please report it with the text above, the recipe and the output of: augcompress doctor"
GOES_ON = "the same command goes on from the last state"


def main() -> None:
    """Entry point: every error becomes one line and an exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    atexit.register(gc.freeze)  # Python ends without a last search of torch's million objects
    open_streams()
    with one_object(asks_for_json(sys.argv)):
        code = carried_out()
    leave(code)


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Whoever reads standard output then expects one object, also of a wrong command line."""
    return "--json" in itertools.takewhile(lambda one: one != "--", arguments)


def carried_out() -> int:
    """Do what the command line says, or say why not; the exit code."""
    try:
        status = app(prog_name="augcompress", standalone_mode=False)
        if status == INTERRUPTED:  # what Typer makes of a KeyboardInterrupt
            raise KeyboardInterrupt
        close_object()
        sys.stdout.flush()
    except BaseException as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # whoever fails says why
        code = report_error(KeyboardInterrupt() if is_interruption(error) else error)
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        silence(sys.stdout)
        return code
    return status if isinstance(status, int) else 0


def open_streams() -> None:
    """Make standard output and error writable with any text, also where they are closed or know
    ASCII only."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            os.set_inheritable(descriptor, True)
            setattr(sys, name, open(descriptor, "w" if number else "r"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def report_error(error: BaseException) -> int:
    """Say what went wrong, once; the exit code."""
    if hasattr(error, "show") and hasattr(error, "exit_code"):
        return misused(error)
    if isinstance(error, SystemExit) and failure_elsewhere(error) is None:
        return error.code if isinstance(error.code, int) else 1
    news = is_news(error)
    if isinstance(error, BrokenPipeError):  # whoever read standard output has seen enough
        return 1
    if lost_contact(error):
        return said(news, f"lost contact with another process; {GOES_ON}", LOST)
    known = mendable(error)
    if known is not None:
        verbose = not {"-v", "--verbose"}.isdisjoint(sys.argv)
        if news and verbose and (known is not error or error.__cause__ is not None):
            traceback.print_exception(error)
        return said(news, str(known), known.exit_code)
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return said(news, "interrupted; the same command goes on from here", INTERRUPTED)
    if news:
        traceback.print_exception(error)
    return said(news, f"this is a bug in augcompress; {ISSUES}", BUG)


def misused(error: Any) -> int:
    """Say one of Typer's errors, or show the help that it is; the exit code."""
    if (told := usage_error(error)) is not None:
        return said(True, str(told), told.exit_code)
    with contextlib.suppress(OSError):
        error.show()
        close_object(failure(error.format_message(), error.exit_code))
    return int(error.exit_code)


def mendable(error: BaseException) -> AugcompressError | None:
    """What to tell of an error that is no bug of ours: what the user can mend, what the system
    refused, what code from elsewhere did; None where it is one."""
    if isinstance(error, AugcompressError):
        return error
    if is_no_memory(error):
        wish = "make batches or networks smaller"
        return AugcompressError(f"out of memory: {first_line(error)}; {wish}")
    elsewhere = failure_elsewhere(error)
    if elsewhere is None and isinstance(error, OSError):
        place = error.filename or "standard output"
        return AugcompressError(f"{place}: {error.strerror or error}; make it accessible")
    return elsewhere


def silence(stream: Any) -> None:
    """Write nothing more to a stream that takes nothing, not even what waits in its buffer."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def said(news: bool, message: str, exit_code: int) -> int:
    """The exit code, after the message where it is news."""
    if news:
        fail(message)
        with contextlib.suppress(OSError):
            close_object(failure(message, exit_code))
    return exit_code


def failure(message: str, exit_code: int) -> dict[str, Any]:
    """What the object of --json says of it."""
    return {"error": visible_text(" ".join(message.split())), "exit_code": exit_code}


def fail(message: str) -> None:
    """One line on standard error."""
    message = visible_text(" ".join(message.split()))
    if sys.stderr.isatty():
        message = typer.style("error: ", fg="red", bold=True) + message
    else:
        message = f"error: {message}"
    with contextlib.suppress(OSError):
        typer.echo(message, err=True)
