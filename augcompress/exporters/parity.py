"""Parity: the proof that a file does what it was made from does, on real images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from augcompress.errors import LimitError
from augcompress.evidence import Measurement
from augcompress.exporters.sessions import (
    BATCH,
    Images,
    as_input,
    fixed_batch,
    open_session,
    run,
)

KERNEL_AGREEMENT = 0.98
"""Share of images on which the optimised and the unoptimised int8 graph must choose the same class:
the integer kernels round once where the unoptimised graph rounds twice."""
KERNEL_NOISE = 0.1
"""Largest root mean square difference between the two, relative to the outputs' deviation."""
NAMED = 3
"""How many of the worst images a message names."""
_LEAST = 1e-30  # probability whose logarithm stands for that of 0

Reference = Callable[[Tensor], Tensor]
"""Images in [0,1] `(N,C,H,W)` to logits `(N,classes)`: a network, or `as_reference` of a graph."""
Names = Sequence[Any] | np.ndarray | None
"""What messages call the images, in their order; None: their positions."""


def as_reference(source: str | Path | bytes | onnx.ModelProto) -> Reference:
    """A graph that others are compared with: logits, or the logarithms of its probabilities.

    Raises AugcompressError when the runtime cannot load it.
    """
    if isinstance(source, onnx.ModelProto):
        source = source.SerializeToString()
    session = open_session(source)

    def answer(images: Tensor) -> Tensor:
        outputs = torch.from_numpy(run(session, images)).float()
        return outputs.clamp_min(_LEAST).log() if _gives_probabilities(session) else outputs

    return answer


@torch.inference_mode()
def reference(
    session: onnxruntime.InferenceSession, answer: Reference, images: Images
) -> np.ndarray:
    """What the reference says to the images as the session sees them, in the session's terms:
    probabilities where it gives such."""
    parts = []
    with _evaluating(answer) as device:
        for start in range(0, len(images), BATCH):
            part = torch.from_numpy(as_input(session, images[start : start + BATCH])).to(device)
            part = part.float() / 255 if part.dtype == torch.uint8 else part
            parts.append(answer(part).float().cpu())
    outputs = torch.cat(parts)
    return (outputs.softmax(dim=1) if _gives_probabilities(session) else outputs).numpy()


@contextlib.contextmanager
def _evaluating(answer: Reference) -> Iterator[torch.device]:
    """A network in evaluation mode, its layers' modes put back; where its parameters lie."""
    modules = list(answer.modules()) if isinstance(answer, nn.Module) else []
    modes = [layer.training for layer in modules]
    parameters = answer.parameters() if isinstance(answer, nn.Module) else iter(())
    for layer in modules:
        layer.training = False
    try:
        yield next((one.device for one in parameters), torch.device("cpu"))
    finally:
        for layer, mode in zip(modules, modes, strict=True):
            layer.training = mode


def _gives_probabilities(session: onnxruntime.InferenceSession) -> bool:
    return session.get_outputs()[0].name == "probabilities"


def check_float(
    path: str | Path,
    answer: Reference,
    images: Images,
    *,
    tolerance: float = 1e-4,
    batch: int | None = None,
    names: Names = None,
) -> list[Measurement]:
    """A float file must match its reference numerically, on real images.

    Batches of one and of three run too; or, where `batch` is the number of images that a call must
    have, images in other places of theirs.  `tolerance` is relative to the largest output, or to 1.
    Raises LimitError naming the worst images.
    """
    session = open_session(path)
    want, got = reference(session, answer, images), run(session, images)
    allowed = tolerance * max(1.0, float(np.abs(want).max()))
    _require_close(path, want, got, allowed, "network", names)
    _check_batches(path, session, images, got, allowed, batch)
    worst = float(np.abs(want - got).max())
    return [
        Measurement(name="max_abs_difference", value=worst, unit="", better="lower", n=len(images)),
        _agreement(want, got),
    ]


