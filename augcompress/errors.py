"""The one error that users see: what is wrong, where, and what to do."""

from __future__ import annotations

import importlib

INTERRUPTED, BUG = 130, 70
"""Exit codes of a process that was asked to stop, and of one that met a bug of ours."""


class AugcompressError(Exception):
    """Something the user can mend.  The message is one line: `where: what is wrong; what to do`.

    `exit_code` is the process's exit status: 1 the user can mend it, 2 usage (also a wrong recipe
    key), 3 a limit was not reached.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class UsageError(AugcompressError):
    """A wrong command line, recipe key or `--set` (exit code 2)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=2)


class LimitError(AugcompressError):
    """A promise was checked and not kept: parity, a gate, a limit (exit code 3)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=3)


def require(module: str, *, extra: str):
    """Import an optional module, or say which extra brings it.

    Raises AugcompressError when it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise AugcompressError(
            f"{module}: not installed ({error}); run: pip install 'augcompress[{extra}]'"
        ) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message; its type where there is none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
