"""What a folder in Hugging Face's format says of the images that its weights want."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from augcompress.models.base import TrainedWith

PREPROCESSOR = "preprocessor_config.json"
_RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_NO_CROP_FROM = 384  # pixels: ConvNeXt's preprocessing stretches images of that size and more


def read_preprocessor(file: Path) -> dict[str, Any]:
    """What a `preprocessor_config.json` says; nothing where there is none.

    Raises ValueError when it is no JSON.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except ValueError as error:
        raise ValueError(f"{file}: is no JSON ({error}); write it again") from error
    return found if isinstance(found, dict) else {}


def constants_in(found: dict[str, Any]) -> dict[str, Any]:
    """`mean` and `std`; empty where it gives none."""
    told = {"mean": found.get("image_mean"), "std": found.get("image_std")}
    return told if found.get("do_normalize") and all(told.values()) else {}


def geometry_in(found: dict[str, Any]) -> dict[str, Any]:
    """`size`, `resize` and `interpolation` as `TrainedWith` has them; empty where it says none."""
    size, interpolation = found.get("size"), _RESAMPLING.get(found.get("resample", 2))
    size = {"shortest_edge": size} if isinstance(size, int) else size
    if not found.get("do_resize") or not isinstance(size, dict) or interpolation is None:
        return {}
    shorter, final = size.get("shortest_edge"), _sides(found.get("crop_size"))
    if not found.get("do_center_crop", final is not None):
        final = None
    if shorter is None:
        given = _sides(size)
        return {} if given is None else {"size": given, "interpolation": interpolation}
    if final is None:
        final = (shorter, shorter)
        share = found.get("crop_pct") if shorter < _NO_CROP_FROM else None
        shorter = None if share is None else math.floor(shorter / share)
    return {"size": final, "resize": shorter, "interpolation": interpolation}


def _sides(told: Any) -> tuple[int, int] | None:
    """`{height, width}`, or one number for both."""
    told = {"height": told, "width": told} if isinstance(told, int) else told
    told = told if isinstance(told, dict) else {}
    height, width = told.get("height"), told.get("width")
    if not isinstance(height, int) or not isinstance(width, int) or min(height, width) < 1:
        return None
    return height, width


def trained_with(found: dict[str, Any], mean: Any, std: Any) -> TrainedWith | None:
    """What the weights were trained with; None where neither the file nor `mean` and `std`, which
    win, tell by what images are normalised."""
    told = constants_in(found)
    mean, std = mean or told.get("mean"), std or told.get("std")
    return None if mean is None or std is None else TrainedWith((mean, std), **geometry_in(found))
