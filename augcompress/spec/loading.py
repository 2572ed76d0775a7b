"""From a recipe's file to a validated Spec."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from augcompress.errors import AugcompressError, UsageError
from augcompress.raw import override_value, read_raw, read_resolved, validated
from augcompress.spec.tree import Spec
from augcompress.spec.weights_images import with_size
from augcompress.training import of_another_length


def load(
    recipe: str | Path, overrides: Iterable[str] = (), *, smoke: bool = False
) -> tuple[Spec, str]:
    """Read and validate a recipe; returns it with its text as typed.  `smoke` shrinks everything.

    Raises UsageError with `section.field: what is wrong; what to do`.
    """
    raw, text, base = read_raw(recipe, overrides)
    if smoke:
        shrink_to_smoke(raw)
    return validate(raw, base), text


def find_spec(run: Path, overrides: Iterable[str] = ()) -> Spec:
    """The recipe of a run directory, as it was resolved when it was run.

    Raises AugcompressError when it cannot be read, or is of another version of augcompress.
    """
    raw = read_resolved(run)
    for override in overrides:
        override_value(raw, override)
    try:
        return validate(raw)
    except UsageError as error:
        raise AugcompressError(f"{run / 'spec.json'}: {error}; give --recipe") from error


def shrink_to_smoke(raw: dict[str, Any]) -> None:
    """One epoch everywhere, in place; the run has a name of its own."""
    raw["name"] = f"{raw.get('name')}-smoke"
    for inside, training, usual in trainings(raw):
        inside["training"] = of_another_length(training, 1, usual)
        if isinstance(training.get("batch_size", 32), int):
            fewer = min(training.get("batch_size", 32), 32)
            inside["training"] |= {"batch_size": fewer, "accumulation": 1}
    if isinstance(raw.get("quantize"), dict):
        raw["quantize"]["max_drop"] = None


def scale_epochs(raw: dict[str, Any], epochs: int) -> None:
    """So many epochs for the longest training, in place; the others, and all schedules, in
    proportion."""
    found = list(trainings(raw))
    lengths = [training.get("epochs", usual) for _, training, usual in found]
    known = [one for one in lengths if isinstance(one, int) and one > 0]
    for (inside, training, usual), length in zip(found, lengths, strict=True):
        if length in known:  # validation says what is wrong with others
            own = max(1, round(length * epochs / max(known)))
            inside["training"] = of_another_length(training, own, usual)


def set_batch_sizes(raw: dict[str, Any], size: int) -> None:
    """So many images in each step of every training, in place."""
    for inside, training, _ in trainings(raw):
        inside["training"] = {**training, "batch_size": size}


def trainings(raw: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any], int]]:
    """The sections that train something, their `training`, and its epochs where it names none."""
    for section in ("pretrain", "train_teacher", "distill", "prune", "quantize"):
        inside = raw.get(section)
        usually: Any = None if section == "quantize" else {}
        if isinstance(inside, dict) and inside.get("training", usually) is not None:
            training = inside.setdefault("training", {})
            if isinstance(training, dict):  # validation says what is wrong with others
                yield inside, training, 100 if section == "pretrain" else 10


def validate(raw: dict[str, Any], base: str | None = None) -> Spec:
    """A Spec from plain data, with the images' size where it leaves that to weights; relative paths
    start at `base`.

    Raises UsageError naming the field.
    """
    return with_size(validated(Spec, raw, base))