def check_quantized(
    path: str | Path,
    answer: Reference,
    images: Images,
    agreement: float = 0.97,
    *,
    batch: int | None = None,
    names: Names = None,
) -> list[Measurement]:
    """A quantised file must match its own graph run unoptimised, and agree with its reference on a
    share of real images.

    Raises LimitError naming the worst images when it does not.
    """
    session = open_session(path)
    want, got = reference(session, answer, images), run(session, images)
    plain = run(open_session(path, optimize=False), images)
    _check_kernels(path, plain, got, names)
    _check_batches(path, session, images, got, 3 * KERNEL_NOISE * _deviation(got), batch)
    found = _agreement(want, got)
    if found.value < agreement:
        raise LimitError(
            f"{path}: chooses the network's class on {found.value:.4f} of {len(images)} images,"
            f" below {agreement} (furthest off: {_worst(_lost(want, got), names)});"
            " exclude layers, calibrate on more images or lower agreement"
        )
    return [found]


def _check_kernels(
    path: str | Path, plain: np.ndarray, optimized: np.ndarray, names: Names
) -> None:
    same = float((plain.argmax(1) == optimized.argmax(1)).mean())
    noise = float(np.sqrt(np.mean((plain - optimized) ** 2))) / _deviation(plain)
    allowed_flips = max(1, (1 - KERNEL_AGREEMENT) * len(plain)) / len(plain)
    if not (1 - same <= allowed_flips and noise <= KERNEL_NOISE):
        worst = _worst(np.abs(plain - optimized).max(axis=1), names)
        raise LimitError(
            f"{path}: optimised and unoptimised graph agree on {same:.4f} of {len(plain)} images"
            f" (noise {noise:.3f}; furthest off: {worst}); its integer kernels saturate;"
            " set reduce_range: true"
        )


def _deviation(outputs: np.ndarray) -> float:
    return max(float(outputs.std()), 1e-12)


def _require_close(
    path: str | Path,
    want: np.ndarray,
    got: np.ndarray,
    allowed: float,
    whom: str,
    names: Names = None,
) -> None:
    if want.shape != got.shape:
        raise LimitError(f"{path}: returns {got.shape}, the {whom} {want.shape}; export it again")
    difference = np.abs(want - got).max(axis=1)
    if not difference.max() <= allowed:  # a NaN is not
        raise LimitError(
            f"{path}: differs from the {whom} by {_worst(difference, names)}, above"
            f" {allowed:.3g}; export it again, or raise tolerance"
        )


def _lost(want: np.ndarray, got: np.ndarray) -> np.ndarray:
    """By how much the reference prefers its own class to the file's choice, one per image."""
    return want.max(axis=1) - want[np.arange(len(want)), got.argmax(axis=1)]


def _worst(amounts: np.ndarray, names: Names) -> str:
    """`0.5 on image 12, 0.4 on image 7`: the largest amounts, and whose they are."""
    order = np.argsort(-np.nan_to_num(amounts, nan=np.inf), kind="stable")[:NAMED]
    named = [place if names is None else names[place] for place in order]
    return ", ".join(
        f"{amounts[place]:.3g} on image {name}"
        for place, name in zip(order, named, strict=True)
        if amounts[place] != 0
    )


def _check_batches(
    path: str | Path,
    session: onnxruntime.InferenceSession,
    images: Images,
    outputs: np.ndarray,
    allowed: float,
    batch: int | None,
) -> None:
    """Any number of images a call, or just as many as promised; each row is its image's own."""
    found = fixed_batch(session)
    if found is not None and batch is None:
        raise LimitError(f"{path}: takes one batch size only; export it with a dynamic batch")
    if found != batch:
        raise LimitError(f"{path}: takes {found or 'any'} images a call, not {batch}; export again")
    if batch is not None:
        moved = np.roll(np.arange(min(len(images), 2 * batch)), 1)
        rows = run(session, images[moved])
        _require_close(path, outputs[moved], rows, allowed, "same image in another place")
    for size in (1, 3) if batch is None else ():
        rows = run(session, images[:size])
        _require_close(path, outputs[:size], rows, allowed, "larger batch")


def _agreement(want: np.ndarray, got: np.ndarray) -> Measurement:
    same = float((want.argmax(axis=1) == got.argmax(axis=1)).mean())
    return Measurement(name="agreement", value=same, better="higher", n=len(want))
