"""A file opened by its runtime, as a function of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

BATCH = 256
"""Images in a call where many are run and the file takes any number."""
Images = Any
"""`(N,C,H,W)`, NumPy's or torch's: uint8 0-255, or float in [0,1]."""
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
    input: Literal["float32", "uint8", "image"] = "float32"
    """`image`: the file takes one image of any size a call, uint8 `(H,W,C)`, and prepares it
    itself; one that is prepared already it leaves as it is."""
    output: Literal["logits", "probabilities"] = "logits"
    batch: int | None = None
    """Number of images that a call must have; None: any."""
    size: tuple[int, int] | None = None
    """Height and width that images must have; None: any."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the file says of itself."""

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
        array = images if isinstance(images, np.ndarray) else images.detach().cpu().numpy()
        array = np.ascontiguousarray(array)
        if self.input != "float32":
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
