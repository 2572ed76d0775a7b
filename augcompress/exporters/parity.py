"""Parity: a file gives what it was made from gives, on real images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from augcompress.errors import LimitError
from augcompress.evidence import Measurement, agreement, amount_text, value_text
from augcompress.inference import BATCH, ImageNames, Images, LoadedModel, load_onnx
from augcompress.modules import in_evaluation

if TYPE_CHECKING:
    import onnx

KERNEL_AGREEMENT = 0.98
"""Share of images on which the optimised and the unoptimised int8 graph must choose the same class:
the integer kernels round once where the unoptimised graph rounds twice."""
KERNEL_NOISE = 0.1
"""Largest root mean square difference between the two, relative to the outputs' deviation."""
NAMED_IMAGES = 3
"""How many of the worst images a message names, and of the most frequent confusions."""
_LEAST = 1e-30  # probability whose logarithm stands for that of 0

Reference = Callable[[Tensor], Tensor]
"""What a file is compared with: images in [0,1] `(N,C,H,W)` to logits `(N,classes)`."""


def network_reference(network: nn.Module) -> Reference:
    """A network in evaluation mode, where its parameters lie, as what a file is compared with."""
    device = next((one.device for one in network.parameters()), torch.device("cpu"))

    def logits(images: Tensor) -> Tensor:
        with torch.inference_mode(), in_evaluation(network):
            return network(images.to(device)).float().cpu()

    return logits


def graph_reference(source: str | Path | onnx.ModelProto) -> Reference:
    """A graph as what a file is compared with: logits, or the logarithms of its probabilities.

    Raises AugcompressError when the runtime cannot load it.
    """
    model = load_onnx(source if isinstance(source, str | Path) else source.SerializeToString())

    def logits(images: Tensor) -> Tensor:
        outputs = torch.from_numpy(model(images)).float()
        return outputs.clamp_min(_LEAST).log() if model.output == "probabilities" else outputs

    return logits


def expected(model: LoadedModel, reference: Reference, images: Images) -> np.ndarray:
    """The reference's outputs for the images as the file sees them: probabilities where it gives
    such."""
    parts = []
    for start in range(0, len(images), BATCH):
        part = torch.from_numpy(model.as_input(images[start : start + BATCH]))
        parts.append(reference(part.float() / 255 if part.dtype == torch.uint8 else part))
    outputs = torch.cat(parts)
    return (outputs.softmax(dim=1) if model.output == "probabilities" else outputs).numpy()


def check_float(
    model: LoadedModel,
    reference: Reference,
    images: Images,
    tolerance: float = 1e-4,
    *,
    batch: int | None = None,
    names: ImageNames = None,
) -> list[Measurement]:
    """A float file must give what its reference gives, on real images.

    It must take batches of any size or, with `batch`, that many images a call, and give each image
    the same row in another batch or place.  `tolerance` is relative to the largest output, or to 1.
    Raises LimitError naming the worst images.
    """
    want, got = expected(model, reference, images), model(images)
    allowed = tolerance * max(1.0, float(np.abs(want).max()))
    _require_close(model, want, got, allowed, "network", names)
    _check_batches(model, images, got, allowed, batch)
    worst = float(np.abs(want - got).max())
    return [
        Measurement(name="max_abs_difference", value=worst, unit="", better="lower", n=len(images)),
        agreement(want, got),
    ]


def check_quantized(
    model: LoadedModel,
    reference: Reference,
    images: Images,
    least: float = 0.95,
    *,
    batch: int | None = None,
    names: ImageNames = None,
    classes: Sequence[str] = (),
    field: str = "agreement",
) -> list[Measurement]:
    """A quantised file must choose its reference's class on a share of real images.

    Raises LimitError where it is shown that the share is below `least`, which is the whole of its
    interval: the message names the worst images, the classes that are most often taken for each
    other and `field`, the recipe's for `least`.
    """
    want, got = expected(model, reference, images), model(images)
    _check_batches(model, images, got, 3 * KERNEL_NOISE * _deviation(got), batch)
    found = agreement(want, got)
    if found.high is not None and found.high < least:
        raise LimitError(
            f"{field}: {model.name} chooses its float network's class on {value_text(found)} of the"
            f" images, below {amount_text(least, '%')}; give quantize.steps more samples, set"
            " calibration: percentile, exclude layers, or lower the limit (most often"
            f" {_confusions(want, got, classes)}; furthest off: {_worst(_lost(want, got), names)})"
        )
    return [found]


