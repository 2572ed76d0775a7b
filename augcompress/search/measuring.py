"""`augment --measure` as a study: the pipeline as it is, without each of its augmentations, and
with each candidate, trained briefly on labels alone, every variant with every seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from augcompress.augmentations import fitting
from augcompress.errors import UsageError
from augcompress.spec import Spec
from augcompress.training import of_another_length

FACTOR, CONTROL = "augmentation", "as it is"
CANDIDATES = (
    "random_crop",
    "horizontal_flip",
    "affine",
    "elastic",
    "gaussian_blur",
    "gaussian_noise",
    "color_jitter",
    "random_erasing",
    "mixup",
    "cutmix",
    "rand_augment",
    "trivial_augment",
)
"""Tried where the recipe names no candidates: some of each family, with their papers' settings."""
CROPPED = 8
"""The random crop is padded by the image's side divided by this, as 4 pixels are at 32."""


def measuring_settings(spec: Spec, images: int | None = None, side: int | None = None) -> list[str]:
    """The `--set` settings that turn a recipe into that study, for so many training images of such
    a side; None: not known yet.

    Raises UsageError when the recipe trains no network.
    """
    stage, measure = trained_stage(spec), spec.augment.measure
    training = getattr(spec, stage).training.model_dump(mode="json")
    shorter = of_another_length(training, measure.epochs)
    tried = [*spec.augmentations(stage), *(measure.candidates or ())]
    changes: dict[str, Any] = {
        "pipeline": ["augment", stage] if fitting(tried) else [stage],
        f"{stage}.objectives": [{"kind": "labels"}],
        **{f"{stage}.training.{k}": v for k, v in shorter.items() if v != training[k]},
        "limits": [],
        "search": {
            "vary": {FACTOR: _levels(spec, stage, side)},
            "seeds": list(measure.seeds),
            "until": stage,
        },
    }
    if images is not None and images > measure.subset:
        place = "data.options.subset" if spec.data.kind == "plugin" else "data.subset"
        changes[place] = measure.subset
    return [f"{path}={json.dumps(value)}" for path, value in changes.items()]


def trained_stage(spec: Spec) -> str:
    """The stage whose network is trained: the student's, else the teacher's.

    Raises UsageError when there is neither.
    """
    if spec.distill is not None and spec.distill.student is not None:
        return "distill"
    if spec.train_teacher is not None and spec.train_teacher.training is not None:
        return "train_teacher"
    raise UsageError(
        "augment --measure: the recipe trains no network from its start; give it distill.student,"
        " or train_teacher with training"
    )


def _levels(spec: Spec, stage: str, side: int | None) -> dict[str, dict[str, Any]]:
    """Settings by variant; the first is the control."""
    present = [each.model_dump(mode="json") for each in spec.augmentations(stage)]
    found: dict[str, list[Any]] = {CONTROL: present}
    for place, name in enumerate(_numbered(present)):
        found[f"without {name}"] = present[:place] + present[place + 1 :]
    tried = _candidates(spec, {each["kind"] for each in present}, side)
    for name, setting in zip(_numbered(tried), tried, strict=True):
        found[f"with {name}"] = [*present, setting]
    return {name: {f"{stage}.augment": settings} for name, settings in found.items()}


def _candidates(spec: Spec, present: set[str], side: int | None) -> list[dict[str, Any]]:
    """The recipe's candidates, else common ones that the pipeline does not have."""
    given = spec.augment.measure.candidates
    if given is not None:
        return [each.model_dump(mode="json") for each in given]
    fitted = {} if side is None else {"random_crop": {"padding": max(1, round(side / CROPPED))}}
    return [{"kind": kind, **fitted.get(kind, {})} for kind in CANDIDATES if kind not in present]


def _numbered(settings: Sequence[dict[str, Any]]) -> list[str]:
    """The kinds, numbered from 1 where a kind stands more than once."""
    kinds = [each["kind"] for each in settings]
    return [
        f"{kind} {kinds[: place + 1].count(kind)}" if kinds.count(kind) > 1 else kind
        for place, kind in enumerate(kinds)
    ]
