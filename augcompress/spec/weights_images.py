"""The size of images, where a recipe leaves it to the weights that its networks start from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from augcompress.component import Plugin
from augcompress.datasets import ResizedImages
from augcompress.errors import UsageError
from augcompress.models import TrainedWith
from augcompress.spec.tree import Spec
from augcompress.untrusted import load_json


def with_size(spec: Spec) -> Spec:
    """The recipe with `data.size`, and the resizing that it leaves out with it, as the weights want
    it that its student starts from, or else its teacher; as it is where it has a size.

    Raises UsageError when nothing tells one.
    """
    data = spec.data
    if not isinstance(data, ResizedImages) or data.size is not None:
        return spec
    wanted = next((told for told in _told(spec) if told is not None), None)
    if wanted is None:
        raise UsageError(
            "data.size: is missing, and no published weights that a network starts from say one;"
            " give it, in pixels: data.size=64"
        )
    given = data.model_fields_set - {"size"}
    fitting = {"fit", "resize"} - given if not {"fit", "resize"} & given else set()
    taken = {name: wanted[name] for name in ("size", "interpolation", *fitting) if name in wanted}
    kept = {name: getattr(data, name) for name in given}
    sized = type(data).model_validate({**taken, **kept})
    return spec.model_copy(update={"data": sized})


def _told(spec: Spec) -> Iterator[dict[str, Any] | None]:
    """What the weights of student and teacher want, as settings of the data."""
    for stage, field in (("distill", "student"), ("train_teacher", "model")):
        section = getattr(spec, stage)
        model = getattr(section, field, None)
        if stage not in spec.stages() or model is None:
            continue
        yield _of_checkpoint(section.weights)
        if not isinstance(model, Plugin):  # its code is not run while a recipe is read
            yield _of_published(model.trained_with(section.weights))


def _of_published(told: TrainedWith | None) -> dict[str, Any] | None:
    if told is None or told.size is None:
        return None
    return _settings(list(told.size), told.resize, told.interpolation)


def _of_checkpoint(weights: str | None) -> dict[str, Any] | None:
    """What stands beside one of our checkpoints; None beside weights from elsewhere."""
    try:
        told = load_json(Path(str(weights)).with_name("model.json"))
        resizing, size = told["resizing"], told["facts"]["input"]["size"]
        crop = resizing["resize"] if resizing["crop"] else None
        return _settings(size, crop, resizing["interpolation"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _settings(size: list[int], resize: Any, interpolation: str) -> dict[str, Any]:
    cropped = isinstance(resize, int) and resize >= max(size)
    fitting = {"fit": "crop", "resize": resize} if cropped else {"fit": "stretch"}
    return {"size": size, "interpolation": interpolation, **fitting}