def check_kernels(
    model: LoadedModel, plain: LoadedModel, images: Images, names: ImageNames = None
) -> None:
    """A quantised file with and without the runtime's optimisations gives nearly the same.

    Raises LimitError naming the worst images when it does not.
    """
    optimized, unoptimized = model(images), plain(images)
    same = agreement(unoptimized, optimized).value
    noise = float(np.sqrt(np.mean((unoptimized - optimized) ** 2))) / _deviation(unoptimized)
    allowed_flips = max(1, (1 - KERNEL_AGREEMENT) * len(images)) / len(images)
    if not (1 - same <= allowed_flips and noise <= KERNEL_NOISE):
        worst = _worst(np.abs(unoptimized - optimized).max(axis=1), names)
        raise LimitError(
            f"{model.name}: optimised and unoptimised graph agree on {same:.4f} of {len(images)}"
            f" images (noise {noise:.3f}; furthest off: {worst}); its integer kernels saturate;"
            " set reduce_range: true"
        )


def _deviation(outputs: np.ndarray) -> float:
    return max(float(outputs.std()), 1e-12)


def _require_close(
    model: LoadedModel,
    want: np.ndarray,
    got: np.ndarray,
    allowed: float,
    whom: str,
    names: ImageNames = None,
) -> None:
    if want.shape != got.shape:
        raise LimitError(
            f"{model.name}: returns {got.shape}, the {whom} {want.shape}; export it again"
        )
    difference = np.abs(want - got).max(axis=1)
    if not difference.max() <= allowed:  # a NaN is not
        raise LimitError(
            f"{model.name}: differs from the {whom} by {_worst(difference, names)}, above"
            f" {allowed:.3g}; export it again, or raise tolerance"
        )


def _lost(want: np.ndarray, got: np.ndarray) -> np.ndarray:
    """By how much the reference prefers its own class to the file's choice, one per image."""
    return want.max(axis=1) - want[np.arange(len(want)), got.argmax(axis=1)]


def _worst(amounts: np.ndarray, names: ImageNames) -> str:
    """`0.5 on image 12, 0.4 on image 7`: the largest amounts, and whose they are."""
    order = np.argsort(-np.nan_to_num(amounts, nan=np.inf), kind="stable")[:NAMED_IMAGES]
    named = [place if names is None else names[place] for place in order]
    return ", ".join(
        f"{amounts[place]:.3g} on image {name}"
        for place, name in zip(order, named, strict=True)
        if amounts[place] != 0
    )


def _check_batches(
    model: LoadedModel, images: Images, outputs: np.ndarray, allowed: float, batch: int | None
) -> None:
    """Any number of images a call, or just as many as promised; each row is its image's own."""
    if model.batch is not None and batch is None:
        raise LimitError(f"{model.name}: takes one batch size only; export it with a dynamic batch")
    if model.batch != batch:
        raise LimitError(
            f"{model.name}: takes {model.batch or 'any'} images a call, not {batch}; export again"
        )
    if batch is not None:
        moved = np.roll(np.arange(min(len(images), 2 * batch)), 1)
        rows = model(images[moved])
        _require_close(model, outputs[moved], rows, allowed, "same image in another place")
    for size in (1, 3) if batch is None else ():
        rows = model(images[:size])
        _require_close(model, outputs[:size], rows, allowed, "larger batch")


def _confusions(want: np.ndarray, got: np.ndarray, classes: Sequence[str]) -> str:
    """`Coat instead of Shirt 12 times`: the most frequent pairs of other choices."""
    pairs = zip(want.argmax(axis=1).tolist(), got.argmax(axis=1).tolist(), strict=True)
    named = list(classes) or [f"class {number}" for number in range(want.shape[1])]
    counted = Counter(pair for pair in pairs if pair[0] != pair[1]).most_common(NAMED_IMAGES)
    return ", ".join(f"{named[b]} instead of {named[a]} {n} times" for (a, b), n in counted)
