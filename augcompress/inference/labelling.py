"""Labels for image files, by a model that says itself how to resize."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from augcompress.errors import AugcompressError, first_line
from augcompress.inference.images import as_decoded, check_resizing, load_image
from augcompress.inference.loaded_model import LoadedModel
from augcompress.inference.sessions import load_onnx, runtime_errors
from augcompress.inference.walking import files_below, is_image
from augcompress.untrusted import parse_json, require_regular


def predict_files(model: LoadedModel, files: Iterable[Path], top: int) -> Iterator[dict[str, Any]]:
    """The `top` labels of each image with their probabilities, one image after the other; of one
    that cannot be read none, and the `error`.

    Raises AugcompressError when the model does not say what labels it has or how to resize.
    """
    labels, resizing = described(model)
    for file in files:
        row: dict[str, Any] = {"image": str(file), "labels": []}
        try:
            image = load_image(file, resizing)  # (H,W,C)
        except AugcompressError as error:
            yield {**row, "error": str(error)}
            continue
        scores = scores_of(model, np.ascontiguousarray(image.transpose(2, 0, 1))[None])
        if scores.shape != (len(labels),):
            raise AugcompressError(
                f"{model.name}: gives {scores.shape} scores for {len(labels)} labels; export it"
                " again"
            )
        best = np.argsort(-scores, kind="stable")[:top]
        ranked = [{"label": labels[i], "probability": float(scores[i])} for i in best]
        yield {**row, "labels": ranked}


def images_of(given: Iterable[Path]) -> list[Path]:
    """The files of a command line, with those below a folder that are images in its place.

    Raises AugcompressError when a folder has none.
    """
    found = list[Path]()
    for path in given:
        if not path.is_dir():
            found.append(path)
            continue
        inside = [name for name in files_below(path, "predict").names if is_image(name)]
        if not inside:
            raise AugcompressError(f"{path}: has no image in it; give another folder")
        found += [path / name for name in inside]
    return found


def open_shipped(model: Path) -> LoadedModel:
    """An ONNX file in ONNX Runtime.

    Raises AugcompressError when it is none.
    """
    try:
        return load_onnx(require_regular(model))
    except (AugcompressError, ValueError) as error:
        cure = (
            "give one from export" if model.exists() else "there is nothing there; check the path"
        )
        raise AugcompressError(f"{model}: is no ONNX file that can be read; {cure}") from error


def described(loaded: LoadedModel) -> tuple[list[str], dict[str, Any]]:
    """What a shipped file says of itself: the names of its classes, and how images are prepared for
    it; for one that resizes them itself, by what is left: their mode.

    Raises AugcompressError when it says none, or nothing that could be done.
    """
    labels = parse_labels(loaded.metadata.get("labels"), loaded.name)
    told = loaded.metadata.get("resizing", "{}")
    if labels is None or told == "{}":
        raise AugcompressError(
            f"{loaded.name}: has no labels in its metadata; give a file from export"
        )
    try:
        resizing = check_resizing(parse_json(told))
        return labels, as_decoded(resizing) if loaded.input == "image" else resizing
    except ValueError as error:
        raise AugcompressError(f"{loaded.name}: its resizing: {error}; export it again") from error


def parse_labels(told: str | None, where: str) -> list[str] | None:
    """The names of the classes, as they are written in a file's metadata; None where there are
    none.

    Raises AugcompressError when they are no names.
    """
    try:
        labels = None if told is None else parse_json(told)
    except ValueError as error:
        raise AugcompressError(
            f"{where}: its labels are no JSON: {error}; export it again"
        ) from error
    if labels is not None and not _are_names(labels):
        raise AugcompressError(f"{where}: its labels are no list of names; export it again")
    return labels


def _are_names(labels: object) -> bool:
    return isinstance(labels, list) and all(isinstance(name, str) for name in labels)


def scores_of(loaded: LoadedModel, image: np.ndarray) -> np.ndarray:
    """The probabilities of the classes for an image `(1,C,H,W)`.

    Raises AugcompressError when the file does not take such an image.
    """
    try:
        return loaded.probabilities(image)[0]
    except runtime_errors(ValueError, IndexError) as error:
        raise AugcompressError(
            f"{loaded.name}: cannot label an image of {image.shape[1:]}: {first_line(error)};"
            " export it again"
        ) from error
