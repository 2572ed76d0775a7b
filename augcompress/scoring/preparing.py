"""How a model wants its images: as it says itself, or, of an ONNX file that says nothing, as the
usual way that fits it best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from augcompress.datasets import PreparedFolder
from augcompress.errors import AugcompressError
from augcompress.evidence import only_guesses, top_k
from augcompress.evidence.statistics import discordant, mcnemar
from augcompress.graphs import is_foreign, metadata_of, read_graph, shape_of
from augcompress.inference import LoadedModel, check_resizing, direct, load_onnx
from augcompress.networks import load_network, open_graph
from augcompress.raw import override_value
from augcompress.running import Context
from augcompress.spec import Spec, validate
from augcompress.storage import RunDir
from augcompress.untrusted import parse_json

USUAL_SIDE = 224
MOST_TRIED = 256
"""Images that ways are tried on."""
BEYOND_CHANCE = 0.01
"""p below which another way takes the place of the one that is taken for granted."""
PARTS = {"test": 0.75, "validation": 0.8}
"""Shares of a folder without parts: test is compared on; of the rest, what ways are tried on."""


@dataclass(frozen=True)
class Way:
    """What is done to pixels in [0,1] before a file's first layer, as `foreign` says it."""

    name: str
    scale: float = 1.0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def of(self, images: np.ndarray) -> np.ndarray:
        """Images in [0,1] `(N,C,H,W)` as the file shall see them."""
        mean, std = (np.reshape(each, (1, -1, 1, 1)) for each in (self.mean or 0, self.std or 1))
        return ((images * self.scale - mean) / std).astype(np.float32)


