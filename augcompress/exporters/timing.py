"""Files of any exporter, opened in a new process for `bench.py` to time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from augcompress.exporters import Target, resolve_target
from augcompress.inference import LoadedModel


@dataclass(frozen=True)
class SessionInput:
    """An input as ONNX Runtime describes it."""

    name: str
    type: str
    shape: list[Any]


@dataclass(frozen=True)
class TimedSession:
    """A loaded model with the two methods of a session of ONNX Runtime that `bench.py` calls."""

    model: LoadedModel
    shape: Sequence[int]

    def get_inputs(self) -> list[SessionInput]:
        """Its one input, the images."""
        kind = "tensor(uint8)" if self.model.input == "uint8" else "tensor(float)"
        return [SessionInput("images", kind, [self.model.batch or "batch", *self.shape])]

    def run(self, _: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs for the images."""
        return [self.model.call(feed["images"])]


def open_target(
    file: str, threads: int, setting: dict[str, Any], shape: Sequence[int]
) -> TimedSession:
    """A file as its target of `export.targets` opens it; `shape`: that of an image."""
    target: Any = TypeAdapter(Target).validate_python(setting)
    return TimedSession(resolve_target(target).open(Path(file), threads), shape)
