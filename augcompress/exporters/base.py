"""What every exporter is: settings that write a runtime's file, open it, describe and check it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import onnx
from pydantic import Field
from torch import Tensor, nn

from augcompress.component import Component

BATCH = 256
"""Images in a call where many are run and the file takes any number."""
Images = np.ndarray | Tensor
"""`(N,C,H,W)`: uint8 0-255, or float in [0,1]."""
ImageNames = Sequence[Any] | np.ndarray | None
"""What messages call the images, in their order; None: their positions."""


@dataclass(frozen=True)
class LoadedModel:
    """A file opened by its runtime: a function of any number of images."""

    name: str
    """The file, for messages."""
    call: Callable[[np.ndarray], np.ndarray]
    """One call of the runtime: images in the type and number that the file takes, to outputs
    `(N,classes)` float32."""
    input: Literal["float32", "uint8"] = "float32"
    output: Literal["logits", "probabilities"] = "logits"
    batch: int | None = None
    """Number of images that a call must have; None: any."""
    size: tuple[int, int] | None = None
    """Height and width that images must have; None: any."""

    def __call__(self, images: Images) -> np.ndarray:
        """Outputs `(N,classes)`; a fixed batch is filled up with the last image."""
        size, outputs = self.batch or BATCH, []
        for start in range(0, len(images), size):
            part = self.as_input(images[start : start + size])
            found = self.call(part if self.batch is None else filled(part, size))
            outputs.append(found[: len(part)])
        return np.concatenate(outputs)

    def as_input(self, images: Images) -> np.ndarray:
        """Images in the type that the file takes."""
        array = images.detach().cpu().numpy() if isinstance(images, Tensor) else images
        array = np.ascontiguousarray(array)
        if self.input == "uint8":
            return array if array.dtype == np.uint8 else np.rint(array * 255).astype(np.uint8)
        scale = 255 if array.dtype == np.uint8 else 1
        return array.astype(np.float32) / np.float32(scale)

    def probabilities(self, images: Images) -> np.ndarray:
        """Probabilities `(N,classes)` float32; those of a quantised file need not sum to 1 by
        themselves."""
        outputs = self(images)
        if self.output == "logits":
            return softmax(outputs)
        shares = np.clip(outputs, 0, None)
        return (shares / np.clip(shares.sum(1, keepdims=True), 1e-12, None)).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities `(N,classes)` float32."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return (powers / powers.sum(1, keepdims=True)).astype(np.float32)


def filled(images: np.ndarray, batch: int) -> np.ndarray:
    """`images` with the last one repeated until there are `batch`."""
    missing = np.repeat(images[-1:], batch - len(images), axis=0)
    return np.concatenate([images, missing]) if len(missing) else images


class Exporter(Component, ABC):
    """A runtime to export for.  Images go in as `(N,C,H,W)`, `(N,classes)` comes out."""

    file: ClassVar[str]
    """Name of what `write` writes."""
    input: Literal["float32", "uint8"] = "float32"
    """float32: images in [0,1]; uint8: 0 to 255."""
    output: Literal["logits", "probabilities"] = "logits"
    """What the file returns."""
    batch: int | None = Field(None, ge=1)
    """Number of images that a call must have; None: any."""
    tolerance: float = Field(1e-4, gt=0)
    """Largest difference between file and network that a float file may show, relative to the
    largest output (or to 1, where outputs are smaller)."""
    agreement: float = Field(0.97, gt=0, le=1)
    """Share of images on which a quantised file must choose the network's class."""

    @abstractmethod
    def write(self, source: nn.Module | onnx.ModelProto, folder: Path, example: Tensor) -> Path:
        """Write `file`, and what belongs beside it, into `folder`; returns its path.

        `source` is a network, or the graph that a graph compression left; `example` two real images
        `(2,C,H,W)` in [0,1].  Raises AugcompressError when the runtime cannot have it.
        """

    @abstractmethod
    def open(self, file: Path, threads: int = 1) -> LoadedModel:
        """The file in its runtime, on the CPU."""

    def describe(self, file: Path, metadata: Mapping[str, str]) -> None:
        """Put labels, resizing and scores into the file, where its format has a place for them."""

    def copies(self, file: Path) -> list[Path]:
        """The same model in further files that lie beside it, each to be compared with the network
        too."""
        return []

    def check(self, file: Path, images: Images, names: ImageNames = None) -> None:
        """What this runtime must keep, beside parity, on real images.

        Raises LimitError when it does not.
        """
