"""ONNX Runtime on the CPU: sessions opened, files loaded and saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from augcompress.errors import AugcompressError, first_line
from augcompress.inference.loaded_model import LoadedModel

if TYPE_CHECKING:
    import onnxruntime

_BYTES = "tensor(uint8)"


def runtime_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises where it cannot load or run a graph; and `others`, to be caught
    with it."""
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    return (
        runtime.Fail,
        runtime.InvalidArgument,
        runtime.InvalidGraph,
        runtime.InvalidProtobuf,
        runtime.NoSuchFile,
        runtime.NotImplemented,
        runtime.RuntimeException,
        *others,
    )


def save_ort(source: str | Path, path: str | Path) -> None:
    """Write an ONNX file in ONNX Runtime's own format, which loads faster and needs no ONNX parser.

    The graph in it is optimised already, for CPUs of this machine's kind, and every session takes
    it as it is.  Raises AugcompressError when the runtime cannot load the source.
    """
    options = session_options()
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    _open(source, options)


def open_session(
    file: str | Path | bytes, threads: int = 1, *, optimize: bool = True, name: str = ""
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU, of a file (`.onnx` or `.ort`) or of its bytes; errors
    call it `name`.

    Raises AugcompressError when the runtime cannot load it.
    """
    from onnxruntime import GraphOptimizationLevel

    options = session_options(threads)
    if not optimize:
        options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    return _open(file, options, name)


def session_options(threads: int = 1) -> onnxruntime.SessionOptions:
    """Options of a session with this many threads that prints nothing: errors are raised."""
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options


def _open(
    file: str | Path | bytes, options: onnxruntime.SessionOptions, name: str = ""
) -> onnxruntime.InferenceSession:
    from onnxruntime import InferenceSession

    source = file if isinstance(file, bytes) else str(file)
    providers = ["CPUExecutionProvider"]
    with _loading(name or _name(file)):
        # without its second try with the same provider, which prints
        return InferenceSession(source, options, providers=providers, enable_fallback=False)


@contextmanager
def _loading(name: str) -> Iterator[None]:
    """What the runtime cannot load, or tell of as it is no UTF-8, becomes an AugcompressError."""
    try:
        yield
    except runtime_errors(UnicodeDecodeError) as error:
        raise AugcompressError(
            f"{name}: ONNX Runtime cannot load it: {first_line(error)}; export it again"
        ) from error


def load_onnx(file: str | Path | bytes, threads: int = 1, *, optimize: bool = True) -> LoadedModel:
    """An ONNX file (`.onnx` or `.ort`), or its bytes, as a function of images.

    Raises AugcompressError when the runtime cannot load it.
    """
    session = open_session(file, threads, optimize=optimize)
    with _loading(_name(file)):
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or len(inputs[0].shape) < 2 or not outputs:
            raise AugcompressError(f"{_name(file)}: does not take images alone; give another file")
        return _loaded(session, _name(file))


def _loaded(session: onnxruntime.InferenceSession, name: str) -> LoadedModel:
    takes, gives = session.get_inputs()[0], session.get_outputs()[0]
    whole, name_of_input = len(takes.shape) == 3 and takes.type == _BYTES, takes.name
    batch, _, *size = (None, None) if whole else takes.shape

    def call(images: np.ndarray) -> np.ndarray:
        return session.run(None, {name_of_input: images})[0]

    def call_one_by_one(images: np.ndarray) -> np.ndarray:
        laid = np.ascontiguousarray(images.transpose(0, 2, 3, 1))  # (N,H,W,C)
        return np.concatenate([call(image) for image in laid])

    return LoadedModel(
        name=name,
        call=call_one_by_one if whole else call,
        input="image" if whole else "uint8" if takes.type == _BYTES else "float32",
        output="probabilities" if gives.name == "probabilities" else "logits",
        batch=batch if isinstance(batch, int) else None,
        size=(size[0], size[1]) if [*map(type, size)] == [int, int] else None,
        metadata=session.get_modelmeta().custom_metadata_map,
    )


def _name(file: str | Path | bytes) -> str:
    return "graph" if isinstance(file, bytes) else str(file)
