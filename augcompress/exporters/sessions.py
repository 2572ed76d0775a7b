"""ONNX Runtime sessions on the CPU: files opened, images fed, files saved."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported

import numpy as np
import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime
from torch import Tensor

from augcompress.errors import AugcompressError

BATCH = 256  # images per call when many are run
Images = np.ndarray | Tensor
RUNTIME_ERRORS = (
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.InvalidProtobuf,
    runtime.NoSuchFile,
    runtime.NotImplemented,
    runtime.RuntimeException,
)
"""What ONNX Runtime raises where it cannot load or run a graph."""


def save(graph: onnx.ModelProto, path: str | Path) -> None:
    """Write a graph; equal graphs are equal bytes."""
    Path(path).write_bytes(graph.SerializeToString(deterministic=True))


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
    file: str | Path | bytes, threads: int = 1, *, optimize: bool = True
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU, of a file (`.onnx` or `.ort`) or of its bytes.

    Raises AugcompressError when the runtime cannot load it.
    """
    options = session_options(threads)
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return _open(file, options)


def session_options(threads: int = 1) -> onnxruntime.SessionOptions:
    """Options of a session with this many threads that prints nothing: errors are raised."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options


def _open(
    file: str | Path | bytes, options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    source = file if isinstance(file, bytes) else str(file)
    providers = ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(source, options, providers=providers)
    except RUNTIME_ERRORS as error:
        name = "graph" if isinstance(file, bytes) else file
        raise AugcompressError(
            f"{name}: ONNX Runtime cannot load it: {first_line(error)}; export it again"
        ) from error


def first_line(error: Exception) -> str:
    """What the runtime says in its first line."""
    return str(error).strip().splitlines()[0]


def fixed_batch(session: onnxruntime.InferenceSession) -> int | None:
    """The number of images that a call must have; None: any."""
    first = session.get_inputs()[0].shape[0]
    return first if isinstance(first, int) else None


def as_input(session: onnxruntime.InferenceSession, images: Images) -> np.ndarray:
    """Images in the type that the session takes: float32 in [0,1] or uint8 0-255."""
    array = images.detach().cpu().numpy() if isinstance(images, Tensor) else np.asarray(images)
    if session.get_inputs()[0].type == "tensor(uint8)":
        return array if array.dtype == np.uint8 else np.rint(array * 255).astype(np.uint8)
    scale = 255 if array.dtype == np.uint8 else 1
    return array.astype(np.float32) / np.float32(scale)


def run(session: onnxruntime.InferenceSession, images: Images, batch: int = BATCH) -> np.ndarray:
    """The session's outputs `(N,classes)` for images, uint8 or float in [0,1].

    A session with a fixed batch is fed exactly that many a call, the last image repeated.
    """
    name, size = session.get_inputs()[0].name, fixed_batch(session)
    batch = size or batch
    outputs = []
    for start in range(0, len(images), batch):
        part = as_input(session, images[start : start + batch])
        found = session.run(None, {name: part if size is None else filled(part, size)})[0]
        outputs.append(found[: len(part)])
    return np.concatenate(outputs)


def filled(images: np.ndarray, batch: int) -> np.ndarray:
    """`images` with the last one repeated until there are `batch`."""
    missing = np.repeat(images[-1:], batch - len(images), axis=0)
    return np.concatenate([images, missing]) if len(missing) else images
