"""What every exporter is: settings that write a runtime's file, open it, describe and check it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from torch import Tensor, nn

from augcompress.component import Component
from augcompress.errors import AugcompressError
from augcompress.inference import ImageNames, Images, LoadedModel

if TYPE_CHECKING:
    import onnx


class Exporter(Component, ABC):
    """A runtime to export for.  Images go in as `(N,C,H,W)`, `(N,classes)` comes out."""

    file: ClassVar[str]
    """Name of what `write` writes."""
    input: Literal["float32", "uint8", "image"] = "float32"
    """float32: images in [0,1]; uint8: 0 to 255; image: one image of any size as it was decoded,
    uint8 `(H,W,C)`, which the file resizes and crops itself."""
    output: Literal["logits", "probabilities"] = "logits"
    """What the file returns."""
    batch: int | None = Field(None, ge=1)
    """Number of images that a call must have; None: any."""
    tolerance: float = Field(1e-4, gt=0)
    """Largest difference between file and network that a float file may show, relative to the
    largest output (or to 1, where outputs are smaller)."""
    agreement: float = Field(0.95, gt=0, le=1)
    """Share of images on which a quantised file must choose the float network's class; missed
    where the whole interval of the share lies below."""

    @model_validator(mode="after")
    def a_whole_image_is_alone(self) -> Self:
        """Images of different size make no batch."""
        if self.input == "image" and self.batch is not None:
            raise ValueError("batch: a file that takes whole images takes one a call; leave it out")
        return self

    @abstractmethod
    def write(self, source: nn.Module | onnx.ModelProto, folder: Path, example: Tensor) -> Path:
        """Write `file`, and what belongs beside it, into `folder`; returns its path.

        `source` is a network, or the graph that a graph compression left; `example` two real images
        `(2,C,H,W)` in [0,1].  Raises AugcompressError when the runtime cannot have it.
        """

    def prepare_inside(self, file: Path, resizing: Mapping[str, Any], size: Sequence[int]) -> None:
        """Let a written file take one image of any size, uint8 `(H,W,C)`, and prepare it itself, by
        a data set's `resizing` (see `inference.load_image`) to `size` (height, width).

        Raises AugcompressError where this runtime's files cannot.
        """
        raise AugcompressError(
            f"export.targets: {self.kind} writes no file that takes a whole image; set input: uint8"
        )

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