AS_IT_IS = Way("0 to 1")
COLOUR = (
    Way("mean and std of ImageNet", 1, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    AS_IT_IS,
    Way("-1 to 1", 1, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    Way("0 to 255", 255),
    Way("0 to 255 less ImageNet's mean", 255, (123.675, 116.28, 103.53)),
)
GREY = (
    AS_IT_IS,
    Way("-1 to 1", 1, (0.5,), (0.5,)),
    Way("0 to 255", 255),
    Way("mean and std of MNIST", 1, (0.1307,), (0.3081,)),
)
"""The usual ways, of which the first is taken where several fit alike."""


@dataclass(frozen=True)
class Preparation:
    """A model's images, as it wants them."""

    context: Context
    told: str
    """How, and who says so, in words."""
    way: Way | None = None
    """What was found by trying; None: nothing had to be tried."""


def prepare_images(
    file: Path, folder: Path, overrides: Sequence[str], run: RunDir, like: Preparation | None = None
) -> Preparation:
    """The images of a folder as a model wants them; `overrides` are of the sections `data` and
    `foreign`.  `like` was found for another model: it holds for this one as well, unless another
    way fits it better beyond chance.

    Raises AugcompressError when the file or the folder cannot be read.
    """
    graph = read_graph(file) if file.suffix == ".onnx" else None
    if graph is None or not is_foreign(graph):
        told = load_network(file).resizing if graph is None else _resizing_in(graph, file)
        return Preparation(_context(folder, {"size": 1}, overrides, run, told), "as the file says")
    entry = graph.graph.input[0]
    context = _context(folder, _settings(shape_of(entry)), overrides, run)
    if any(override.startswith("foreign.") for override in overrides):
        return Preparation(context, "as --set says")
    if entry.type.tensor_type.elem_type == onnx.TensorProto.UINT8:
        return Preparation(context, "0 to 255, as the file takes them")
    if like is not None and like.way and like.context.data.size == context.data.size:
        context = Context(_resized(context.spec, like.context.data.resizing), run)
    return _tried(context, file, like.way if like else None)


def _resizing_in(graph: onnx.ModelProto, file: Path) -> dict[str, Any]:
    try:
        return check_resizing(parse_json(metadata_of(graph)["resizing"]))
    except (KeyError, ValueError) as error:
        raise AugcompressError(f"{file}: does not say how to resize; export it again") from error


def _settings(shape: Sequence[int | str]) -> dict[str, Any]:
    """What the input's shape says of images: their size, grey or colour, and the layout."""
    last = len(shape) == 4 and shape[3] in (1, 3) and shape[1] not in (1, 3)
    channels, *sides = (shape[3], *shape[1:3]) if last else shape[1:]
    size = [side if isinstance(side, int) else USUAL_SIDE for side in sides]
    layout = {"layout": "NHWC"} if last else {}
    return {"size": size, "mode": "L" if channels == 1 else "RGB", "foreign": layout}


def _context(
    folder: Path,
    settings: dict[str, Any],
    overrides: Sequence[str],
    run: RunDir,
    resizing: dict[str, Any] | None = None,
) -> Context:
    """The images of a folder under these settings, or resized as a file says."""
    foreign = settings.pop("foreign", {})
    data = {"kind": "image_folder", "root": str(folder.absolute()), "normalization": "none"}
    raw: dict[str, Any] = {"version": 1, "name": "compare", "foreign": foreign}
    raw["data"] = {**data, **PARTS, **settings}
    for override in overrides:
        override_value(raw, override)
    spec = validate(raw)
    return Context(spec if resizing is None else _resized(spec, resizing), run)


def _resized(spec: Spec, resizing: dict[str, Any]) -> Spec:
    data = PreparedFolder.model_validate({**spec.data.model_dump(), "given": resizing})
    return spec.model_copy(update={"data": data})


def _tried(context: Context, file: Path, like: Way | None) -> Preparation:
    """The usual ways of preparing images tried on those that will not be compared: what is done to
    pixels, then how they are resized."""
    model = load_onnx(open_graph(context, file).SerializeToString())
    ways = GREY if context.data.channels == 1 else COLOUR
    part = context.evaluated("validation", MOST_TRIED)
    images, labels = _images(context), part.labels
    answers = {way: model.probabilities(way.of(images)) for way in ways}
    right = {way: found.argmax(1) == labels for way, found in answers.items()}
    ranked = sorted(ways, key=lambda way: -int(right[way].sum()))
    best = ranked[0]
    if like in right and not _is_better(right[best], right[like]):
        best = like
    next_best = next(way for way in ranked if way is not best)
    told = (
        f"{best.name}: right on {right[best].sum()} of {len(labels)} images that are not compared;"
        f" the next, {next_best.name}, on {right[next_best].sum()}"
    )
    resized, how = _resizing_tried(context, model, best, right[best], labels)
    if wrong := only_guesses(top_k(answers[best], labels)):
        told += f"; {wrong}: are the folders the classes of the file, in its order?"
    values = {"scale": best.scale, "mean": best.mean, "std": best.std}
    foreign = resized.foreign.model_copy(update=values)
    spec = resized.model_copy(update={"foreign": foreign})
    return Preparation(Context(spec, context.run), f"{told}; {how}", best)


def _resizing_tried(
    context: Context, model: LoadedModel, way: Way, usual: np.ndarray, labels: np.ndarray
) -> tuple[Spec, str]:
    """Resized as usual, unless another way of it is better beyond chance."""
    own, size = context.data.resizing, context.data.size
    others = {
        "resized without a crop": direct(size, own["mode"], own["interpolation"]),
        "resized bicubic": {**own, "interpolation": "bicubic"},
    }
    best, how, chosen = usual, "resized as usual", context.spec
    for name, resizing in others.items():
        spec = _resized(context.spec, resizing)
        seen = _images(Context(spec, context.run))
        right = model.probabilities(way.of(seen)).argmax(1) == labels
        if resizing != own and right.sum() > best.sum() and _is_better(right, usual):
            best, how, chosen = right, name, spec
    return chosen, how


def _images(context: Context) -> np.ndarray:
    """In [0,1] `(N,C,H,W)`: those that ways are tried on."""
    part = context.evaluated("validation", MOST_TRIED)
    return part.fetch(np.arange(len(part))).numpy().astype(np.float32) / 255


def _is_better(right: np.ndarray, usual: np.ndarray) -> bool:
    """Is more right than usual, beyond chance?"""
    gained, lost = discordant(right, usual)
    return gained > lost and mcnemar(gained, lost) < BEYOND_CHANCE
