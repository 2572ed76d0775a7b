"""Components: frozen settings that build their worker, and the one door for plug-ins."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo

from augcompress.errors import PLUGIN_MODULE, AugcompressError, UsageError, note_users_code
from augcompress.wording import wrong_value

ALLOW_PLUGINS = "AUGCOMPRESS_ALLOW_PLUGINS"
LONGEST_NAME, LONGEST_PATH = 255, 4000
"""Bytes of a file's name, characters of a whole path."""
_VARIABLE = re.compile(r"\$\{(\w+)\}")


class NotInKey:
    """Marks a field that does not change a stage's result (a path, say): left out of the key."""


class PlacedText(str):
    """Text whose relative path starts at a `folder` of its own, wherever the recipe lies."""

    folder: str = ""


def start_of(text: str, info: ValidationInfo) -> str | None:
    """Where a relative path starts: at a folder of its own, else at the recipe's."""
    return text.folder if isinstance(text, PlacedText) else (info.context or {}).get("base")


def expand_path(text: str, base: str | None) -> str:
    """`~` and `${NAME}` expanded; a relative path starts at `base`.

    Raises ValueError when an environment variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise ValueError(f"environment variable {match[1]} is not set; export it first")
        return os.environ[match[1]]

    try:
        path = Path(_VARIABLE.sub(value, text)).expanduser()
    except RuntimeError as error:  # ~somebody
        raise ValueError(f"{text}: {error}; write the folder") from error
    found = str(path if base is None or path.is_absolute() else Path(base) / path)
    too_long = max(map(len, os.fsencode(found).split(b"/"))) > LONGEST_NAME
    if too_long or len(found) > LONGEST_PATH:
        raise ValueError(f"{found[:40]}… is longer than a path can be; shorten it")
    return found


def _resolve_path(given: Any, info: ValidationInfo) -> Any:
    return expand_path(given, start_of(given, info)) if isinstance(given, str) else given


FilePath = Annotated[str, NotInKey(), BeforeValidator(_resolve_path)]
"""A path in a recipe: `~` and `${ENV}` are expanded, relative ones start at the recipe's folder;
those of `--set`, and of a recipe that comes with the package, at the current folder."""


class Section(BaseModel):
    """A part of a recipe or a record of a run: frozen; a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Component(Section):
    """Frozen settings with a `kind`, that build their worker.  The room's union is the registry."""

    kind: str


def _resolve_target(given: Any, info: ValidationInfo) -> Any:
    if not isinstance(given, str):
        return given
    location, colon, name = given.rpartition(":")
    if not colon or not name.isidentifier():
        raise ValueError(
            f"{given[:60]} names no class; write ./file.py:Class, a file beside the recipe, or"
            " package.module:Class"
        )
    if location.endswith(".py"):
        location = expand_path(location, start_of(given, info))
    return f"{location}:{name}"


class Plugin(Component):
    """A class of the user's own, imported only with `--allow-plugins`.

    Only subclasses of `Component` or `torch.nn.Module` are accepted.
    """

    kind: Literal["plugin"] = "plugin"
    target: Annotated[str, NotInKey(), BeforeValidator(_resolve_target)]
    """`./my_file.py:Class`, relative to the recipe (in `--set`: to the current folder), or
    `package.module:Class`."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the class."""

    def load(self) -> type:
        """The class that `target` names.

        Raises AugcompressError without permission, or when there is no such file or class.
        """
        location, _, name = self.target.rpartition(":")
        found = getattr(self._imported(location), name, None)
        if not isinstance(found, type):
            raise AugcompressError(
                f"plugin {self.target}: the module has no class {name}; name one of its own"
            )
        return found

    def component(self, expected: type[Component]) -> Any:
        """The user's Component, made from `options`.

        Raises AugcompressError when the class is no `expected` or the options do not fit.
        """
        found = self.load()
        if not issubclass(found, expected):
            raise AugcompressError(
                f"plugin {self.target}: is no subclass of"
                f" {expected.__module__}.{expected.__name__}; derive it from that"
            )
        try:
            return found(**self.options)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UsageError(
                f"plugin {self.target}: options.{where}: {wrong_value(first)}"
            ) from error

    def module(self, expected: type, **facts: Any) -> Any:
        """The user's class, made from `options` and those of `facts` that it takes.

        Raises AugcompressError when the class is no `expected` or refuses the options.
        """
        found = self.load()
        if not issubclass(found, expected):
            raise AugcompressError(
                f"plugin {self.target}: is no subclass of {expected.__name__}; derive it from that"
            )
        taken = inspect.signature(found).parameters
        wanted = {name: value for name, value in facts.items() if name in taken}
        try:
            return found(**{**wanted, **self.options})
        except TypeError as error:
            raise AugcompressError(f"plugin {self.target}: {error}; mend its options") from error

    def digest(self) -> str:
        """SHA-256 of the plug-in's source file, for the stage's key."""
        location, _, _ = self.target.rpartition(":")
        by_name = not location.endswith(".py")
        file = (self._imported(location).__file__ or "") if by_name else location
        try:
            return hashlib.sha256(Path(file).read_bytes()).hexdigest()
        except OSError as error:
            raise AugcompressError(
                f"plugin {self.target}: {file} cannot be read ({error.strerror}); check the path"
            ) from error

    def _imported(self, location: str) -> ModuleType:
        if os.environ.get(ALLOW_PLUGINS, "") in ("", "0"):
            raise AugcompressError(
                f"plugin {self.target}: runs code from a file; if you trust it, add --allow-plugins"
                f" or set {ALLOW_PLUGINS}=1"
            )
        module = _import(location)
        note_users_code(module)
        return module


def _import(location: str) -> ModuleType:
    try:
        if not location.endswith(".py"):
            return importlib.import_module(location)
        return _import_file(Path(location).resolve())
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise AugcompressError(
            f"plugin {location}: cannot be imported: {type(error).__name__}: {error}; mend it"
        ) from error


def _import_file(path: Path) -> ModuleType:
    """The module in a file; when the file has changed, another one than before."""
    source = path.read_bytes()
    name = f"{PLUGIN_MODULE}{hashlib.sha256(str(path).encode() + source).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        exec(compile(source, path, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def first_problem(error: ValidationError, whole: str) -> str:
    """The first thing that is wrong with data from outside: `field.0: what`; `whole` is what the
    data are called."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or whole}: {wrong_value(first)}"


def _is_marked(metadata: Iterable[Any], annotation: Any) -> bool:
    """Is NotInKey on a field, or on a member of its union (`FilePath | None`)?"""
    if any(isinstance(mark, NotInKey) for mark in metadata):
        return True
    return any(
        _is_marked(getattr(inner, "__metadata__", ()), inner) for inner in get_args(annotation)
    )


def key_of(value: Any) -> Any:
    """What of a section decides its result, as JSON data: fields marked NotInKey are left out,
    and a plug-in is its class name, options and the digest of its source."""
    if isinstance(value, BaseModel):
        fields = {
            name: key_of(getattr(value, name))
            for name, field in type(value).model_fields.items()
            if not _is_marked(field.metadata, field.annotation)
        }
        if isinstance(value, Plugin):
            fields |= {"class": value.target.rpartition(":")[2], "code": value.digest()}
        return fields
    if isinstance(value, list | tuple):
        return [key_of(item) for item in value]
    if isinstance(value, dict):
        return {str(name): key_of(item) for name, item in value.items()}
    return value
