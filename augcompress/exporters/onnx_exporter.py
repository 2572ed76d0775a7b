"""ONNX: a network as a graph, stripped, named after its layers, with metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from augcompress.exporters.base import Exporter
from augcompress.exporters.parity import check_kernels
from augcompress.inference import ImageNames, Images, LoadedModel, load_onnx, save_ort

if TYPE_CHECKING:
    from onnx import ModelProto

ORT_FILE = "model.ort"


class OnnxExporter(Exporter):
    """An ONNX file for ONNX Runtime.

    Input `input`: `(N,C,H,W)`, or `(H,W,C)` of a whole image.  Output `logits` or
    `probabilities`: `(N,classes)`.
    """

    file: ClassVar[str] = "model.onnx"
    kind: Literal["onnx"] = "onnx"
    opset: int = Field(20, ge=18, le=24)
    """Version of the operator set."""
    ort_format: bool = False
    """Also write `model.ort`, in ONNX Runtime's own format: optimised already, for CPUs like this
    machine's."""

    def to_graph(self, source: nn.Module | ModelProto, example: Tensor) -> ModelProto:
        """The network, or a copy of the graph, with these settings."""
        from augcompress.graphs import to_graph, with_options

        if isinstance(source, nn.Module):
            return to_graph(source, example, self)
        return with_options(source, self)

    def write(self, source: nn.Module | ModelProto, folder: Path, example: Tensor) -> Path:
        """Write `model.onnx`.

        Raises AugcompressError when an operator cannot be converted.
        """
        from augcompress.graphs import save_verified

        save_verified(self.to_graph(source, example), folder / self.file)
        return folder / self.file

    def prepare_inside(self, file: Path, resizing: Mapping[str, Any], size: Sequence[int]) -> None:
        """Put resizing, crop and scaling before the graph, by ONNX's own operators."""
        from augcompress.graphs import read_graph, save_verified, with_preparation

        save_verified(with_preparation(read_graph(file), resizing, size), file)

    def open(self, file: Path, threads: int = 1) -> LoadedModel:
        """A session of ONNX Runtime, of a `.onnx` or `.ort` file."""
        return load_onnx(file, threads)

    def describe(self, file: Path, metadata: Mapping[str, str]) -> None:
        """Write the metadata, and then `model.ort` where it is asked for."""
        from augcompress.graphs import dress, opset_of, read_graph, save_verified

        graph = read_graph(file)
        save_verified(dress(graph, {**metadata, "opset": str(opset_of(graph))}), file)
        if self.ort_format:
            save_ort(file, file.with_name(ORT_FILE))

    def copies(self, file: Path) -> list[Path]:
        """`model.ort`, once `describe` has written it."""
        return [one for one in (file.with_name(ORT_FILE),) if one.exists()]

    def check(self, file: Path, images: Images, names: ImageNames = None) -> None:
        """A quantised graph does the same with and without the runtime's optimisations: its integer
        kernels do not saturate.

        Raises LimitError naming the worst images when it does not.
        """
        from augcompress.graphs import is_quantized, read_graph

        if is_quantized(read_graph(file)):
            for one in (file, *self.copies(file)):
                check_kernels(self.open(one), load_onnx(file, optimize=False), images, names)
