"""The one error that users see: what is wrong, where, and what to do."""

from __future__ import annotations

import importlib
import os
import re
import sys
from traceback import walk_tb
from types import FrameType, ModuleType

INTERRUPTED, BUG = 130, 70
"""Exit codes of a process that was asked to stop, and of one that met a bug of ours."""
PLUGIN_MODULE = "augcompress_plugin_"
"""Beginning of the names that modules from plug-ins' files have."""

_NO_MEMORY = ("DefaultCPUAllocator", "out of memory")
"""How torch tells of memory in a RuntimeError: the CPU's, other devices'."""
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class AugcompressError(Exception):
    """Something the user can mend.  The message is one line: `where: what is wrong; what to do`.

    `exit_code` is the process's exit status: 1 the user can mend it, 2 usage (also a wrong recipe
    key), 3 a limit was not reached.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(" ".join(part.strip() for part in message.splitlines()))  # libraries' too
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


def is_interruption(error: BaseException) -> bool:
    """Was the process asked to stop, be it that a library has made another error of it?"""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, KeyboardInterrupt):
        seen = seen.__cause__
    return seen is not None


def first_line(error: BaseException) -> str:
    """The first line of an error's message; its type where there is none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


_BEARERS = {"torch", "numpy", "typer", "click", *sys.stdlib_module_names}
"""Packages whose errors are those of whoever called them."""
_LIBRARIES = {
    "torch_pruning": "Torch-Pruning",
    "onnxruntime": "ONNX Runtime",
    "onnxscript": "the ONNX exporter",
    "timm": "timm",
    "transformers": "transformers",
    "torchvision": "torchvision",
}
"""Packages that are given what the user brings, and what people call them."""
_users_code = set[str]()  # folders of plug-ins, and names of packages that have some


def note_users_code(module: ModuleType) -> None:
    """Remember that a module, and what lies beside its file, is code of the user's own."""
    _users_code.add(module.__name__.partition(".")[0])
    if module.__name__.startswith(PLUGIN_MODULE):
        _users_code.add(os.path.dirname(str(module.__file__)))


def failure_elsewhere(error: BaseException) -> AugcompressError | None:
    """What to tell of an error that code of the user's own has raised, or a library that was given
    what the user brought: whose it is, and where; None where it is ours.

    Code of the user's own counts wherever it takes part, a library where it was the last to.
    """
    if not isinstance(error, Exception | SystemExit) or isinstance(error, AugcompressError):
        return None
    if (told := failure_of_users_code(error)) is not None:
        return AugcompressError(f"{told}; mend it, or see all of it with -v")
    steps = _steps(error)
    library = _LIBRARIES.get(_package(steps[-1][0])) if steps else None
    if library is None:
        return None
    return AugcompressError(
        f"{library} has failed: {_told(error, steps[-1])}; change the model or its settings, or see"
        " all of it with -v"
    )


def failure_of_users_code(error: BaseException) -> str | None:
    """What has failed, and where, if code of the user's own took part."""
    own = [each for each in _steps(error) if _is_users(each[0])]
    return f"a plug-in has failed: {_told(error, own[-1])}" if own else None


def cause(error: BaseException) -> str:
    """Why something failed, for people: with the place, where it is in code of the user's own."""
    return failure_of_users_code(error) or first_line(error)


def _steps(error: BaseException) -> list[tuple[FrameType, int]]:
    return [(step, line) for step, line in walk_tb(error.__traceback__) if _acts(step)]


def _told(error: BaseException, place: tuple[FrameType, int]) -> str:
    code, line = place[0].f_code, place[1]
    return (
        f"{type(error).__name__}: {first_line(error)}"
        f" ({os.path.basename(code.co_filename)}, line {line}, in {code.co_name})"
    )


def _acts(step: FrameType) -> bool:
    return _package(step) not in _BEARERS


def _package(step: FrameType) -> str:
    return str(step.f_globals.get("__name__", "")).partition(".")[0]


def _is_users(step: FrameType) -> bool:
    package, file = _package(step), step.f_code.co_filename
    if package in _users_code:
        return True
    installed = package == "augcompress" or "site-packages" in file
    return not installed and any(file.startswith(f"{folder}{os.sep}") for folder in _users_code)


def is_no_memory(error: BaseException) -> bool:
    """Whether there was too little memory, be it of another device."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY)


def visible_text(text: str) -> str:
    """Any text for a terminal or a page: characters that would steer it (escapes, carriage returns,
    turns of the writing direction), and those that no encoding has, are written as their codes.
    Line ends and tabs stay."""
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


def visible_line(text: str) -> str:
    """The same on one line: line ends and tabs are written as their codes, too."""
    return visible_text(text).translate({ord(c): ascii(c)[1:-1] for c in "\t\n"})
