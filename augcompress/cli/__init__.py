"""The command line: commands parse, call and render; they import late, so help loads no torch."""

from __future__ import annotations

import signal
import sys
import traceback

import typer

from augcompress.cli.app import app
from augcompress.errors import AugcompressError

# Commands register themselves; help lists them in this order.
# isort: off
from augcompress.cli import stages  # noqa: F401
from augcompress.cli import evidence  # noqa: F401
from augcompress.cli import runs  # noqa: F401
from augcompress.cli import about  # noqa: F401

# isort: on

INTERRUPTED, BUG = 130, 70
ISSUES = "please report it with the text above, the recipe and the output of: augcompress doctor"

__all__ = ["app", "main"]


def main() -> None:
    """Entry point: every error becomes one line and an exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status = app(standalone_mode=False)
        if status == INTERRUPTED:  # what Typer makes of a KeyboardInterrupt
            raise KeyboardInterrupt
    except AugcompressError as error:
        fail(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        fail("interrupted; the same command goes on from here")
        sys.exit(INTERRUPTED)
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # click's usage errors
            error.show()
            sys.exit(error.exit_code)
        if type(error).__name__ == "Abort":
            sys.exit(INTERRUPTED)
        traceback.print_exc()
        fail(f"this is a bug in augcompress; {ISSUES}")
        sys.exit(BUG)
    sys.exit(status if isinstance(status, int) else 0)


def fail(message: str) -> None:
    """One line on standard error."""
    message = " ".join(message.split())
    if sys.stderr.isatty():
        message = typer.style("error: ", fg="red", bold=True) + message
    else:
        message = f"error: {message}"
    typer.echo(message, err=True)
