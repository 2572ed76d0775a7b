"""Labels for image files, by a shipped ONNX file that says itself how to resize."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from augcompress.datasets import load_image
from augcompress.errors import AugcompressError
from augcompress.exporters import load_onnx, metadata_of, read_graph


def predict_files(model: Path, files: list[Path], top: int) -> list[dict[str, Any]]:
    """The `top` labels of each image with their probabilities.

    Raises AugcompressError when the file is not one of ours or an image cannot be read.
    """
    told = metadata_of(read_graph(model))
    if "labels" not in told or "resizing" not in told:
        raise AugcompressError(f"{model}: has no labels in its metadata; give a file from export")
    labels, resizing = json.loads(told["labels"]), json.loads(told["resizing"])
    loaded = load_onnx(model)
    rows = []
    for file in files:
        image = load_image(file, resizing)  # (H,W,C)
        found = loaded.probabilities(np.ascontiguousarray(image.transpose(2, 0, 1))[None])[0]
        best = np.argsort(-found, kind="stable")[:top]
        ranked = [{"label": labels[i], "probability": float(found[i])} for i in best]
        rows.append({"image": str(file), "labels": ranked})
    return rows
