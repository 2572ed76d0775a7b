"""Labels for image files, by a shipped ONNX file that says itself how to resize."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from augcompress.datasets import check_resizing, load_image
from augcompress.errors import AugcompressError, first_line
from augcompress.exporters import (
    RUNTIME_ERRORS,
    LoadedModel,
    labels_of,
    load_onnx,
    metadata_of,
    read_graph,
)
from augcompress.untrusted import parse_json


def predict_files(model: Path, files: list[Path], top: int) -> list[dict[str, Any]]:
    """The `top` labels of each image with their probabilities.

    Raises AugcompressError when the file is not one of ours or an image cannot be read.
    """
    labels, resizing = described(model)
    loaded = load_onnx(model)
    rows = []
    for file in files:
        image = load_image(file, resizing)  # (H,W,C)
        found = scores_of(loaded, np.ascontiguousarray(image.transpose(2, 0, 1))[None])
        if found.shape != (len(labels),):
            raise AugcompressError(
                f"{model}: gives {found.shape} scores for {len(labels)} labels; export it again"
            )
        best = np.argsort(-found, kind="stable")[:top]
        ranked = [{"label": labels[i], "probability": float(found[i])} for i in best]
        rows.append({"image": str(file), "labels": ranked})
    return rows


def scores_of(loaded: LoadedModel, image: np.ndarray) -> np.ndarray:
    """The probabilities of the classes for an image `(1,C,H,W)`.

    Raises AugcompressError when the file does not take such an image.
    """
    try:
        return loaded.probabilities(image)[0]
    except (*RUNTIME_ERRORS, ValueError, IndexError) as error:
        raise AugcompressError(
            f"{loaded.name}: cannot label an image of {image.shape[1:]}: {first_line(error)};"
            " export it again"
        ) from error


def described(model: Path) -> tuple[list[str], dict[str, Any]]:
    """What a shipped file says of itself: the names of its classes, and how to resize.

    Raises AugcompressError when it says none, or nothing that could be done.
    """
    graph = read_graph(model)
    labels, told = labels_of(graph, str(model)), metadata_of(graph).get("resizing", "{}")
    if labels is None or told == "{}":
        raise AugcompressError(f"{model}: has no labels in its metadata; give a file from export")
    try:
        return labels, check_resizing(parse_json(told))
    except ValueError as error:
        raise AugcompressError(f"{model}: its resizing: {error}; export it again") from error
