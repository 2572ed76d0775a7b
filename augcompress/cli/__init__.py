"""The command line: commands parse, call and render; they import late, so help loads no torch."""

from __future__ import annotations

import signal
import sys
import traceback

import typer

from augcompress.cli.app import app
from augcompress.cli.joining import LOST, is_news, leave, lost_contact
from augcompress.errors import BUG, INTERRUPTED, AugcompressError, failure_elsewhere

# Commands register themselves; help lists them in this order.
# isort: off
from augcompress.cli import stages
from augcompress.cli import evidence
from augcompress.cli import runs
from augcompress.cli import about

# isort: on

ISSUES = "please report it with the text above, the recipe and the output of: augcompress doctor"
GOES_ON = "the same command goes on from the last state"


def main() -> None:
    """Entry point: every error becomes one line and an exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status = app(standalone_mode=False)
        if status == INTERRUPTED:  # what Typer makes of a KeyboardInterrupt
            raise KeyboardInterrupt
    except BaseException as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # whoever fails says why
        leave(report_error(error))
    leave(status if isinstance(status, int) else 0)


def report_error(error: BaseException) -> int:
    """Say what went wrong, once; the exit code."""
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's usage errors
        error.show()
        return error.exit_code
    if type(error).__name__ == "Abort":
        return INTERRUPTED
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    news = is_news(error)
    if lost_contact(error):
        return said(news, f"lost contact with another process; {GOES_ON}", LOST)
    known = error if isinstance(error, AugcompressError) else failure_elsewhere(error)
    if known is not None:
        verbose = not {"-v", "--verbose"}.isdisjoint(sys.argv)
        if news and verbose and (known is not error or error.__cause__ is not None):
            traceback.print_exception(error)
        return said(news, str(known), known.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return said(news, "interrupted; the same command goes on from here", INTERRUPTED)
    if news:
        traceback.print_exception(error)
    return said(news, f"this is a bug in augcompress; {ISSUES}", BUG)


def said(news: bool, message: str, exit_code: int) -> int:
    """The exit code, after the message where it is news."""
    if news:
        fail(message)
    return exit_code


def fail(message: str) -> None:
    """One line on standard error."""
    message = " ".join(message.split())
    if sys.stderr.isatty():
        message = typer.style("error: ", fg="red", bold=True) + message
    else:
        message = f"error: {message}"
    typer.echo(message, err=True)
